//! What the commands show: a live view on a terminal, plain lines anywhere else.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where we print")]

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use local_stack::{Progress, Step};

/// Without a terminal, how often a long step says that it is still at it.
const REMINDER: Duration = Duration::from_secs(30);

/// Standard output for results, standard error for what is going on.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    live: bool,
    bars: MultiProgress,
    running: Arc<Mutex<BTreeMap<Step, Running>>>,
}

#[derive(Debug)]
struct Running {
    bar: ProgressBar,
    last_line: Instant,
}

impl Console {
    pub(crate) fn new() -> Self {
        let live = stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { live, bars: MultiProgress::with_draw_target(target), running: Arc::default() }
    }

    /// A line of result.
    pub(crate) fn line(&self, text: &str) {
        self.bars.suspend(|| println!("{text}"));
    }

    /// A line about what is going on.
    pub(crate) fn status(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// What ended us.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let _ = self.bars.clear();
        eprintln!("\nerror: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  because: {cause}");
        }
    }

    /// A bar of `length` steps; call [`ProgressBar::finish_and_clear`] when done.
    pub(crate) fn bar(&self, length: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("  [{bar:30.cyan/blue}] {msg} {elapsed_precise}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = self.bars.add(ProgressBar::new(length).with_style(style));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    /// Shows how the stack is coming up.
    pub(crate) fn progress(&self, progress: &Progress<'_>) {
        match *progress {
            Progress::Started(step) => self.begin(step),
            Progress::Note(step, note) => self.note(step, note),
            Progress::Finished(step, time) => {
                self.end(step);
                self.status(&format!("  ✓ {} ({})", step.past(), seconds(time)));
            }
            Progress::Failed(step) => self.end(step),
        }
    }

    fn begin(&self, step: Step) {
        if !self.live {
            self.status(&format!("  … {}", step.present()));
        }
        let style =
            ProgressStyle::with_template("  {spinner} {prefix} {elapsed_precise} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        bar.set_prefix(step.present());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.running().insert(step, Running { bar, last_line: Instant::now() });
    }

    fn note(&self, step: Step, note: &str) {
        let mut due = false;
        if let Some(running) = self.running().get_mut(&step) {
            running.bar.set_message(note.to_owned());
            due = !self.live && running.last_line.elapsed() >= REMINDER;
            if due {
                running.last_line = Instant::now();
            }
        }
        if due {
            self.status(&format!("  … {}: {note}", step.present()));
        }
    }

    fn end(&self, step: Step) {
        if let Some(running) = self.running().remove(&step) {
            running.bar.finish_and_clear();
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Step, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration for people.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
