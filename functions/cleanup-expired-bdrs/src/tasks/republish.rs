//! Sends the message again of requests that wait for too long: the API may have died between its
//! row and its message. One too many does no harm, since processing is idempotent.

use shared::failure::{Failure, chain};
use shared::queue::MAX_BATCH;
use shared::request::PAGE;
use tokio::time::Instant;
use uuid::Uuid;

use super::goes_on;
use crate::context::Cleanup;
use crate::report::Report;

/// Republishes at most a page a run.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let waiting = cleanup
        .requests
        .unpublished()
        .await
        .map_err(|error| error.context("failed to find requests that wait"))?;
    // The rest waits for the next run, an hour from now.
    report.more |= i64::try_from(waiting.len()).is_ok_and(|found| found >= PAGE);
    for ten in waiting.chunks(MAX_BATCH) {
        if !goes_on(stop_at, report) {
            break;
        }
        publish(cleanup, ten, report).await;
    }
    Ok(())
}

async fn publish(cleanup: &Cleanup, bdr_ids: &[Uuid], report: &mut Report) {
    match cleanup.queue.publish_batch(bdr_ids).await {
        Ok(rejected) => {
            report.republished += bdr_ids.len() - rejected.len();
            for message in rejected {
                report
                    .error(message.bdr_id, &format!("SQS rejected the message: {}", message.code));
            }
        }
        Err(error) => {
            let error = chain(&error);
            for bdr_id in bdr_ids {
                report.error(*bdr_id, &format!("failed to publish: {error}"));
            }
        }
    }
}
