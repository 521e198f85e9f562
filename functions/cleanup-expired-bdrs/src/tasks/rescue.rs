//! Marks requests `failed` that no attempt will finish. A request whose export runs is left alone: the state
//! machine ends it.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt};
use shared::executions::Executions;
use shared::failure::{Failure, OUR_FAULT, chain};
use shared::request::Stuck;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Executions looked for at once.
const LOOKS: usize = 8;

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
    let executions = cleanup.executions.as_ref().filter(|_| stuck == Stuck::Processing);
    let mut spared = Vec::new();
    while has_time_left(stop_at, summary) {
        let only = match executions {
            Some(executions) => Some(dead(cleanup, executions, &mut spared, summary).await?),
            None => None,
        };
        if only.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
        let rescued = cleanup
            .requests
            .give_up(stuck, OUR_FAULT, only.as_deref())
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

/// Returns a page of stuck requests without a running export. Adds the others to `spared`, also those whose
/// export cannot be looked for.
async fn dead(
    cleanup: &Cleanup,
    executions: &Executions,
    spared: &mut Vec<Uuid>,
    summary: &mut Summary,
) -> Result<Vec<Uuid>, Failure> {
    loop {
        let stuck = cleanup.requests.stuck(Stuck::Processing, spared).await;
        let stuck = stuck.map_err(|error| error.context("failed to look for stuck requests"))?;
        if stuck.is_empty() {
            return Ok(Vec::new());
        }
        let looked_at = stuck.iter().map(async |(bdr_id, token)| {
            let found = is_running(executions, *bdr_id, *token).await;
            (*bdr_id, found)
        });
        let looked_at: Vec<_> = stream::iter(looked_at).buffer_unordered(LOOKS).collect().await;
        let mut alive = HashSet::new();
        for (bdr_id, found) in looked_at {
            match found {
                Ok(false) => continue,
                Ok(true) => tracing::info!(%bdr_id, "BDR {bdr_id}: its export runs; left alone"),
                Err(failure) => summary.add_error(bdr_id, &chain(&failure)),
            }
            alive.insert(bdr_id);
        }
        let dead: Vec<_> =
            stuck.into_iter().map(|(id, _)| id).filter(|id| !alive.contains(id)).collect();
        spared.extend(alive);
        if !dead.is_empty() {
            return Ok(dead);
        }
    }
}

async fn is_running(
    executions: &Executions,
    bdr_id: Uuid,
    token: Option<OffsetDateTime>,
) -> Result<bool, Failure> {
    let Some(token) = token else { return Ok(false) };
    Ok(executions.find(bdr_id, token).await?.is_some_and(|execution| execution.is_running()))
}
