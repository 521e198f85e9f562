//! The unit of work: one run.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use shared::failure::Failure;
use shared::request::{Republication, Stuck};
use tokio::time::Instant;

use crate::context::Cleanup;
use crate::run_report::{Progress, RunReport};
use crate::summary::Summary;
use crate::task::Task;
use crate::tasks::{expire, orphans, purge, republish, rescue};

impl Cleanup {
    /// Runs `tasks`. Starts no page after `stop_at`; `more` in the summary then says that work is
    /// left.
    ///
    /// # Errors
    /// When the database or the vault does not respond, or a task panics: the state of the rest is
    /// then unknown. The log and the metrics still count what the run has done.
    pub async fn run(&self, tasks: &[Task], stop_at: Instant) -> Result<Summary, Failure> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?tasks, "cleanup started");
        let mut report = RunReport::start(&self.metrics, tasks);
        // The panic boundary of a run: without it, a panic would end the run like a cancellation.
        let ended = AssertUnwindSafe(self.run_tasks(tasks, stop_at, &mut report.progress))
            .catch_unwind()
            .await;
        report.finish(ended).into_result()
    }

    async fn run_tasks(
        &self,
        tasks: &[Task],
        stop_at: Instant,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        self.requests
            .check_connection()
            .await
            .map_err(|error| error.context("failed to start the cleanup"))?;
        // Both schedules run further tasks. An operator who asks for this task alone does not want to
        // wait.
        let republication = match tasks {
            [Task::Republish] => Republication::All,
            _ => Republication::InTurn,
        };
        for task in tasks {
            progress.start_task(*task);
            let summary = &mut progress.summary;
            match task {
                Task::Expire => expire::run(self, stop_at, summary).await?,
                Task::Rescue => rescue::run(self, Stuck::Processing, stop_at, summary).await?,
                Task::Republish => {
                    rescue::run(self, Stuck::Pending, stop_at, summary).await?;
                    republish::run(self, republication, stop_at, summary).await?;
                }
                Task::Orphans => orphans::run(self, stop_at, summary).await?,
                Task::Purge => purge::run(self, stop_at, summary).await?,
            }
        }
        Ok(())
    }
}
