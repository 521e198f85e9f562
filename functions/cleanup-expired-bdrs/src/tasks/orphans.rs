//! Deletes ZIPs that nobody wants any more: those of requests that have failed or expired. What
//! belongs to no row that we know is left to the bucket's lifecycle, so that an empty or a wrong
//! database deletes nothing.

use std::collections::HashMap;

use shared::failure::Failure;
use shared::request::RequestState;
use shared::vault::{ArchiveKey, ListedArchive, MAX_DELETED_PER_CALL, NotDeleted};
use time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

use super::goes_on;
use crate::context::Cleanup;
use crate::report::Report;

/// A ZIP younger than this may belong to an attempt that is about to tell.
const GRACE: Duration = Duration::days(1);

/// A ZIP that perhaps nobody wants.
struct Orphan<'a> {
    key: ArchiveKey,
    e_tag: Option<&'a str>,
}

/// Sweeps the objects under `bdr/` page by page.
///
/// # Errors
/// When the database or the vault does not answer.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    while goes_on(stop_at, report) {
        let page = cleanup
            .vault
            .list_archives(after.as_deref())
            .await
            .map_err(|error| Failure::retry("failed to list the ZIPs", error))?;
        sweep(cleanup, &page, report).await?;
        match page.into_iter().next_back() {
            Some(last) => after = Some(last.key),
            None => break,
        }
    }
    Ok(())
}

async fn sweep(
    cleanup: &Cleanup,
    page: &[ListedArchive],
    report: &mut Report,
) -> Result<(), Failure> {
    let now = cleanup.clock.now();
    let old = page.iter().filter(|object| object.last_modified.is_some_and(|at| now - at > GRACE));
    let mut archives: HashMap<Uuid, Orphan> = HashMap::new();
    for object in old {
        let key = ArchiveKey::parse(&object.key);
        match key.and_then(|key| Some((key.bdr_id()?, key))) {
            Some((bdr_id, key)) if !archives.contains_key(&bdr_id) => {
                archives.insert(bdr_id, Orphan { key, e_tag: object.e_tag.as_deref() });
            }
            _ => unknown(&object.key, report),
        }
    }
    let bdr_ids: Vec<Uuid> = archives.keys().copied().collect();
    let states = cleanup
        .requests
        .states(&bdr_ids)
        .await
        .map_err(|error| error.context("failed to find the requests of ZIPs"))?;
    let mut unwanted = Vec::new();
    for (bdr_id, status) in states {
        let Some(orphan) = archives.remove(&bdr_id) else { continue };
        if matches!(
            RequestState::parse(&status),
            Some(RequestState::Failed | RequestState::Expired)
        ) {
            unwanted.push((bdr_id, orphan));
        }
    }
    for orphan in archives.values() {
        unknown(orphan.key.as_str(), report);
    }
    delete(cleanup, &unwanted, report).await
}

async fn delete(
    cleanup: &Cleanup,
    unwanted: &[(Uuid, Orphan<'_>)],
    report: &mut Report,
) -> Result<(), Failure> {
    for page in unwanted.chunks(MAX_DELETED_PER_CALL) {
        // By its ETag: an operator may have opened the request again, and an attempt have written
        // another ZIP, since we asked for its state.
        let not_deleted = cleanup
            .vault
            .delete_archives(page.iter().map(|(_, orphan)| (&orphan.key, orphan.e_tag)))
            .await
            .map_err(|error| Failure::retry("failed to delete orphans", error))?;
        for (bdr_id, orphan) in page {
            match not_deleted.get(orphan.key.as_str()) {
                Some(NotDeleted::Rejected(reason)) => {
                    report.error(*bdr_id, &format!("S3 refused to delete the orphan: {reason}"));
                }
                Some(NotDeleted::Changed) => {}
                None => report.orphans_deleted += 1,
            }
        }
    }
    Ok(())
}

fn unknown(key: &str, report: &mut Report) {
    tracing::warn!(key, "an object under bdr/ belongs to no request; it is left alone");
    report.orphans_unknown += 1;
}
