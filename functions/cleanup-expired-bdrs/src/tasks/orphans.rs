//! Deletes the ZIPs of requests that are `failed` or `expired`, and what large exports have left of
//! requests that are closed. Objects without a row are left to the lifecycle rule of the bucket, so that an
//! empty or wrong database deletes nothing.

use std::collections::{HashMap, HashSet};

use shared::failure::{Failure, chain};
use shared::queue::Publication;
use shared::request::RequestState;
use shared::vault::{
    ArchiveKey, EmailMarkKey, ExportKey, ListedArchive, MAX_DELETED_PER_CALL, NotDeleted,
};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use uuid::Uuid;

use super::has_time_left;
use crate::context::Cleanup;
use crate::summary::Summary;

/// Minimum age of an orphan. A younger ZIP may belong to an attempt that has not marked its row
/// yet.
const MIN_AGE: Duration = Duration::days(1);

/// Age from which the mark of an e-mail is deleted. A daily run publishes its request once before.
const MAX_MARK_AGE: Duration = Duration::days(2);

/// An object whose request may be closed.
struct Candidate<'a> {
    bdr_id: Uuid,
    object: &'a ListedArchive,
    /// Whether it is the ZIP, to which a `ready` row refers, or a part of a large export.
    is_archive: bool,
}

impl<'a> Candidate<'a> {
    /// Returns `None` for an object whose key names no request.
    fn of(object: &'a ListedArchive) -> Option<Self> {
        let archive = ArchiveKey::parse(&object.key).and_then(|key| key.bdr_id());
        let bdr_id = archive.or_else(|| ExportKey::parse(&object.key))?;
        Some(Self { bdr_id, object, is_archive: archive.is_some() })
    }

    /// Returns whether no row in this state refers to the object, and no attempt needs it.
    fn is_orphan(&self, status: &str) -> bool {
        match RequestState::parse(status) {
            Some(RequestState::Failed | RequestState::Expired) => true,
            Some(RequestState::Ready) => !self.is_archive,
            Some(RequestState::Pending | RequestState::Processing) | None => false,
        }
    }
}

/// Checks the objects under `bdr/` page by page.
///
/// # Errors
/// When the database or the vault does not respond.
pub(crate) async fn run(
    cleanup: &Cleanup,
    stop_at: Instant,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    while has_time_left(stop_at, summary) {
        let page = cleanup
            .vault
            .list_archives(after.as_deref())
            .await
            .map_err(|error| Failure::retry("failed to list the ZIPs", error))?;
        check_page(cleanup, &page, summary).await?;
        match page.into_iter().next_back() {
            Some(last) => after = Some(last.key),
            None => break,
        }
    }
    Ok(())
}

async fn check_page(
    cleanup: &Cleanup,
    page: &[ListedArchive],
    summary: &mut Summary,
) -> Result<(), Failure> {
    let now = cleanup.clock.now();
    let old =
        page.iter().filter(|object| object.last_modified.is_some_and(|at| now - at > MIN_AGE));
    let mut candidates = Vec::new();
    for object in old {
        if let Some(bdr_id) = EmailMarkKey::parse(&object.key) {
            settle_email_mark(cleanup, bdr_id, object.last_modified, summary).await;
            continue;
        }
        match Candidate::of(object) {
            Some(candidate) => candidates.push(candidate),
            None => keep_unknown(&object.key, summary),
        }
    }
    let bdr_ids: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.bdr_id).collect();
    let states = cleanup
        .requests
        .states(&Vec::from_iter(bdr_ids))
        .await
        .map_err(|error| error.context("failed to read the states of the ZIPs' requests"))?;
    let states: HashMap<Uuid, String> = states.into_iter().collect();
    let mut orphans = Vec::new();
    for candidate in candidates {
        match states.get(&candidate.bdr_id) {
            None => keep_unknown(&candidate.object.key, summary),
            Some(state) if candidate.is_orphan(state) => orphans.push(candidate),
            Some(_) => {}
        }
    }
    delete(cleanup, &orphans, summary).await
}

async fn delete(
    cleanup: &Cleanup,
    orphans: &[Candidate<'_>],
    summary: &mut Summary,
) -> Result<(), Failure> {
    for page in orphans.chunks(MAX_DELETED_PER_CALL) {
        // With ETags: since the state was read, an operator may have reopened the request and an
        // attempt may have written another ZIP.
        let objects =
            page.iter().map(|orphan| (&orphan.object.key, orphan.object.e_tag.as_deref()));
        let not_deleted = cleanup
            .vault
            .delete_archives(objects)
            .await
            .map_err(|error| Failure::retry("failed to delete orphaned objects", error))?;
        for orphan in page {
            match not_deleted.get(&orphan.object.key) {
                Some(NotDeleted::Rejected(code)) => {
                    let error = format!("failed to delete the orphaned object: {code}");
                    summary.add_error(orphan.bdr_id, &error);
                }
                Some(NotDeleted::Changed) => {}
                None => summary.orphans_deleted += 1,
            }
        }
    }
    Ok(())
}

/// Publishes the request of a mark again, so that an attempt sends its e-mail: after the last receive the
/// message is in the dead-letter queue, where nothing reads the mark. Deletes a mark of over two days,
/// whose row was open after all.
async fn settle_email_mark(
    cleanup: &Cleanup,
    bdr_id: Uuid,
    last_modified: Option<OffsetDateTime>,
    summary: &mut Summary,
) {
    let now = cleanup.clock.now();
    let result = if last_modified.is_some_and(|at| now - at > MAX_MARK_AGE) {
        let deleted = cleanup.vault.delete_email_mark(bdr_id).await;
        deleted.map(|()| summary.orphans_deleted += 1).map_err(|error| chain(&error))
    } else {
        let publication = Publication { bdr_id, user_id: None };
        let published = cleanup.queue.publish_batch(&[publication]).await;
        published.map_err(|error| chain(&error)).and_then(|rejected| match rejected.first() {
            None => {
                summary.republished += 1;
                Ok(())
            }
            Some(message) => Err(format!("SQS rejected the message: {}", message.code)),
        })
    };
    if let Err(error) = result {
        summary.add_error(bdr_id, &format!("failed to settle the mark of an e-mail: {error}"));
    }
}

fn keep_unknown(key: &str, summary: &mut Summary) {
    tracing::warn!(key, "kept an object under bdr/ that belongs to no request");
    summary.orphans_unknown += 1;
}
