//! Follows the request's row from state to state.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use local_stack::wait_until;
use tokio_postgres::Client;
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
    database: &Client,
    request_id: Uuid,
    published: Instant,
    console: &Console,
) -> Result<Timeline> {
    let bar = console.bar(STATES.len() as u64);
    let mut timeline = Timeline::default();
    let done = wait_until("the end of the request", PATIENCE, async || {
        let state = state(database, request_id).await?;
        if timeline.0.last().is_none_or(|(last, _)| *last != state) {
            let position = STATES.iter().position(|name| *name == state).map_or(0, |n| n + 1);
            bar.set_position(position as u64);
            bar.set_message(state.clone());
            console.status(&format!("  {state:<12} after {}", seconds(published.elapsed())));
            timeline.0.push((state.clone(), published.elapsed()));
        }
        Ok(["ready", "failed"].contains(&state.as_str()).then_some(()))
    })
    .await;
    bar.finish_and_clear();
    done.map(|()| timeline)
}

async fn state(database: &Client, request_id: Uuid) -> Result<String> {
    let row = database
        .query_one("SELECT status FROM batch_download_requests WHERE id = $1", &[&request_id])
        .await
        .context("the request's row cannot be read")?;
    Ok(row.get(0))
}
