//! A ZIP that is already in the vault: written by another attempt, or a leftover.

use std::time::Duration;

use time::OffsetDateTime;

use super::read::{announced, read_whole};
use super::{ArchiveKey, Vault, VaultError};

/// Age below which a ZIP can be adopted: another attempt at the same opening of the request wrote
/// it. An older ZIP is a leftover from before the request was reopened.
const MAX_ADOPTED_AGE: Duration = Duration::from_hours(12);
/// Age from which a leftover is deleted: 15 min later (AWS Lambda, "Function timeout"), because an
/// attempt that adopted the ZIP may still be about to mark its row `ready`.
const MIN_DELETED_AGE: Duration = Duration::from_mins(12 * 60 + 15);

/// Signature of the end of central directory record (APPNOTE.TXT, 4.3.16).
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
/// Size of that record, in bytes. Its last two bytes are the length of the comment that follows.
const END_SIZE: usize = 22;

/// Maximum size of the end that [`Vault::archive_end`] reads, in bytes.
const MAX_END_SIZE: u16 = 1024;

/// Returns the comment of a ZIP from its last bytes, if they are those of a whole ZIP.
#[must_use]
pub fn archive_comment(end: &[u8]) -> Option<&[u8]> {
    let at = end.windows(END_SIGNATURE.len()).rposition(|bytes| bytes == END_SIGNATURE)?;
    let (record, comment) = end.get(at..)?.split_first_chunk::<END_SIZE>()?;
    let [.., low, high] = *record;
    (usize::from(u16::from_le_bytes([low, high])) == comment.len()).then_some(comment)
}

/// A ZIP in the vault.
#[derive(Debug, Clone)]
pub struct ArchiveObject {
    /// Size in bytes.
    pub size_bytes: u64,
    /// The ETag, which differs from that of a later object at the same key.
    pub e_tag: Option<String>,
    last_modified: Option<OffsetDateTime>,
}

impl Vault {
    /// Returns the ZIP at `key`, if there is one.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn archive(&self, key: &ArchiveKey) -> Result<Option<ArchiveObject>, VaultError> {
        let response =
            self.client.head_object().bucket(&*self.bucket).key(key.as_str()).send().await;
        match response.map_err(VaultError::from) {
            Err(VaultError::NotFound) => Ok(None),
            Err(error) => Err(error),
            Ok(head) => Ok(Some(ArchiveObject {
                size_bytes: head.content_length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                e_tag: head.e_tag,
                last_modified: head
                    .last_modified
                    .and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok()),
            })),
        }
    }

    /// Returns the ZIP at `key` if it can be adopted: written within the last 12 h. Deletes a
    /// leftover of over 12 h 15 min, so that a new ZIP can be written; leaves one in between to a
    /// later attempt.
    ///
    /// # Errors
    /// When an S3 request fails.
    pub async fn adopt(
        &self,
        key: &ArchiveKey,
        now: OffsetDateTime,
    ) -> Result<Option<ArchiveObject>, VaultError> {
        let Some(object) = self.archive(key).await? else { return Ok(None) };
        let is_younger_than = |age| object.last_modified.is_some_and(|at| now - at < age);
        if is_younger_than(MAX_ADOPTED_AGE) {
            return Ok(Some(object));
        }
        if is_younger_than(MIN_DELETED_AGE) {
            return Ok(None);
        }
        tracing::info!(key = %key, "deleting a leftover ZIP");
        // If it was replaced since, the conditional write finds out.
        self.delete_unchanged(key, object.e_tag).await.map(|()| None)
    }

    /// Deletes the ZIP at `key` if it still is the object with this ETag, not one written since.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn delete_unchanged(
        &self,
        key: &ArchiveKey,
        e_tag: Option<String>,
    ) -> Result<(), VaultError> {
        let delete = self.client.delete_object().bucket(&*self.bucket).key(key.as_str());
        match delete.set_if_match(e_tag).send().await.map_err(VaultError::from) {
            Ok(_) | Err(VaultError::NotFound | VaultError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the last 1,024 bytes of `object` at `key`, or all if it is smaller. Returns `None` if the
    /// object was deleted or replaced since `object` was read.
    ///
    /// # Errors
    /// When the S3 request fails, or the body is incomplete.
    pub async fn archive_end(
        &self,
        key: &ArchiveKey,
        object: &ArchiveObject,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        if object.size_bytes == 0 {
            // S3 rejects every range of an empty object.
            return Ok(Some(Vec::new()));
        }
        let response = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .range(format!("bytes=-{MAX_END_SIZE}"))
            .set_if_match(object.e_tag.clone())
            .send()
            .await;
        let response = match response.map_err(VaultError::from) {
            Ok(response) => response,
            Err(VaultError::NotFound | VaultError::Conflict(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let body = announced(response.content_length, response.body)?;
        let size = body.remaining();
        if size > u64::from(MAX_END_SIZE) {
            return Err(VaultError::Body(format!(
                "the response has {size} bytes instead of {MAX_END_SIZE}"
            )));
        }
        read_whole(body).await.map(Some)
    }
}
