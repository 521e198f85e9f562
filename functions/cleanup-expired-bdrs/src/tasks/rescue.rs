//! Marks requests `failed` that no attempt will finish.

use shared::failure::{Failure, OUR_FAULT};
use shared::request::Stuck;
use tokio::time::Instant;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Marks requests `failed` that are stuck as `stuck` says, page by page.
///
/// # Errors
/// When the database does not respond.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stuck: Stuck,
    stop_at: Instant,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let state = stuck.state();
    while has_time_left(stop_at, summary) {
        let rescued = cleanup
            .requests
            .give_up(stuck, OUR_FAULT)
            .await
            .map_err(|error| error.context("failed to mark stuck requests failed"))?;
        if rescued.is_empty() {
            break;
        }
        for bdr_id in &rescued {
            // One line per request: an artist may ask about it.
            tracing::warn!(%bdr_id, ?stuck, "BDR {bdr_id}: marked failed: stuck in {state}");
        }
        summary.rescued += rescued.len();
    }
    Ok(())
}
