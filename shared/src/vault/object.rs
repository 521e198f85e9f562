//! A ZIP that already stands in the vault: another attempt's, or a leftover.

use std::time::Duration;

use time::OffsetDateTime;

use super::{ArchiveKey, Vault, VaultError};

/// A ZIP younger than this was made by an attempt at the same request and is as good as one's own;
/// an older one is a leftover from before the request was last opened.
const ADOPTABLE: Duration = Duration::from_hours(12);
/// A ZIP older than this is deleted. Whoever adopted it has ended by then (AWS Lambda, "Function
/// timeout": 15 minutes), or a row could become `ready` whose ZIP is just being deleted.
const LEFTOVER: Duration = Duration::from_mins(12 * 60 + 15);

/// What is known of a ZIP in the vault.
#[derive(Debug, Clone)]
pub struct ArchiveObject {
    /// Size in bytes.
    pub size_bytes: u64,
    e_tag: Option<String>,
    last_modified: Option<OffsetDateTime>,
}

impl Vault {
    /// The ZIP at `key`, if there is one.
    ///
    /// # Errors
    /// When S3 does not say.
    pub async fn archive(&self, key: &ArchiveKey) -> Result<Option<ArchiveObject>, VaultError> {
        let answer = self.client.head_object().bucket(&*self.bucket).key(key.as_str()).send().await;
        match answer.map_err(VaultError::from) {
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

    /// The ZIP at `key` if it may serve as this request's: made within the last 12 h. A leftover is
    /// deleted, so that a new one can be written; one in between is left to a later attempt.
    ///
    /// # Errors
    /// When S3 does not say, or refuses to delete the leftover.
    pub async fn adopt(
        &self,
        key: &ArchiveKey,
        now: OffsetDateTime,
    ) -> Result<Option<ArchiveObject>, VaultError> {
        let Some(object) = self.archive(key).await? else { return Ok(None) };
        let is_younger_than = |age| object.last_modified.is_some_and(|made| now - made < age);
        if is_younger_than(ADOPTABLE) {
            return Ok(Some(object));
        }
        if is_younger_than(LEFTOVER) {
            return Ok(None);
        }
        tracing::info!(key = %key, "deleting a leftover ZIP");
        // If-Match: what is deleted is what was judged, not what somebody has written since.
        let deleted = self
            .client
            .delete_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .set_if_match(object.e_tag)
            .send()
            .await;
        match deleted.map_err(VaultError::from) {
            // Gone already, or replaced since: whoever writes next will see.
            Ok(_) | Err(VaultError::NotFound | VaultError::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
