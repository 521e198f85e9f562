//! A run of the cleanup, as `cleanup-expired-bdrs` makes it: a task at a time, a step at a time.

use anyhow::{Result, ensure};
use shared::request::{ExpiryCursor, RequestState, Stuck};
use time::Duration;

use super::invariants::{By, Row};
use super::model::Object;
use super::step::{Task, Who};
use super::world::World;

/// A run, or none.
#[derive(Debug, Default)]
pub(super) struct Cleanup {
    /// When its invocation began.
    pub(super) begun: Duration,
    next: Next,
}

/// What a run does next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    /// Begins a task.
    Begin(Task),
    /// Deletes the ZIP of the expired request that it found.
    DeleteExpired,
    /// Marks the request expired.
    Expire,
    /// Publishes what has waited for long.
    Republish,
    /// Asks for the state of the request whose old ZIP it found.
    Orphan(Object),
    /// Deletes that ZIP.
    DeleteOrphan(Object),
}

/// `PURGE_AFTER_DAYS`.
pub(super) const PURGE_AFTER: Duration = Duration::days(3);
/// A ZIP younger than this is no orphan.
const GRACE: Duration = Duration::days(1);

impl Cleanup {
    pub(super) fn begin(&mut self, task: Task, now: Duration) {
        if self.next == Next::Nothing {
            *self = Self { begun: now, next: Next::Begin(task) };
        }
    }
}

impl World<'_> {
    pub(super) async fn finish_cleanup(&mut self, who: Who) -> Result<()> {
        while self.cleanups[who].next != Next::Nothing {
            self.clean(who).await?;
            self.check().await?;
        }
        Ok(())
    }

    /// Does the run's next step.
    pub(super) async fn clean(&mut self, who: Who) -> Result<()> {
        let requests = self.place.requests.clone();
        let before = self.row().await?;
        let mut told = 0;
        let (by, next) = match self.cleanups[who].next {
            Next::Nothing => return Ok(()),
            Next::Begin(Task::Expire) => {
                let (page, _) = requests.expired(ExpiryCursor::default()).await?;
                let mut next = Next::Nothing;
                if let Some(expired) = page.first() {
                    ensure!(expired.file_path.as_deref() == Some(self.key.as_str()));
                    next = Next::DeleteExpired;
                }
                (By::Nobody, next)
            }
            Next::DeleteExpired => {
                let gone = self.bucket.object.take();
                self.judge_deletion(gone, before.as_ref())?;
                (By::Nobody, Next::Expire)
            }
            Next::Expire => {
                told = requests.expire(&[self.bdr_id]).await?;
                self.count(told, "expired");
                (By::Expire, Next::Nothing)
            }
            Next::Begin(Task::Rescue) => {
                told = requests.give_up(Stuck::Processing, "rescued").await?.len();
                self.count(told, "rescued");
                (By::GiveUp, Next::Nothing)
            }
            Next::Begin(Task::Republish) => {
                told = requests.give_up(Stuck::Pending, "given up").await?.len();
                self.count(told, "given up after a week");
                (By::GiveUp, Next::Republish)
            }
            Next::Republish => {
                if requests.unpublished().await?.contains(&self.bdr_id) {
                    self.tally.count("republished");
                    self.publish();
                }
                (By::Nobody, Next::Nothing)
            }
            Next::Begin(Task::Orphans) => {
                let old = self.bucket.object.filter(|object| self.now - object.written > GRACE);
                (By::Nobody, old.map_or(Next::Nothing, Next::Orphan))
            }
            Next::Orphan(object) => {
                let states = requests.states(&[self.bdr_id]).await?;
                let unwanted = states.iter().any(|(_, status)| {
                    matches!(
                        RequestState::parse(status),
                        Some(RequestState::Failed | RequestState::Expired)
                    )
                });
                (By::Nobody, if unwanted { Next::DeleteOrphan(object) } else { Next::Nothing })
            }
            Next::DeleteOrphan(object) => {
                let gone = self.bucket.delete(object.e_tag);
                if self.judge_deletion(gone, before.as_ref())? {
                    self.tally.count("orphan deleted");
                }
                (By::Nobody, Next::Nothing)
            }
            Next::Begin(Task::Purge) => {
                let days = i32::try_from(PURGE_AFTER.whole_days())?;
                told = requests.purge(days).await?;
                self.count(told, "purged");
                (By::Purge, Next::Nothing)
            }
        };
        self.cleanups[who].next = next;
        let after = self.row().await?;
        ensure!(told == usize::from(after != before), "5: told {told} of {before:?}, {after:?}");
        self.judge(by, None, before.as_ref(), after.as_ref())
    }

    /// Judges what was deleted; says whether anything was.
    fn judge_deletion(&self, gone: Option<Object>, row: Option<&Row>) -> Result<bool> {
        let open = row.is_some_and(Row::is_open);
        let leftover = |object: Object| self.now - object.written > GRACE;
        let wrong = open && gone.is_some_and(|object| !leftover(object));
        ensure!(!wrong, "7: a cleanup deletes {gone:?} of {row:?}");
        Ok(gone.is_some())
    }

    fn count(&mut self, changed: usize, what: &'static str) {
        if changed > 0 {
            self.tally.count(what);
        }
    }
}
