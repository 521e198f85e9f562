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
use crate::export::Progress;
use crate::operator::Operator;
use crate::output::{Printer, age_of, note, state_of};

/// Pause between two reads of the row, each a look-up by primary key.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after 10 s.
const LONG_PAUSE: Duration = Duration::from_secs(1);
/// The pause between two looks at a large export, which lists its segments.
const EXPORT_PAUSE: Duration = Duration::from_secs(5);
/// The states of a successful request, in order.
const STATES: [&str; 3] = ["pending", "processing", "ready"];

/// Calls `seen` with each new state of the request and the time since the start, and every 5 s with the
/// progress of its large export, if it has one. Returns the request when it is closed.
///
/// # Errors
/// When the request does not exist, when the database does not respond, or when the request is still open
/// after `timeout`.
pub async fn watch(
    operator: &Operator,
    bdr_id: Uuid,
    timeout: Duration,
    mut seen: impl FnMut(&Overview, Option<&Progress>, Duration) -> Result<()>,
) -> Result<Overview> {
    let begun = Instant::now();
    let mut last: Option<(String, Option<time::OffsetDateTime>)> = None;
    let mut look_at = begun;
    loop {
        let request = operator.request(bdr_id).await?;
        let state = (request.status.clone(), request.started_at);
        if last.as_ref() != Some(&state) {
            seen(&request, None, begun.elapsed())?;
            last = Some(state);
            // A small request is ready before.
            let is_old = request.since.is_some_and(|since| request.now - since > EXPORT_PAUSE);
            look_at = Instant::now() + if is_old { Duration::ZERO } else { EXPORT_PAUSE };
        }
        if Instant::now() >= look_at {
            // Without the progress the state is still worth watching.
            if let Ok(Some(progress)) = operator.progress_of(&request).await {
                seen(&request, Some(&progress), begun.elapsed())?;
            }
            look_at = Instant::now() + EXPORT_PAUSE;
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
    let bar = bar(if stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    })?;
    let mut is_first = true;
    let mut segments_seen = None;
    let watched = watch(operator, arguments.bdr_id, arguments.timeout, |request, export, after| {
        if let Some(export) = export {
            show(&bar, export.segments_done, export.segments, export.brief());
            let is_new = segments_seen.replace(export.segments_done) != Some(export.segments_done);
            // A terminal has the bar.
            if !is_new || !printer.is_json() && !bar.is_hidden() {
                return Ok(());
            }
            let line = json!({
                "bdr_id": request.bdr_id, "status": request.status, "export": export,
                "after_seconds": after.as_secs_f64(),
            });
            return bar.suspend(|| {
                printer.line(&line, || format!("  {:<12} {}", request.status, export.text()))
            });
        }
        let position = STATES.iter().position(|state| *state == request.status);
        let position = position.map_or(STATES.len(), |state| state + 1);
        show(&bar, position, STATES.len(), request.status.clone());
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

/// Returns a progress bar on one line: a narrow terminal gets the beginning of the message.
fn bar(target: ProgressDrawTarget) -> Result<ProgressBar> {
    let template = "  [{bar:12.cyan/blue}] {elapsed_precise} {wide_msg}";
    let style = ProgressStyle::with_template(template)?;
    let bar = ProgressBar::with_draw_target(Some(STATES.len() as u64), target)
        .with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// Shows a position with its message.
fn show(bar: &ProgressBar, position: usize, length: usize, message: String) {
    bar.set_message(message);
    bar.update(|state| {
        state.set_len(length as u64);
        state.set_pos(position as u64);
    });
    // Of several changes within a moment, the bar draws only the first one.
    bar.force_draw();
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use console::{measure_text_width, strip_ansi_codes};
    use indicatif::{ProgressDrawTarget, TermLike};

    use super::{bar, show};

    /// A terminal that keeps what is written.
    #[derive(Debug, Clone)]
    struct Terminal {
        columns: u16,
        written: Arc<Mutex<Vec<String>>>,
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.columns
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.written.lock().unwrap().push(strip_ansi_codes(text).into_owned());
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bar_of_an_export_is_on_one_line_and_whole_at_once() {
        let message = "140 of 250 segments, about 1h 12m 30s left";
        for (columns, expected) in [(80, message), (40, "140 of 250 seg")] {
            let terminal = Terminal { columns, written: Arc::default() };
            let bar = bar(ProgressDrawTarget::term_like(Box::new(terminal.clone()))).unwrap();
            show(&bar, 2, 3, "processing".to_owned());
            show(&bar, 140, 250, message.to_owned());
            let written = terminal.written.lock().unwrap().clone();
            let is_bar = |text: &&String| text.trim_start().starts_with('[');
            let bars: Vec<_> = written.iter().filter(is_bar).collect();
            let last = bars.last().unwrap();
            assert!(last.starts_with("  [======>     ] ") && last.ends_with(expected), "{last}");
            assert!(bars.iter().all(|it| measure_text_width(it) <= columns.into()), "{bars:?}");
        }
    }
}
