//! The statements of an attempt, and what it does next by their answers (`job.rs`, `settle.rs`).

use anyhow::{Result, ensure};
use shared::request::{Change, Claimed};
use time::Duration;

use super::attempt::{Attempt, Next};
use super::invariants::{By, Row};
use super::step::Decision;
use super::world::World;

/// Longest delay before another attempt.
const RETRY_DELAY: Duration = Duration::minutes(10);

impl World<'_> {
    pub(super) async fn claim(
        &mut self,
        attempt: &mut Attempt,
        before: Option<&Row>,
    ) -> Result<Next> {
        let claimed = self.place.requests.claim(self.bdr_id).await?;
        self.judge_statement(By::Claim, attempt, before).await?;
        Ok(match claimed {
            Claimed::Ours(claim) => {
                self.tally.count(match before.map(|row| row.status.as_str()) {
                    Some("processing") => "claimed from another attempt",
                    _ => "claimed",
                });
                attempt.claim = Some(claim);
                if attempt.received > 1 { Next::Look { built: false } } else { Next::Build }
            }
            Claimed::Closed(_) => {
                self.tally.count("claim of a closed request");
                Next::Acknowledge
            }
            Claimed::NotFound => {
                self.tally.count("claim of a purged request");
                Next::Acknowledge
            }
            Claimed::Malformed(_, error) => return Err(error.into()),
        })
    }

    pub(super) async fn ready(
        &mut self,
        attempt: &mut Attempt,
        size: u64,
        before: Option<&Row>,
    ) -> Result<Next> {
        let Some(claim) = &attempt.claim else { anyhow::bail!("ready without a claim") };
        let change = self.place.requests.ready(claim, &self.key, size, 7).await?;
        let after = self.judge_statement(By::Ready, attempt, before).await?;
        let own = self.history.ready_by == self.token(attempt);
        self.judge_answer(&change, own, attempt, after.as_ref())?;
        let superseded = before.and_then(|row| row.token) != self.token(attempt);
        Ok(match change {
            Change::Done(_) => {
                self.tally.count(match (attempt.asked, superseded) {
                    (true, _) => "ready, the answer lost and asked for again",
                    (_, true) => "ready by an attempt that another had superseded",
                    _ => "ready",
                });
                Next::TellReady
            }
            Change::Closed => {
                self.tally.count("ready: closed by another");
                Next::Acknowledge
            }
            Change::Superseded => Next::Return(None),
        })
    }

    pub(super) async fn settle(
        &mut self,
        attempt: &mut Attempt,
        decision: Decision,
        before: Option<&Row>,
    ) -> Result<Next> {
        let Some(claim) = &attempt.claim else { anyhow::bail!("settled without a claim") };
        let release = decision == Decision::Retry && !attempt.is_last();
        let (by, change) = if release {
            (By::Release, self.place.requests.release(claim).await?)
        } else {
            (By::Fail, self.place.requests.fail(claim, "it failed").await?)
        };
        let after = self.judge_statement(by, attempt, before).await?;
        let state = if release { "pending" } else { "failed" };
        let own = after
            .as_ref()
            .is_some_and(|row| row.status == state && row.token == self.token(attempt));
        self.judge_answer(&change, own, attempt, after.as_ref())?;
        Ok(match change {
            Change::Done(()) if release => {
                self.tally.count("released");
                Next::Return(Some(RETRY_DELAY))
            }
            Change::Done(()) => {
                self.tally.count("failed");
                Next::TellFailure { acknowledge: decision == Decision::Fail }
            }
            Change::Closed => {
                self.tally.count("settle: closed by another");
                Next::Acknowledge
            }
            Change::Superseded => {
                self.tally.count("settle: superseded");
                Next::Return(None)
            }
        })
    }

    /// Judges the statement that the attempt has just made; returns the row that it has left.
    async fn judge_statement(
        &mut self,
        by: By,
        attempt: &mut Attempt,
        before: Option<&Row>,
    ) -> Result<Option<Row>> {
        let after = self.row().await?;
        self.judge(by, self.token(attempt), before, after.as_ref())?;
        attempt.seen = self.history.openings;
        Ok(after)
    }

    /// Judges what the attempt was told, by the row and by whether the change is its own.
    fn judge_answer<T: std::fmt::Debug>(
        &self,
        change: &Change<T>,
        own: bool,
        attempt: &Attempt,
        after: Option<&Row>,
    ) -> Result<()> {
        let true_answer = match change {
            Change::Done(_) => own,
            Change::Closed => !own && !after.is_some_and(Row::is_open),
            Change::Superseded => {
                after.is_some_and(|row| row.is_open() && row.token != self.token(attempt))
            }
        };
        ensure!(true_answer, "5: {change:?} of {after:?}, own: {own}");
        Ok(())
    }
}
