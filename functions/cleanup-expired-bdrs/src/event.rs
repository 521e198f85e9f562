//! One run as one event: collected while it goes on, and told when it ends, however it ends, as the
//! outcome line of the log and as metrics.

use std::time::Duration;

use serde_json::{Map, json};
use shared::failure::{Failure, chain};
use shared::metrics::{self, Metrics, Record, millis};
use tokio::time::Instant;

use crate::cleanup::Task;
use crate::report::Report;

/// What is known of a run. Told when it is dropped.
pub(crate) struct Event<'a> {
    metrics: &'a Metrics,
    tasks: &'a [Task],
    begun: Instant,
    current: Option<(Task, Instant)>,
    spent: [Option<Duration>; 5],
    /// What it has done so far.
    pub(crate) report: Report,
    ended: Option<Result<(), String>>,
}

impl<'a> Event<'a> {
    /// A run of these tasks begins.
    pub(crate) fn begin(metrics: &'a Metrics, tasks: &'a [Task]) -> Self {
        Self {
            metrics,
            tasks,
            begun: Instant::now(),
            current: None,
            spent: [None; 5],
            report: Report::default(),
            ended: None,
        }
    }

    /// A task begins, and the one before has ended.
    pub(crate) fn enter(&mut self, task: Task) {
        self.leave();
        self.current = Some((task, Instant::now()));
    }

    fn leave(&mut self) {
        if let Some((task, since)) = self.current.take() {
            self.spent[task as usize] = Some(since.elapsed());
        }
    }

    /// The run has ended.
    pub(crate) fn end(mut self, result: Result<(), Failure>) -> Result<Report, Failure> {
        self.ended = Some(result.as_ref().map(drop).map_err(|failure| chain(failure)));
        let report = self.report.clone();
        result.map(|()| report)
    }

    fn result(&self) -> &'static str {
        match &self.ended {
            Some(Ok(())) => "success",
            Some(Err(_)) => "failed",
            None if std::thread::panicking() => "panicked",
            None => "cancelled",
        }
    }

    fn log(&self, duration: Duration) {
        let (report, spent) = (&self.report, |task| self.spent[task as usize].map(millis));
        macro_rules! outcome {
            ($level:ident) => {
                tracing::$level!(
                    result = self.result(),
                    error = self.ended.as_ref().and_then(|ended| ended.as_ref().err()),
                    duration_ms = millis(duration),
                    expire_ms = spent(Task::Expire),
                    rescue_ms = spent(Task::Rescue),
                    republish_ms = spent(Task::Republish),
                    orphans_ms = spent(Task::Orphans),
                    purge_ms = spent(Task::Purge),
                    cleaned_up = report.cleaned_up,
                    rescued = report.rescued,
                    republished = report.republished,
                    orphans_deleted = report.orphans_deleted,
                    orphans_unknown = report.orphans_unknown,
                    purged = report.purged,
                    errors = report.error_count,
                    more = report.more,
                    gb_seconds = self.metrics.gb_seconds(duration),
                    "cleanup ended"
                )
            };
        }
        if matches!(self.ended, Some(Ok(()))) { outcome!(info) } else { outcome!(error) }
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        self.leave();
        let duration = self.begun.elapsed();
        self.log(duration);
        let succeeded = matches!(self.ended, Some(Ok(())));
        let mut record = Record::of(Map::from_iter([
            ("event".to_owned(), json!("cleanup")),
            ("status".to_owned(), json!(self.result())),
        ]));
        if self.tasks.contains(&Task::Expire) {
            record.put(metrics::CLEANUP_EXPIRED, self.report.cleaned_up);
        }
        let errors = self.report.error_count + usize::from(!succeeded);
        record.put(metrics::CLEANUP_ERRORS, errors);
        if succeeded && self.tasks.len() == Task::ALL.len() {
            record.put(metrics::CLEANUP_COMPLETED, 1);
        }
        self.metrics.emit(&[record]);
    }
}
