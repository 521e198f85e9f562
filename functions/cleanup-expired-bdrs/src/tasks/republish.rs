//! Sends the message again of requests that wait for too long: the API may have died between its
//! row and its message. One too many does no harm, since processing is idempotent.

use shared::failure::Failure;
use shared::request::PAGE;
use tokio::time::Instant;

use super::goes_on;
use crate::context::Cleanup;
use crate::queue::MOST_AT_ONCE;
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
        .map_err(|error| error.during("failed to find requests that wait"))?;
    // The rest waits for the next run, an hour from now.
    report.more |= i64::try_from(waiting.len()).is_ok_and(|found| found >= PAGE);
    for ten in waiting.chunks(MOST_AT_ONCE) {
        if !goes_on(stop_at, report) {
            break;
        }
        cleanup.queue.publish(ten, report).await;
    }
    Ok(())
}
