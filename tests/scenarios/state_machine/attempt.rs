//! An attempt, as `process-bdr-job` makes it: from a message to its end, a step at a time.

use anyhow::{Result, ensure};
use shared::request::Claim;
use time::{Duration, OffsetDateTime};

use super::invariants::Row;
use super::model::{LEASE, MAX_RECEIVE_COUNT, Place};
use super::step::{Decision, Who};
use super::world::World;

/// An attempt that has not ended.
pub(super) struct Attempt {
    /// When its invocation began.
    pub(super) begun: Duration,
    /// Its message, by its place in the queue's list.
    message: usize,
    pub(super) received: u32,
    pub(super) claim: Option<Claim>,
    /// How often the request had been opened again when this attempt last saw its row.
    pub(super) seen: u32,
    /// Whether an answer of the next step was lost.
    pub(super) asked: bool,
    next: Next,
}

/// What an attempt does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Claims the row.
    Claim,
    /// Looks for a ZIP: before building one, or because building one met another.
    Look { built: bool },
    /// Deletes the leftover that it found.
    DeleteLeftover { e_tag: u64, built: bool },
    /// Makes its ZIP appear.
    Build,
    /// Marks the row `ready`.
    Ready { size: u64 },
    /// Tells the artist.
    TellReady,
    /// Gives the row back, or fails it.
    Settle(Decision),
    /// Tells the artist that it failed, and then ends so.
    TellFailure { acknowledge: bool },
    /// Deletes the message.
    Acknowledge,
    /// Leaves the message to a later attempt: after this delay, or when its lease ends.
    Return(Option<Duration>),
}

/// A younger ZIP was made by an attempt at the same request, and is adopted.
const ADOPTABLE: Duration = Duration::hours(12);
/// An older ZIP is deleted.
const LEFTOVER: Duration = Duration::minutes(12 * 60 + 15);

impl Attempt {
    /// Its token moves with the row's, when time passes.
    pub(super) fn token_passes(&mut self, time: Duration) {
        if let Some(claim) = &mut self.claim {
            claim.token -= time;
        }
    }

    pub(super) fn is_last(&self) -> bool {
        self.received >= MAX_RECEIVE_COUNT
    }
}

impl World<'_> {
    /// Begins an attempt with a message that is `wanted`.
    pub(super) fn receive(&mut self, who: Who, wanted: impl Fn(Place) -> bool) {
        if self.attempts[who].is_some() {
            return;
        }
        let dead = self.queue.has_dead_letters();
        let received = self.queue.receive(wanted);
        if !dead && self.queue.has_dead_letters() {
            self.tally.count("dead letter");
        }
        self.attempts[who] = received.map(|message| Attempt {
            begun: self.now,
            message,
            received: self.queue.0[message].received,
            claim: None,
            seen: self.history.openings,
            asked: false,
            next: Next::Claim,
        });
    }

    /// Something goes wrong while the ZIP is built.
    pub(super) fn fail(&mut self, who: Who, decision: Decision) {
        if let Some(attempt) = &mut self.attempts[who]
            && matches!(attempt.next, Next::Look { .. } | Next::Build | Next::Ready { .. })
        {
            attempt.next = Next::Settle(decision);
        }
    }

    /// The attempt is no more; its lease ends by itself.
    pub(super) fn crash(&mut self, who: Who) {
        if let Some(attempt) = self.attempts[who].take() {
            self.let_go(attempt.message, LEASE);
        }
    }

    pub(super) async fn finish_attempt(&mut self, who: Who) -> Result<()> {
        while self.attempts[who].is_some() {
            self.advance(who, false).await?;
            self.check().await?;
        }
        Ok(())
    }

    /// Does the attempt's next step. If the `answer_is_lost`, the attempt will do it again.
    pub(super) async fn advance(&mut self, who: Who, answer_is_lost: bool) -> Result<()> {
        let Some(mut attempt) = self.attempts[who].take() else { return Ok(()) };
        let before = self.row().await?;
        let next = self.step(&mut attempt, before.as_ref()).await?;
        // SES is never asked twice, and a message is deleted or not.
        let goes_on = matches!(
            attempt.next,
            Next::TellReady | Next::TellFailure { .. } | Next::Acknowledge | Next::Return(_)
        );
        attempt.asked = answer_is_lost && !goes_on;
        if !attempt.asked {
            let Some(next) = next else { return Ok(()) };
            attempt.next = next;
        }
        self.attempts[who] = Some(attempt);
        Ok(())
    }

    async fn step(&mut self, attempt: &mut Attempt, before: Option<&Row>) -> Result<Option<Next>> {
        Ok(Some(match attempt.next {
            Next::Claim => self.claim(attempt, before).await?,
            Next::Look { built } => match self.bucket.object {
                Some(object) if self.now - object.written < ADOPTABLE => {
                    self.tally.count("object adopted");
                    Next::Ready { size: object.e_tag }
                }
                Some(object) if self.now - object.written >= LEFTOVER => {
                    Next::DeleteLeftover { e_tag: object.e_tag, built }
                }
                _ if built => Next::Settle(Decision::Retry),
                _ => Next::Build,
            },
            Next::DeleteLeftover { e_tag, built } => {
                if let Some(gone) = self.bucket.delete(e_tag) {
                    let age = self.now - gone.written;
                    ensure!(age >= LEFTOVER, "7: deleted after {age}");
                    self.tally.count("leftover deleted");
                }
                if built { Next::Settle(Decision::Retry) } else { Next::Build }
            }
            Next::Build => match self.bucket.create(self.now) {
                Some(object) => {
                    self.tally.count("object created");
                    Next::Ready { size: object.e_tag }
                }
                None => Next::Look { built: true },
            },
            Next::Ready { size } => self.ready(attempt, size, before).await?,
            Next::TellReady => {
                ensure!(self.history.ready_by == self.token(attempt), "3: told by another");
                self.history.ready_emails += 1;
                self.tally.count("ready e-mail");
                Next::Acknowledge
            }
            Next::Settle(decision) => self.settle(attempt, decision, before).await?,
            Next::TellFailure { acknowledge } => {
                let reopened = self.history.openings > attempt.seen;
                let own = self.history.failed_by == self.token(attempt);
                ensure!(own || reopened, "12: told by another");
                self.history.failure_emails += u32::from(!reopened);
                self.tally.count("failure e-mail");
                if acknowledge { Next::Acknowledge } else { Next::Return(Some(Duration::ZERO)) }
            }
            Next::Acknowledge => {
                let open = before.is_some_and(Row::is_open);
                let reopened = self.history.openings > attempt.seen;
                ensure!(!open || reopened, "8: acknowledged, but {before:?}");
                self.queue.0[attempt.message].place = Place::Deleted;
                return Ok(None);
            }
            Next::Return(delay) => {
                self.let_go(attempt.message, delay.unwrap_or(LEASE));
                return Ok(None);
            }
        }))
    }

    pub(super) fn token(&self, attempt: &Attempt) -> Option<OffsetDateTime> {
        attempt.claim.as_ref().map(|claim| claim.token + self.now)
    }

    /// Lets a message become visible after `delay`, unless somebody holds it or it is gone.
    fn let_go(&mut self, message: usize, delay: Duration) {
        let held = self.attempts.iter().flatten().any(|attempt| attempt.message == message);
        let message = &mut self.queue.0[message];
        if !held && message.place == Place::Leased {
            message.place = Place::Queue(self.now + delay);
        }
    }
}
