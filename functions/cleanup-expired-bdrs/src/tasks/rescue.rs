//! Ends requests that nobody will finish.

use shared::failure::{Failure, OUR_FAULT};
use shared::request::Stuck;
use tokio::time::Instant;

use super::goes_on;
use crate::context::Cleanup;
use crate::report::Report;

/// Fails, page by page, what is stuck in this state.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stuck: Stuck,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    while goes_on(stop_at, report) {
        let rescued = cleanup
            .requests
            .give_up(stuck, OUR_FAULT)
            .await
            .map_err(|error| error.context("failed to rescue stuck requests"))?;
        if rescued.is_empty() {
            break;
        }
        for bdr_id in &rescued {
            // Somebody will ask.
            tracing::warn!(%bdr_id, ?stuck, "BDR {bdr_id}: was stuck, and failed");
        }
        report.rescued += rescued.len();
    }
    Ok(())
}
