//! Output of the commands: a live view on a terminal, plain lines elsewhere.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the module that prints")]

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{IsTerminal as _, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use local_stack::{Options, Progress, Step};

/// Interval of reminders of a long step, without a terminal.
const REMINDER: Duration = Duration::from_secs(30);

/// Standard output for results, standard error for progress.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    live: bool,
    bars: MultiProgress,
    running: Arc<Mutex<Running>>,
}

/// The spinners of the running steps, with the time of the last line about each.
type Running = BTreeMap<Step, (ProgressBar, Instant)>;

impl Console {
    pub(crate) fn new() -> Self {
        let live = stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { live, bars: MultiProgress::with_draw_target(target), running: Arc::default() }
    }

    /// Prints a line of the result.
    pub(crate) fn line(&self, text: &str) {
        self.bars.suspend(|| println!("{text}"));
    }

    /// Prints a named value of the result.
    pub(crate) fn value(&self, name: &str, value: impl Display) {
        self.line(&format!("  {name:<22} {value}"));
    }

    /// Prints a line about progress.
    pub(crate) fn status(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// Prints the error that ends the command, with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let _ = self.bars.clear();
        eprintln!("\nerror: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  caused by: {cause}");
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
