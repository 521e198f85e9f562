//! Output of the commands: a live view on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _, stderr, stdout},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use local_stack::{Options, Progress, Step};
use tokio::sync::Notify;

/// Interval of reminders of a long step, without a terminal.
const REMINDER: Duration = Duration::from_secs(30);

/// Standard output for results, standard error for progress.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    live: bool,
    bars: MultiProgress,
    running: Arc<Mutex<Running>>,
    output: Arc<Output>,
}

/// The state of standard output, whose reader may end first, as in `cargo demo | head`.
#[derive(Debug, Default)]
struct Output {
    error: OnceLock<io::Error>,
    failed: Notify,
}

/// The spinners of the running steps, with the time of the last line about each.
type Running = BTreeMap<Step, (ProgressBar, Instant)>;

impl Console {
    pub(crate) fn new() -> Self {
        let live = stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        Self { live, bars, running: Arc::default(), output: Arc::default() }
    }

    /// Prints a line of the result. After the first error, which [`Console::output_error`] returns,
    /// prints nothing.
    pub(crate) fn line(&self, text: &str) {
        if self.output_error().is_some() {
            return;
        }
        if let Err(error) = self.bars.suspend(|| writeln!(stdout(), "{text}")) {
            let _ = self.output.error.set(error);
            self.output.failed.notify_one();
        }
    }

    /// Returns why the result could not be printed, if so.
    pub(crate) fn output_error(&self) -> Option<&io::Error> {
        self.output.error.get()
    }

    /// Waits until the result cannot be printed.
    pub(crate) async fn output_failed(&self) {
        self.output.failed.notified().await;
    }

    /// Announces that the command stops early, and removes the spinners, which would stay as they are.
    pub(crate) fn stop(&self) {
        let _ = self.bars.clear();
        self.bars.set_draw_target(ProgressDrawTarget::hidden());
        if self.output_error().is_none() {
            self.status("\nStopping.");
        }
    }

    /// Prints a named value of the result.
    pub(crate) fn value(&self, name: &str, value: impl Display) {
        self.line(&format!("  {name:<22} {value}"));
    }

    /// Prints a line about progress.
    pub(crate) fn status(&self, text: &str) {
        // Progress may be lost, unlike results.
        let _ = self.bars.suspend(|| writeln!(stderr(), "{text}"));
    }

    /// Prints the error that ends the command, with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let _ = self.bars.clear();
        self.status(&format!("\nerror: {error}"));
        for cause in error.chain().skip(1) {
            self.status(&format!("  caused by: {cause}"));
        }
    }

    /// Shows a spinner; call [`ProgressBar::finish_and_clear`] to remove it.
    pub(crate) fn spinner(&self, text: &'static str) -> ProgressBar {
        let style =
            ProgressStyle::with_template("  {spinner} {prefix} {elapsed_precise} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(text));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Announces the start of a stack, and returns options with which its progress is shown.
    pub(crate) fn stack_options(&self) -> Options {
        self.status("Starting the local stack: PostgreSQL, an AWS stand-in, template.yaml.");
        let console = self.clone();
        Options::default().on_progress(move |progress| console.progress(progress))
    }

    fn progress(&self, progress: &Progress<'_>) {
        match *progress {
            Progress::Started(step) => {
                if !self.live {
                    self.status(&format!("  … {}", step.present()));
                }
                let spinner = self.spinner(step.present());
                self.running().insert(step, (spinner, Instant::now()));
            }
            Progress::Note(step, note) => self.note(step, note),
            Progress::Finished(step, time) => {
                self.end(step);
                self.status(&format!("  ✓ {} ({})", step.past(), seconds(time)));
            }
            Progress::Failed(step) => self.end(step),
        }
    }

    fn note(&self, step: Step, note: &str) {
        let mut running = self.running();
        let Some((spinner, last_line)) = running.get_mut(&step) else { return };
        spinner.set_message(note.to_owned());
        if !self.live && last_line.elapsed() >= REMINDER {
            *last_line = Instant::now();
            self.status(&format!("  … {}: {note}", step.present()));
        }
    }

    fn end(&self, step: Step) {
        if let Some((spinner, _)) = self.running().remove(&step) {
            spinner.finish_and_clear();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats a duration.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
