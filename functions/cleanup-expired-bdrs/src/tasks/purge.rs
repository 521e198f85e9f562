//! Forgets requests that were closed long ago, where the operator wants that.

use shared::failure::Failure;
use tokio::time::Instant;

use super::goes_on;
use crate::context::Cleanup;
use crate::report::Report;

/// Purges page by page.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let Some(days) = cleanup.purge_after_days else { return Ok(()) };
    while goes_on(stop_at, report) {
        let purged = cleanup
            .requests
            .purge(days)
            .await
            .map_err(|error| error.context("failed to purge closed requests"))?;
        if purged == 0 {
            break;
        }
        report.purged += purged;
    }
    Ok(())
}
