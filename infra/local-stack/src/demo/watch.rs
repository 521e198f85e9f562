//! Follows the request's row from state to state.

use std::time::{Duration, Instant};

use anyhow::Result;
use bdrctl::Operator;
use uuid::Uuid;

use super::PATIENCE;
use crate::console::{Console, seconds};

/// The way of a request that goes well.
const STATES: [&str; 3] = ["pending", "processing", "ready"];

/// When the row was first seen in which state, counted from the publication.
#[derive(Debug, Default)]
pub(crate) struct Timeline(Vec<(String, Duration)>);

impl Timeline {
    pub(crate) fn print(&self, console: &Console) {
        console.line("The request, counted from its publication:");
        for (state, time) in &self.0 {
            console.line(&format!("  {state:<22} {}", seconds(*time)));
        }
    }
}

/// Returns when the row is `ready` or `failed`.
pub(crate) async fn until_done(
    operator: &Operator,
    request_id: Uuid,
    published: Instant,
    console: &Console,
) -> Result<Timeline> {
    let bar = console.bar(STATES.len() as u64);
    let mut timeline = Timeline::default();
    let done = bdrctl::watch(operator, request_id, PATIENCE, |request, _| {
        let (state, after) = (request.status.clone(), published.elapsed());
        let position = STATES.iter().position(|name| *name == state).map_or(0, |n| n + 1);
        bar.set_position(position as u64);
        bar.set_message(state.clone());
        console.status(&format!("  {state:<12} after {}", seconds(after)));
        timeline.0.push((state, after));
        Ok(())
    })
    .await;
    bar.finish_and_clear();
    done.map(|_| timeline)
}
