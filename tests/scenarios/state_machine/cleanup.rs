//! A simulated run of `cleanup-expired-bdrs`: one task at a time, one step at a time.

use anyhow::{Result, ensure};
use shared::request::{ExpiryCursor, Republication, RequestState, Stuck};
use time::Duration;

use super::invariants::{Row, Statement};
use super::model::ObjectModel;
use super::step::{Slot, Task};
use super::world::World;

/// A run of the cleanup, or none.
#[derive(Debug, Default)]
pub(super) struct SimulatedCleanup {
    /// Start of its invocation.
    pub(super) begun: Duration,
    next: CleanupStep,
}

/// The next step of a run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum CleanupStep {
    #[default]
    Nothing,
    /// Takes the first step of a task.
    Begin(Task),
    /// Deletes the ZIP of the expired request.
    DeleteExpired,
    /// Marks the request expired.
    Expire,
    /// Publishes a request that has waited too long.
    Republish,
    /// Reads the state of the request that belongs to an old ZIP.
    Orphan(ObjectModel),
    /// Deletes that ZIP.
    DeleteOrphan(ObjectModel),
}

/// `PURGE_AFTER_DAYS`.
pub(super) const PURGE_AFTER: Duration = Duration::days(3);
/// Age up to which a ZIP is not an orphan.
const GRACE: Duration = Duration::days(1);

impl SimulatedCleanup {
    pub(super) fn begin(&mut self, task: Task, now: Duration) {
        if self.next == CleanupStep::Nothing {
            *self = Self { begun: now, next: CleanupStep::Begin(task) };
        }
    }
}

impl World<'_> {
    pub(super) async fn finish_cleanup(&mut self, slot: Slot) -> Result<()> {
        while self.cleanups[slot].next != CleanupStep::Nothing {
            self.advance_cleanup(slot).await?;
            self.check().await?;
        }
        Ok(())
    }

    /// Takes the run's next step.
    pub(super) async fn advance_cleanup(&mut self, slot: Slot) -> Result<()> {
        let requests = self.fixture.requests.clone();
        let before = self.row().await?;
        let mut changed = 0;
        let (statement, next) = match self.cleanups[slot].next {
            CleanupStep::Nothing => return Ok(()),
            CleanupStep::Begin(Task::Expire) => {
                let (page, _) = requests.expired(ExpiryCursor::default()).await?;
                let mut next = CleanupStep::Nothing;
                if let Some(expired) = page.first() {
                    ensure!(expired.file_path.as_deref() == Some(self.key.as_str()));
                    next = CleanupStep::DeleteExpired;
                }
                (Statement::NoChange, next)
            }
            CleanupStep::DeleteExpired => {
                let gone = self.bucket.object.take();
                self.check_deletion(gone, before.as_ref())?;
                (Statement::NoChange, CleanupStep::Expire)
            }
            CleanupStep::Expire => {
                changed = requests.expire(&[self.bdr_id]).await?;
                self.count_changes(changed, "expired");
                (Statement::Expire, CleanupStep::Nothing)
            }
            CleanupStep::Begin(Task::Rescue) => {
                changed = requests.give_up(Stuck::Processing, "rescued", None).await?.len();
                self.count_changes(changed, "rescued");
                (Statement::GiveUp, CleanupStep::Nothing)
            }
            CleanupStep::Begin(Task::Republish) => {
                changed = requests.give_up(Stuck::Pending, "given up", None).await?.len();
                self.count_changes(changed, "given up after a week");
                (Statement::GiveUp, CleanupStep::Republish)
            }
            CleanupStep::Republish => {
                let unpublished = requests.unpublished(Republication::All).await?;
                if unpublished.iter().any(|it| it.bdr_id == self.bdr_id) {
                    self.coverage.count("republished");
                    self.publish();
                }
                (Statement::NoChange, CleanupStep::Nothing)
            }
            CleanupStep::Begin(Task::Orphans) => {
                let old = self.bucket.object.filter(|object| self.now - object.written > GRACE);
                (Statement::NoChange, old.map_or(CleanupStep::Nothing, CleanupStep::Orphan))
            }
            CleanupStep::Orphan(object) => {
                let states = requests.states(&[self.bdr_id]).await?;
                let unwanted = states.iter().any(|(_, status)| {
                    matches!(
                        RequestState::parse(status),
                        Some(RequestState::Failed | RequestState::Expired)
                    )
                });
                (
                    Statement::NoChange,
                    if unwanted { CleanupStep::DeleteOrphan(object) } else { CleanupStep::Nothing },
                )
            }
            CleanupStep::DeleteOrphan(object) => {
                let gone = self.bucket.delete(object.e_tag);
                if self.check_deletion(gone, before.as_ref())? {
                    self.coverage.count("orphan deleted");
                }
                (Statement::NoChange, CleanupStep::Nothing)
            }
            CleanupStep::Begin(Task::Purge) => {
                let days = i32::try_from(PURGE_AFTER.whole_days())?;
                changed = requests.purge(days).await?;
                self.count_changes(changed, "purged");
                (Statement::Purge, CleanupStep::Nothing)
            }
        };
        self.cleanups[slot].next = next;
        let after = self.row().await?;
        let actual = usize::from(after != before);
        ensure!(changed == actual, "5: counted {changed} changes of {before:?} to {after:?}");
        self.check_change(statement, None, before.as_ref(), after.as_ref())
    }

    /// Checks that the deletion was allowed. Returns whether an object was deleted.
    fn check_deletion(&self, gone: Option<ObjectModel>, row: Option<&Row>) -> Result<bool> {
        let open = row.is_some_and(Row::is_open);
        let leftover = |object: ObjectModel| self.now - object.written > GRACE;
        let wrong = open && gone.is_some_and(|object| !leftover(object));
        ensure!(!wrong, "7: a cleanup deletes {gone:?} of {row:?}");
        Ok(gone.is_some())
    }

    fn count_changes(&mut self, changed: usize, what: &'static str) {
        if changed > 0 {
            self.coverage.count(what);
        }
    }
}
