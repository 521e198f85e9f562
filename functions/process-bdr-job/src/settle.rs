//! How an attempt ends: what becomes of the row and of the message.

use std::time::Duration;

use shared::database::DatabaseError;
use shared::failure::{Decision, Failure, chain};
use shared::request::{Change, Claim};

use crate::attempt::{Attempt, Disposition};
use crate::event::{Event, Status};
use crate::job::{Job, Outcome};
use crate::phases::Phase;

impl Job {
    /// Gives the request back for a later attempt, or ends it for good.
    pub(crate) async fn settle(
        &self,
        claim: &Claim,
        failure: &Failure,
        attempt: &Attempt,
        event: &mut Event<'_>,
    ) -> Disposition {
        event.phases.enter(Phase::Finish);
        event.error = Some(chain(failure));
        let retry = failure.decision() == Decision::Retry;
        let released = retry && !attempt.is_last();
        let change = if released {
            self.requests.release(claim).await
        } else {
            self.requests.fail(claim, &failure.artist_message()).await
        };
        if let (Ok(Change::Done(())), false) = (&change, released) {
            event.status = Some(Status::Failed);
            event.phases.enter(Phase::Notify);
            event.email = Some(self.tell_of_failure(claim, failure, attempt).await);
        }
        let (status, disposition) = match change {
            Ok(Change::Done(())) if released => {
                (Status::Retried, Disposition::Return(Some(attempt.retry_delay())))
            }
            // The last receive of a request that might have gone well: an operator shall hear.
            Ok(Change::Done(())) if retry => {
                (Status::Failed, Disposition::Return(Some(Duration::ZERO)))
            }
            Ok(Change::Done(())) => (Status::Failed, Disposition::Acknowledge),
            Ok(Change::Closed) => (Status::Closed, Disposition::Acknowledge),
            Ok(Change::Superseded) => (Status::Superseded, Disposition::Return(None)),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "BDR {}: failed to settle the request",
                    claim.bdr_id
                );
                (Status::Unsettled, Disposition::Return(Some(attempt.retry_delay())))
            }
        };
        event.status = Some(status);
        disposition
    }
}

/// The end of an attempt that did not fail.
pub(crate) fn conclude(outcome: &Outcome, event: &mut Event<'_>) -> Disposition {
    let (status, disposition) = match outcome {
        Outcome::Ready => (Status::Ready, Disposition::Acknowledge),
        Outcome::Closed => (Status::Closed, Disposition::Acknowledge),
        Outcome::Superseded => (Status::Superseded, Disposition::Return(None)),
    };
    event.status = Some(status);
    disposition
}

/// The database did not let us claim the request: nothing was changed, so nothing is to be undone.
pub(crate) fn unclaimed(
    error: DatabaseError,
    attempt: &Attempt,
    event: &mut Event<'_>,
) -> Disposition {
    event.status = Some(Status::Unclaimed);
    event.error = Some(chain(&error.context("failed to claim the request")));
    let delay = if attempt.is_last() { Duration::ZERO } else { attempt.retry_delay() };
    Disposition::Return(Some(delay))
}
