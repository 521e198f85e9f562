//! `watch`: each state of a request, until the request is closed.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use shared::request::Overview;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::advised::Advised;
use crate::arguments::WatchArguments;
use crate::operator::Operator;
use crate::output::{Printer, age_of, note, state_of};

/// Pause between two reads of the row, each a look-up by primary key.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after 10 s.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// The states of a successful request, in order.
const STATES: [&str; 3] = ["pending", "processing", "ready"];

/// Calls `seen` with each new state of the request and the time since the start, and returns the request
/// when it is closed.
///
/// # Errors
/// When the request does not exist, when the database does not respond, or when the request is still open
/// after `timeout`.
pub async fn watch(
    operator: &Operator,
    bdr_id: Uuid,
    timeout: Duration,
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
        if !is_open(&request) {
            return Ok(request);
        }
        if begun.elapsed() >= timeout {
            let timeout = humantime::format_duration(timeout);
            bail!(Advised::new(
                format!("request {bdr_id} is still {} after {timeout}", request.status),
                "To diagnose it, run `bdrctl doctor`.",
            ));
        }
        sleep(if begun.elapsed() < Duration::from_secs(10) { PAUSE } else { LONG_PAUSE }).await;
    }
}

fn is_open(request: &Overview) -> bool {
    STATES[..2].contains(&request.status.as_str())
}

/// Watches a request. Returns whether it did not fail.
pub(crate) async fn run(
    operator: &Operator,
    arguments: &WatchArguments,
    printer: Printer,
) -> Result<bool> {
    let bar = bar()?;
    let mut is_first = true;
    let watched = watch(operator, arguments.bdr_id, arguments.timeout, |request, after| {
        let position = STATES.iter().position(|state| *state == request.status);
        bar.set_position(position.map_or(STATES.len(), |state| state + 1) as u64);
        bar.set_message(request.status.clone());
        let seconds = after.as_secs_f64();
        bar.suspend(|| {
            let since = serde_json::to_value(request)?["since"].take();
            let line = json!({
                "bdr_id": request.bdr_id, "status": request.status, "since": since,
                "after_seconds": seconds,
            });
            // The first state began before the watch; its age is that of the state.
            let when = match (is_first, is_open(request)) {
                (true, true) => format!("for {}", age_of(request)),
                (true, false) => format!("{} ago", age_of(request)),
                (false, _) => format!("after {seconds:.2} s"),
            };
            is_first = false;
            printer.line(&line, || format!("  {:<12} {when}", request.status))
        })
    });
    let watched = watched.await;
    bar.finish_and_clear();
    let request = watched?;
    if request.awaits_cleanup {
        note(&format!("Request {} {}.", request.bdr_id, state_of(&request)));
    }
    Ok(request.status != "failed")
}

/// Returns a progress bar, hidden unless standard error is a terminal.
fn bar() -> Result<ProgressBar> {
    let live = stderr().is_terminal();
    let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("  [{bar:30.cyan/blue}] {msg} {elapsed_precise}")?;
    let bar = ProgressBar::with_draw_target(Some(STATES.len() as u64), target)
        .with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}
