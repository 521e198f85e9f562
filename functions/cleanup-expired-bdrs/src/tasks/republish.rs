//! Publishes requests again that have been `pending` for long: the API may have died between its
//! row and its message. A duplicate message is harmless, because processing is idempotent.
//!
//! While an operator holds the queue, the messages of all rows wait in it. The schedules therefore
//! publish a row with growing pauses ([`Republication::InTurn`]).

use shared::failure::{Failure, chain};
use shared::queue::{MAX_BATCH, Publication};
use shared::request::{PAGE, Republication};
use tokio::time::Instant;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Publishes at most one page per run.
///
/// # Errors
/// When the database does not respond.
pub(crate) async fn run(
    cleanup: &Cleanup,
    republication: Republication,
    stop_at: Instant,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let waiting = cleanup
        .requests
        .unpublished(republication)
        .await
        .map_err(|error| error.context("failed to find requests to publish again"))?;
    // The rest is left to later runs.
    summary.more |= i64::try_from(waiting.len()).is_ok_and(|found| found >= PAGE);
    for batch in waiting.chunks(MAX_BATCH) {
        if !has_time_left(stop_at, summary) {
            break;
        }
        publish(cleanup, batch, summary).await;
    }
    Ok(())
}

async fn publish(cleanup: &Cleanup, requests: &[Publication], summary: &mut Summary) {
    match cleanup.queue.publish_batch(requests).await {
        Ok(rejected) => {
            summary.republished += requests.len() - rejected.len();
            for message in rejected {
                let error =
                    format!("failed to publish: SQS rejected the message: {}", message.code);
                summary.add_error(message.bdr_id, &error);
            }
        }
        Err(error) => {
            let error = chain(&error);
            for request in requests {
                summary.add_error(request.bdr_id, &format!("failed to publish: {error}"));
            }
        }
    }
}
