//! The statements of an attempt, and its next step by their results.

use anyhow::{Result, ensure};
use shared::request::{Change, Claimed, ClosedRow};
use time::Duration;

use super::attempt::{AttemptStep, SimulatedAttempt};
use super::invariants::{Row, Statement};
use super::step::Decision;
use super::world::World;

/// Longest delay before another attempt.
const RETRY_DELAY: Duration = Duration::minutes(10);
/// Delay before a message without a row is received again.
const ROW_DELAY: Duration = Duration::seconds(5);

impl World<'_> {
    pub(super) async fn claim(
        &mut self,
        attempt: &mut SimulatedAttempt,
        before: Option<&Row>,
    ) -> Result<AttemptStep> {
        let claimed = self.fixture.requests.claim(self.bdr_id).await?;
        self.check_statement(Statement::Claim, attempt, before).await?;
        Ok(match claimed {
            Claimed::Ours(claim) => {
                self.coverage.count(match before.map(|row| row.status.as_str()) {
                    Some("processing") => "claimed from another attempt",
                    _ => "claimed",
                });
                attempt.claim = Some(claim);
                if attempt.received > 1 {
                    AttemptStep::LookUpZip { built: false }
                } else {
                    AttemptStep::Build
                }
            }
            Claimed::Closed(_) => {
                self.coverage.count("claim of a closed request");
                AttemptStep::Acknowledge
            }
            Claimed::NotFound => {
                self.coverage.count("claim of a purged request");
                if attempt.received <= 2 {
                    AttemptStep::ReturnMessage(Some(ROW_DELAY))
                } else {
                    AttemptStep::Acknowledge
                }
            }
            Claimed::Malformed(_, error) => return Err(error.into()),
        })
    }

    pub(super) async fn ready(
        &mut self,
        attempt: &mut SimulatedAttempt,
        size: u64,
        before: Option<&Row>,
    ) -> Result<AttemptStep> {
        attempt.stored = Some(size);
        let Some(claim) = &attempt.claim else { anyhow::bail!("ready without a claim") };
        let stop_at = tokio::time::Instant::now() + std::time::Duration::from_mins(5);
        let change = self.fixture.requests.ready(claim, &self.key, size, 7, stop_at).await?;
        let after = self.check_statement(Statement::Ready, attempt, before).await?;
        let own = self.history.ready_by == self.token(attempt);
        self.check_result(&change, own, attempt, after.as_ref())?;
        let superseded = before.and_then(|row| row.token) != self.token(attempt);
        Ok(match change {
            Change::Done(_) => {
                self.coverage.count(match (attempt.repeats, superseded) {
                    (true, _) => "ready, repeated after a lost answer",
                    (_, true) => "ready by an attempt that another had superseded",
                    _ => "ready",
                });
                AttemptStep::SendReadyEmail
            }
            Change::Closed(row) => {
                self.coverage.count("ready: closed by another");
                match row {
                    ClosedRow::WithArchive => AttemptStep::Acknowledge,
                    ClosedRow::WithoutArchive => AttemptStep::Discard { e_tag: size },
                }
            }
            Change::Superseded => AttemptStep::ReturnMessage(None),
        })
    }

    pub(super) async fn release_or_fail(
        &mut self,
        attempt: &mut SimulatedAttempt,
        decision: Decision,
        before: Option<&Row>,
    ) -> Result<AttemptStep> {
        let Some(claim) = &attempt.claim else { anyhow::bail!("ended without a claim") };
        let release = decision == Decision::Retry && !attempt.is_last();
        let (statement, change) = if release {
            (Statement::Release, self.fixture.requests.release(claim).await?)
        } else {
            (Statement::Fail, self.fixture.requests.fail(claim, "it failed").await?)
        };
        let after = self.check_statement(statement, attempt, before).await?;
        let state = if release { "pending" } else { "failed" };
        let own = after
            .as_ref()
            .is_some_and(|row| row.status == state && row.token == self.token(attempt));
        self.check_result(&change, own, attempt, after.as_ref())?;
        Ok(match change {
            Change::Done(()) if release => {
                self.coverage.count("released");
                AttemptStep::ReturnMessage(Some(RETRY_DELAY))
            }
            Change::Done(()) => {
                self.coverage.count("failed");
                AttemptStep::SendFailureEmail { acknowledge: decision == Decision::Fail }
            }
            Change::Closed(_) => {
                self.coverage.count("release or failure: closed by another");
                AttemptStep::Acknowledge
            }
            Change::Superseded => {
                self.coverage.count("release or failure: superseded");
                AttemptStep::ReturnMessage(None)
            }
        })
    }

    /// Checks the statement that the attempt has just executed. Returns the row after it.
    async fn check_statement(
        &mut self,
        statement: Statement,
        attempt: &mut SimulatedAttempt,
        before: Option<&Row>,
    ) -> Result<Option<Row>> {
        let after = self.row().await?;
        self.check_change(statement, self.token(attempt), before, after.as_ref())?;
        attempt.reopenings_seen = self.history.reopenings;
        Ok(after)
    }

    /// Checks the result of the statement against the row. `own` is whether the attempt made the
    /// change.
    fn check_result<T: std::fmt::Debug>(
        &self,
        change: &Change<T>,
        own: bool,
        attempt: &SimulatedAttempt,
        after: Option<&Row>,
    ) -> Result<()> {
        let is_true = match change {
            Change::Done(_) => own,
            Change::Closed(row) => {
                let ready = after.is_some_and(|row| row.status == "ready");
                let closed_as =
                    if ready { ClosedRow::WithArchive } else { ClosedRow::WithoutArchive };
                !own && !after.is_some_and(Row::is_open) && *row == closed_as
            }
            Change::Superseded => {
                after.is_some_and(|row| row.is_open() && row.token != self.token(attempt))
            }
        };
        ensure!(is_true, "5: {change:?} of {after:?}, own: {own}");
        Ok(())
    }
}
