//! `watch`: the states of a request as they come.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use shared::request::Overview;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::arguments::WatchArguments;
use crate::operator::Operator;
use crate::output::Output;

/// Between two looks at the row, which is found by its primary key.
const PAUSE: Duration = Duration::from_millis(50);
/// The same once it has lasted for a while.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// The way of a request that goes well.
const STATES: [&str; 3] = ["pending", "processing", "ready"];

/// Calls `seen` for each state that the request comes to, with the time since the call, until it is
/// closed; returns it then.
///
/// # Errors
/// When there is no such request, the database does not answer, or it is open after `patience`.
pub async fn watch(
    operator: &Operator,
    bdr_id: Uuid,
    patience: Duration,
    mut seen: impl FnMut(&Overview, Duration) -> Result<()>,
) -> Result<Overview> {
    let begun = Instant::now();
    let mut last: Option<(String, Option<time::OffsetDateTime>)> = None;
    loop {
        let request = operator.request(bdr_id).await?;
        let state = (request.status.clone(), request.started_at);
        if last.as_ref() != Some(&state) {
            seen(&request, begun.elapsed())?;
            last = Some(state);
        }
        if !STATES[..2].contains(&request.status.as_str()) {
            return Ok(request);
        }
        if begun.elapsed() >= patience {
            bail!(
                "{bdr_id} is still {} after {}. What hinders it: bdrctl doctor",
                request.status,
                humantime::format_duration(patience)
            );
        }
        sleep(if begun.elapsed() < Duration::from_secs(10) { PAUSE } else { LONG_PAUSE }).await;
    }
}

/// Follows a request; fails when it fails.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &WatchArguments,
    output: Output,
) -> Result<bool> {
    let bar = bar()?;
    let watched = watch(operator, arguments.bdr_id, arguments.timeout, |request, after| {
        let position = STATES.iter().position(|state| *state == request.status);
        bar.set_position(position.map_or(STATES.len(), |state| state + 1) as u64);
        bar.set_message(request.status.clone());
        let seconds = after.as_secs_f64();
        bar.suspend(|| {
            let line = json!({
                "bdr_id": request.bdr_id, "status": request.status, "after_seconds": seconds,
            });
            output.line(&line, || format!("  {:<12} after {seconds:.2} s", request.status))
        })
    });
    let watched = watched.await;
    bar.finish_and_clear();
    Ok(watched?.status != "failed")
}

/// A bar on a terminal, nothing anywhere else.
fn bar() -> Result<ProgressBar> {
    let live = stderr().is_terminal();
    let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  [{bar:30.cyan/blue}] {msg} {elapsed_precise}")?;
    let bar = ProgressBar::with_draw_target(Some(STATES.len() as u64), target)
        .with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}
