//! The unit of work: one run.

use shared::failure::Failure;
use shared::request::Stuck;
use tokio::time::Instant;

use crate::context::Cleanup;
use crate::event::Event;
use crate::report::Report;
use crate::tasks::{expire, orphans, purge, republish, rescue};

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Ends what was promised for a time that is over.
    Expire,
    /// Ends attempts that nobody has finished.
    Rescue,
    /// Sends again what was perhaps never sent.
    Republish,
    /// Deletes ZIPs that nobody wants any more.
    Orphans,
    /// Forgets what was closed long ago.
    Purge,
}

impl Task {
    /// All tasks, in the order of a run.
    pub const ALL: [Self; 5] =
        [Self::Expire, Self::Rescue, Self::Republish, Self::Orphans, Self::Purge];

    /// Reads a task's name as the event spells it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "expire" => Self::Expire,
            "rescue" => Self::Rescue,
            "republish" => Self::Republish,
            "orphans" => Self::Orphans,
            "purge" => Self::Purge,
            _ => return None,
        })
    }
}

impl Cleanup {
    /// Runs `tasks`. No page is begun after `stop_at`; what is left then is said in the report.
    ///
    /// # Errors
    /// When the database or the vault does not answer: nothing is known of the rest then. What was
    /// done before is counted and logged all the same.
    pub async fn run(&self, tasks: &[Task], stop_at: Instant) -> Result<Report, Failure> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?tasks, "cleanup started");
        let mut event = Event::begin(&self.metrics, tasks);
        let result = self.run_tasks(tasks, stop_at, &mut event).await;
        event.end(result)
    }

    async fn run_tasks(
        &self,
        tasks: &[Task],
        stop_at: Instant,
        event: &mut Event<'_>,
    ) -> Result<(), Failure> {
        self.requests
            .check_connection()
            .await
            .map_err(|error| error.context("failed to begin the cleanup"))?;
        for task in tasks {
            event.enter(*task);
            let report = &mut event.report;
            match task {
                Task::Expire => expire::run(self, stop_at, report).await?,
                Task::Rescue => rescue::run(self, Stuck::Processing, stop_at, report).await?,
                Task::Republish => {
                    rescue::run(self, Stuck::Pending, stop_at, report).await?;
                    republish::run(self, stop_at, report).await?;
                }
                Task::Orphans => orphans::run(self, stop_at, report).await?,
                Task::Purge => purge::run(self, stop_at, report).await?,
            }
        }
        Ok(())
    }
}
