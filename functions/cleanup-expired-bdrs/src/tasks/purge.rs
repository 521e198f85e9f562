//! Deletes rows that were closed long ago, if `PURGE_AFTER_DAYS` is set.

use shared::failure::Failure;
use tokio::time::Instant;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Purges page by page.
///
/// # Errors
/// When the database does not respond.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let Some(days) = cleanup.purge_after_days else { return Ok(()) };
    while has_time_left(stop_at, summary) {
        let purged = cleanup
            .requests
            .purge(days)
            .await
            .map_err(|error| error.context("failed to purge closed requests"))?;
        if purged == 0 {
            break;
        }
        summary.purged += purged;
    }
    Ok(())
}
