//! How an attempt ends: what becomes of the row and of the message, and the outcome line that says
//! so.

use std::time::Duration;

use shared::database::DatabaseError;
use shared::failure::{Decision, Failure, chain};
use shared::request::{Change, Claim};
use tokio::time::Instant;
use uuid::Uuid;

use crate::attempt::{Attempt, Disposition};
use crate::job::{Job, Outcome};
use crate::notify::EmailOutcome;

impl Job {
    /// Gives the request back for a later attempt, or ends it for good.
    pub(crate) async fn settle(
        &self,
        claim: &Claim,
        failure: &Failure,
        attempt: &Attempt,
        begun: Instant,
    ) -> Disposition {
        let bdr_id = claim.bdr_id;
        let retry = failure.decision() == Decision::Retry;
        let released = retry && !attempt.is_last();
        let change = if released {
            self.requests.release(claim).await
        } else {
            self.requests.fail(claim, &failure.artist_message()).await
        };
        let email = match change {
            Ok(Change::Done(())) if !released => {
                Some(self.tell_of_failure(claim, failure, attempt).await)
            }
            _ => None,
        };
        let (result, disposition) = match change {
            Ok(Change::Done(())) if released => {
                ("retried", Disposition::Return(Some(attempt.retry_delay())))
            }
            // The last receive of a request that might have gone well: an operator shall hear.
            Ok(Change::Done(())) if retry => ("failed", Disposition::Return(Some(Duration::ZERO))),
            Ok(Change::Done(())) => ("failed", Disposition::Acknowledge),
            Ok(Change::Closed) => ("closed by another", Disposition::Acknowledge),
            Ok(Change::Superseded) => ("superseded", Disposition::Return(None)),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "BDR {bdr_id}: failed to settle the request"
                );
                ("unsettled", Disposition::Return(Some(attempt.retry_delay())))
            }
        };
        tracing::error!(
            result,
            error = chain(failure),
            email = email.map(EmailOutcome::as_str),
            duration_ms = millis(begun),
            "BDR {bdr_id}: the attempt failed"
        );
        disposition
    }
}

/// The outcome line of an attempt that did not fail.
pub(crate) fn conclude(bdr_id: Uuid, outcome: &Outcome, begun: Instant) -> Disposition {
    match outcome {
        Outcome::Ready(stored, email) => {
            tracing::info!(
                result = "ready",
                duration_ms = millis(begun),
                size_bytes = stored.size_bytes,
                artworks = stored.artworks,
                missing = stored.missing,
                adopted = stored.adopted,
                email = email.as_str(),
                "BDR {bdr_id}: ready"
            );
            Disposition::Acknowledge
        }
        Outcome::Closed => {
            tracing::info!(
                result = "closed by another",
                duration_ms = millis(begun),
                "BDR {bdr_id}: another attempt was first"
            );
            Disposition::Acknowledge
        }
        Outcome::Superseded => {
            tracing::info!(
                result = "superseded",
                duration_ms = millis(begun),
                "BDR {bdr_id}: a newer attempt is at work"
            );
            Disposition::Return(None)
        }
    }
}

/// The database did not let us claim the request: nothing was changed, so nothing is to be undone.
pub(crate) fn unclaimed(bdr_id: Uuid, error: DatabaseError, attempt: &Attempt) -> Disposition {
    let failure = error.during("failed to claim the request");
    tracing::error!(
        result = "unclaimed",
        error = chain(&failure),
        "BDR {bdr_id}: the attempt failed"
    );
    let delay = if attempt.is_last() { Duration::ZERO } else { attempt.retry_delay() };
    Disposition::Return(Some(delay))
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
