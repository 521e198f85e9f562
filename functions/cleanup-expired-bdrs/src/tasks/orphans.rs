//! Deletes the ZIPs of requests that are `failed` or `expired`. Objects without a row are left to
//! the lifecycle rule of the bucket, so that an empty or wrong database deletes nothing.

use std::collections::HashMap;

use shared::failure::{Failure, chain};
use shared::queue::Publication;
use shared::request::RequestState;
use shared::vault::{ArchiveKey, EmailMarkKey, ListedArchive, MAX_DELETED_PER_CALL, NotDeleted};
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

/// A ZIP whose request may be `failed` or `expired`.
struct Candidate<'a> {
    key: ArchiveKey,
    e_tag: Option<&'a str>,
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
    let mut candidates: HashMap<Uuid, Candidate> = HashMap::new();
    for object in old {
        if let Some(bdr_id) = EmailMarkKey::parse(&object.key) {
            settle_email_mark(cleanup, bdr_id, object.last_modified, summary).await;
            continue;
        }
        let key = ArchiveKey::parse(&object.key);
        match key.and_then(|key| Some((key.bdr_id()?, key))) {
            Some((bdr_id, key)) if !candidates.contains_key(&bdr_id) => {
                candidates.insert(bdr_id, Candidate { key, e_tag: object.e_tag.as_deref() });
            }
            _ => keep_unknown(&object.key, summary),
        }
    }
    let bdr_ids: Vec<Uuid> = candidates.keys().copied().collect();
    let states = cleanup
        .requests
        .states(&bdr_ids)
        .await
        .map_err(|error| error.context("failed to read the states of the ZIPs' requests"))?;
    let mut orphans = Vec::new();
    for (bdr_id, status) in states {
        let Some(candidate) = candidates.remove(&bdr_id) else { continue };
        if matches!(
            RequestState::parse(&status),
            Some(RequestState::Failed | RequestState::Expired)
        ) {
            orphans.push((bdr_id, candidate));
        }
    }
    for candidate in candidates.values() {
        keep_unknown(candidate.key.as_str(), summary);
    }
    delete(cleanup, &orphans, summary).await
}

async fn delete(
    cleanup: &Cleanup,
    orphans: &[(Uuid, Candidate<'_>)],
    summary: &mut Summary,
) -> Result<(), Failure> {
    for page in orphans.chunks(MAX_DELETED_PER_CALL) {
        // With ETags: since the state was read, an operator may have reopened the request and an
        // attempt may have written another ZIP.
        let not_deleted = cleanup
            .vault
            .delete_archives(page.iter().map(|(_, orphan)| (&orphan.key, orphan.e_tag)))
            .await
            .map_err(|error| Failure::retry("failed to delete orphaned ZIPs", error))?;
        for (bdr_id, orphan) in page {
            match not_deleted.get(orphan.key.as_str()) {
                Some(NotDeleted::Rejected(code)) => {
                    summary
                        .add_error(*bdr_id, &format!("failed to delete the orphaned ZIP: {code}"));
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
