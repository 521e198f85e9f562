//! Deletes expired archives: the object first, the row second. If a run is killed in between, the
//! row points to a missing object until the next run.

use shared::failure::Failure;
use shared::request::{Expired, ExpiryCursor};
use shared::vault::{ArchiveKey, NotDeleted};
use tokio::time::Instant;
use uuid::Uuid;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Expires requests page by page.
///
/// # Errors
/// When the database or the vault does not respond.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut cursor = ExpiryCursor::default();
    loop {
        let (page, next) = cleanup
            .requests
            .expired(cursor)
            .await
            .map_err(|error| error.context("failed to find expired requests"))?;
        if page.is_empty() || !has_time_left(stop_at, summary) {
            return Ok(());
        }
        cursor = next;
        let gone = delete_archives(cleanup, page, summary).await?;
        summary.cleaned_up += cleanup
            .requests
            .expire(&gone)
            .await
            .map_err(|error| error.context("failed to mark requests expired"))?;
    }
}

/// Deletes the ZIPs of a page and returns the requests that have no ZIP anymore.
async fn delete_archives(
    cleanup: &Cleanup,
    page: Vec<Expired>,
    summary: &mut Summary,
) -> Result<Vec<Uuid>, Failure> {
    let (mut gone, mut archives) = (Vec::new(), Vec::new());
    for Expired { bdr_id, file_path } in page {
        match file_path.as_deref().map(ArchiveKey::parse) {
            None => gone.push(bdr_id),
            Some(Some(key)) if key.bdr_id() == Some(bdr_id) => archives.push((bdr_id, key)),
            // The object may belong to another request or be an artwork.
            Some(_) => summary.add_error(bdr_id, "file_path is not the key of this request's ZIP"),
        }
    }
    // Without ETags: no attempt writes a ZIP while the row is `ready`.
    let not_deleted = cleanup
        .vault
        .delete_archives(archives.iter().map(|(_, key)| (key, None)))
        .await
        .map_err(|error| Failure::retry("failed to delete expired ZIPs", error))?;
    for (bdr_id, key) in &archives {
        match not_deleted.get(key.as_str()) {
            Some(NotDeleted::Rejected(code)) => {
                summary.add_error(*bdr_id, &format!("failed to delete the ZIP: {code}"));
            }
            Some(NotDeleted::Changed) | None => gone.push(*bdr_id),
        }
    }
    Ok(gone)
}
