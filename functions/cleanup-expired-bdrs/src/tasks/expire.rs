//! Ends what was promised for a time that is over: the object first, the row second. Killed in
//! between, a row points to an object that is gone, until the next run.

use shared::failure::Failure;
use shared::request::{Expired, ExpiryCursor};
use shared::vault::{ArchiveKey, NotDeleted};
use tokio::time::Instant;
use uuid::Uuid;

use super::goes_on;
use crate::context::Cleanup;
use crate::report::Report;

/// Expires page by page.
///
/// # Errors
/// When the database or the vault does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut cursor = ExpiryCursor::default();
    loop {
        let (page, next) = cleanup
            .requests
            .expired(cursor)
            .await
            .map_err(|error| error.context("failed to find expired requests"))?;
        if page.is_empty() || !goes_on(stop_at, report) {
            return Ok(());
        }
        cursor = next;
        let gone = delete_archives(cleanup, page, report).await?;
        report.cleaned_up += cleanup
            .requests
            .expire(&gone)
            .await
            .map_err(|error| error.context("failed to mark requests expired"))?;
    }
}

/// Deletes the ZIPs of a page; returns the requests that have none any more.
async fn delete_archives(
    cleanup: &Cleanup,
    page: Vec<Expired>,
    report: &mut Report,
) -> Result<Vec<Uuid>, Failure> {
    let (mut gone, mut archives) = (Vec::new(), Vec::new());
    for Expired { bdr_id, file_path } in page {
        match file_path.as_deref().map(ArchiveKey::parse) {
            None => gone.push(bdr_id),
            Some(Some(key)) if key.bdr_id() == Some(bdr_id) => archives.push((bdr_id, key)),
            // Whatever it is, it is not this request's to delete.
            Some(_) => report.error(bdr_id, "file_path is not this request's archive under bdr/"),
        }
    }
    // Whatever stands there: no attempt writes once the row is `ready`.
    let not_deleted = cleanup
        .vault
        .delete_archives(archives.iter().map(|(_, key)| (key, None)))
        .await
        .map_err(|error| Failure::retry("failed to delete expired ZIPs", error))?;
    for (bdr_id, key) in &archives {
        match not_deleted.get(key.as_str()) {
            Some(NotDeleted::Rejected(reason)) => {
                report.error(*bdr_id, &format!("S3 refused to delete the ZIP: {reason}"));
            }
            Some(NotDeleted::Changed) | None => gone.push(*bdr_id),
        }
    }
    Ok(gone)
}
