//! The report of a run: one outcome line in the log and one line of metrics.

use std::thread;
use std::time::Duration;

use serde_json::{Map, json};
use shared::failure::Failure;
use shared::metrics::{self, Metrics, Record, millis};
use tokio::time::Instant;

use crate::outcome::RunOutcome;
use crate::summary::Summary;
use crate::task::Task;

/// The report of a run. Dropped before [`RunReport::finish`], it reports the run as cancelled.
pub(crate) struct RunReport<'a> {
    metrics: &'a Metrics,
    tasks: &'a [Task],
    started: Instant,
    /// What the run has done so far.
    pub(crate) progress: Progress,
    is_finished: bool,
}

/// What a run has done so far, and the time it took.
#[derive(Default)]
pub(crate) struct Progress {
    /// What the tasks have done.
    pub(crate) summary: Summary,
    current: Option<(Task, Instant)>,
    spent: [Option<Duration>; Task::ALL.len()],
}

impl Progress {
    /// Starts the time of `task` and ends that of the task before it.
    pub(crate) fn start_task(&mut self, task: Task) {
        self.end_task();
        self.current = Some((task, Instant::now()));
    }

    fn end_task(&mut self) {
        if let Some((task, since)) = self.current.take() {
            self.spent[task as usize] = Some(since.elapsed());
        }
    }
}

impl<'a> RunReport<'a> {
    /// Starts the report of a run of `tasks`.
    pub(crate) fn start(metrics: &'a Metrics, tasks: &'a [Task]) -> Self {
        Self {
            metrics,
            tasks,
            started: Instant::now(),
            progress: Progress::default(),
            is_finished: false,
        }
    }

    /// Reports the outcome of the run and returns it. The outer error of `ended` is a panic.
    pub(crate) fn finish(mut self, ended: thread::Result<Result<(), Failure>>) -> RunOutcome {
        self.is_finished = true;
        let summary = std::mem::take(&mut self.progress.summary);
        let outcome = match ended {
            Ok(Ok(())) => RunOutcome::Success(summary),
            Ok(Err(failure)) => RunOutcome::Failed(failure, summary),
            Err(_) => RunOutcome::Panicked(summary),
        };
        self.emit(&outcome);
        outcome
    }

    fn emit(&mut self, outcome: &RunOutcome) {
        self.progress.end_task();
        self.log(outcome, self.started.elapsed());
        self.metrics.emit(&[self.record(outcome)]);
    }

    fn log(&self, outcome: &RunOutcome, duration: Duration) {
        let summary = outcome.summary();
        let spent = |task| self.progress.spent[task as usize].map(millis);
        // `tracing` needs a constant level.
        macro_rules! outcome_line {
            ($level:ident) => {
                tracing::$level!(
                    result = outcome.as_str(),
                    error = outcome.error(),
                    duration_ms = millis(duration),
                    expire_ms = spent(Task::Expire),
                    rescue_ms = spent(Task::Rescue),
                    republish_ms = spent(Task::Republish),
                    orphans_ms = spent(Task::Orphans),
                    purge_ms = spent(Task::Purge),
                    cleaned_up = summary.cleaned_up,
                    rescued = summary.rescued,
                    republished = summary.republished,
                    orphans_deleted = summary.orphans_deleted,
                    orphans_unknown = summary.orphans_unknown,
                    purged = summary.purged,
                    errors = summary.error_count,
                    more = summary.more,
                    gb_seconds = self.metrics.gb_seconds(duration),
                    "cleanup ended"
                )
            };
        }
        if outcome.is_success() { outcome_line!(info) } else { outcome_line!(error) }
    }

    fn record(&self, outcome: &RunOutcome) -> Record {
        let summary = outcome.summary();
        let mut record = Record::of(Map::from_iter([
            ("event".to_owned(), json!("cleanup")),
            ("status".to_owned(), json!(outcome.as_str())),
        ]));
        if self.tasks.contains(&Task::Expire) {
            record.put(metrics::CLEANUP_EXPIRED, summary.cleaned_up);
        }
        let errors = summary.error_count + usize::from(!outcome.is_success());
        record.put(metrics::CLEANUP_ERRORS, errors);
        if outcome.is_success() && self.tasks.len() == Task::ALL.len() {
            record.put(metrics::CLEANUP_COMPLETED, 1);
        }
        record
    }
}

impl Drop for RunReport<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            let summary = std::mem::take(&mut self.progress.summary);
            self.emit(&RunOutcome::Cancelled(summary));
        }
    }
}
