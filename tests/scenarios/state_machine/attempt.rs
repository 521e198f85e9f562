//! A simulated attempt of `process-bdr-job`: from the message to its end, one step at a time.

use anyhow::{Result, ensure};
use shared::request::Claim;
use time::{Duration, OffsetDateTime};

use super::invariants::Row;
use super::model::{LEASE, MAX_RECEIVE_COUNT, MessageState};
use super::step::{Decision, Slot};
use super::world::World;

/// An attempt in progress.
pub(super) struct SimulatedAttempt {
    /// Start of its invocation.
    pub(super) begun: Duration,
    /// Index of its message in the queue.
    message: usize,
    pub(super) received: u32,
    pub(super) claim: Option<Claim>,
    /// Number of reopenings of the request when this attempt last changed its row.
    pub(super) reopenings_seen: u32,
    /// The ZIP for which it has marked, or tried to mark, the row `ready`.
    pub(super) stored: Option<u64>,
    /// Whether the next step repeats a statement whose answer was lost.
    pub(super) repeats: bool,
    pub(super) next: AttemptStep,
}

/// The next step of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptStep {
    /// Claims the row.
    Claim,
    /// Looks for an existing ZIP: before the build, or after the build found one.
    LookUpZip { built: bool },
    /// Deletes the leftover.
    DeleteLeftover { e_tag: u64, built: bool },
    /// Creates its ZIP.
    Build,
    /// Marks the row `ready`.
    Ready { size: u64 },
    /// Deletes its ZIP: the row is closed without one.
    Discard { e_tag: u64 },
    /// Sends the ready e-mail.
    SendReadyEmail,
    /// Releases the row, or marks it failed.
    ReleaseOrFail(Decision),
    /// Sends the failure e-mail, and then acknowledges or returns the message.
    SendFailureEmail { acknowledge: bool },
    /// Deletes the message.
    Acknowledge,
    /// Returns the message to the queue: visible after this delay, or when its lease ends.
    ReturnMessage(Option<Duration>),
}

/// Age up to which an attempt adopts an existing ZIP.
const ADOPTABLE: Duration = Duration::hours(12);
/// Age from which an attempt deletes an existing ZIP.
const LEFTOVER: Duration = Duration::minutes(12 * 60 + 15);

impl SimulatedAttempt {
    /// Shifts its token as the row's is shifted when time passes.
    pub(super) fn shift_token(&mut self, time: Duration) {
        if let Some(claim) = &mut self.claim {
            claim.token -= time;
        }
    }

    pub(super) fn is_last(&self) -> bool {
        self.received >= MAX_RECEIVE_COUNT
    }
}

impl World<'_> {
    /// Starts an attempt with the first message whose state is `wanted`.
    pub(super) fn receive(&mut self, slot: Slot, wanted: impl Fn(MessageState) -> bool) {
        if self.attempts[slot].is_some() {
            return;
        }
        let dead = self.queue.has_dead_letters();
        let received = self.queue.receive(wanted);
        if !dead && self.queue.has_dead_letters() {
            self.coverage.count("dead letter");
        }
        self.attempts[slot] = received.map(|message| SimulatedAttempt {
            begun: self.now,
            message,
            received: self.queue.0[message].received,
            claim: None,
            reopenings_seen: self.history.reopenings,
            stored: None,
            repeats: false,
            next: AttemptStep::Claim,
        });
    }

    /// Makes the attempt fail while it builds the ZIP.
    pub(super) fn fail(&mut self, slot: Slot, decision: Decision) {
        if let Some(attempt) = &mut self.attempts[slot]
            && matches!(
                attempt.next,
                AttemptStep::LookUpZip { .. } | AttemptStep::Build | AttemptStep::Ready { .. }
            )
        {
            attempt.next = AttemptStep::ReleaseOrFail(decision);
        }
    }

    /// Ends the attempt without any further step. Its message returns when the lease ends.
    pub(super) fn crash(&mut self, slot: Slot) {
        if let Some(attempt) = self.attempts[slot].take() {
            self.make_visible_after(attempt.message, LEASE);
        }
    }

    pub(super) async fn finish_attempt(&mut self, slot: Slot) -> Result<()> {
        while self.attempts[slot].is_some() {
            self.advance_attempt(slot, false).await?;
            self.check().await?;
        }
        Ok(())
    }

    /// Takes the attempt's next step. If `answer_is_lost`, the attempt will repeat it.
    pub(super) async fn advance_attempt(&mut self, slot: Slot, answer_is_lost: bool) -> Result<()> {
        let Some(mut attempt) = self.attempts[slot].take() else { return Ok(()) };
        let before = self.row().await?;
        let next = self.step(&mut attempt, before.as_ref()).await?;
        // An e-mail is never sent twice, and the fate of a message is not repeated.
        let never_repeated = matches!(
            attempt.next,
            AttemptStep::SendReadyEmail
                | AttemptStep::SendFailureEmail { .. }
                | AttemptStep::Acknowledge
                | AttemptStep::ReturnMessage(_)
        );
        attempt.repeats = answer_is_lost && !never_repeated;
        if !attempt.repeats {
            let Some(next) = next else { return Ok(()) };
            attempt.next = next;
        }
        self.attempts[slot] = Some(attempt);
        Ok(())
    }

    async fn step(
        &mut self,
        attempt: &mut SimulatedAttempt,
        before: Option<&Row>,
    ) -> Result<Option<AttemptStep>> {
        Ok(Some(match attempt.next {
            AttemptStep::Claim => self.claim(attempt, before).await?,
            AttemptStep::LookUpZip { built } => match self.bucket.object {
                Some(object) if self.now - object.written < ADOPTABLE => {
                    self.coverage.count("object adopted");
                    AttemptStep::Ready { size: object.e_tag }
                }
                Some(object) if self.now - object.written >= LEFTOVER => {
                    AttemptStep::DeleteLeftover { e_tag: object.e_tag, built }
                }
                _ if built => AttemptStep::ReleaseOrFail(Decision::Retry),
                _ => AttemptStep::Build,
            },
            AttemptStep::DeleteLeftover { e_tag, built } => {
                if let Some(gone) = self.bucket.delete(e_tag) {
                    let age = self.now - gone.written;
                    ensure!(age >= LEFTOVER, "7: deleted after {age}");
                    self.coverage.count("leftover deleted");
                }
                if built { AttemptStep::ReleaseOrFail(Decision::Retry) } else { AttemptStep::Build }
            }
            AttemptStep::Build => match self.bucket.create(self.now) {
                Some(object) => {
                    self.coverage.count("object created");
                    AttemptStep::Ready { size: object.e_tag }
                }
                None => AttemptStep::LookUpZip { built: true },
            },
            AttemptStep::Ready { size } => self.ready(attempt, size, before).await?,
            AttemptStep::Discard { e_tag } => {
                if self.bucket.delete(e_tag).is_some() {
                    self.coverage.count("object discarded");
                }
                AttemptStep::Acknowledge
            }
            AttemptStep::SendReadyEmail => {
                ensure!(
                    self.history.ready_by == self.token(attempt),
                    "3: e-mail by another attempt"
                );
                self.history.ready_emails += 1;
                self.coverage.count("ready e-mail");
                AttemptStep::Acknowledge
            }
            AttemptStep::ReleaseOrFail(decision) => {
                self.release_or_fail(attempt, decision, before).await?
            }
            AttemptStep::SendFailureEmail { acknowledge } => {
                let reopened = self.history.reopenings > attempt.reopenings_seen;
                let own = self.history.failed_by == self.token(attempt);
                ensure!(own || reopened, "12: e-mail by another attempt");
                self.history.failure_emails += u32::from(!reopened);
                self.coverage.count("failure e-mail");
                if acknowledge {
                    AttemptStep::Acknowledge
                } else {
                    AttemptStep::ReturnMessage(Some(Duration::ZERO))
                }
            }
            AttemptStep::Acknowledge => {
                let open = before.is_some_and(Row::is_open);
                let reopened = self.history.reopenings > attempt.reopenings_seen;
                ensure!(!open || reopened, "8: acknowledged, but {before:?}");
                let left = attempt.stored.is_some_and(|e_tag| {
                    self.bucket.object.is_some_and(|object| object.e_tag == e_tag)
                });
                let erased = self.history.erased && !self.erasure_deletes;
                ensure!(!(erased && left), "13: an erased request has its ZIP");
                self.queue.0[attempt.message].state = MessageState::Deleted;
                return Ok(None);
            }
            AttemptStep::ReturnMessage(delay) => {
                self.make_visible_after(attempt.message, delay.unwrap_or(LEASE));
                return Ok(None);
            }
        }))
    }

    pub(super) fn token(&self, attempt: &SimulatedAttempt) -> Option<OffsetDateTime> {
        attempt.claim.as_ref().map(|claim| claim.token + self.now)
    }

    /// Makes a message visible after `delay`, unless another attempt holds it or it was deleted.
    fn make_visible_after(&mut self, message: usize, delay: Duration) {
        let held = self.attempts.iter().flatten().any(|attempt| attempt.message == message);
        let message = &mut self.queue.0[message];
        if !held && message.state == MessageState::Leased {
            message.state = MessageState::Queued(self.now + delay);
        }
    }
}
