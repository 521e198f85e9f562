//! The mark of an e-mail that is due: a small object that an attempt writes when it cannot find out
//! whether it closed the row, and that a later attempt reads when it finds the row closed.

use bytes::Bytes;
use uuid::Uuid;

use super::key::EmailMarkKey;
use super::{Vault, VaultError};

/// Maximum size of a mark, in bytes. Its text to the artist has at most 500 characters.
const MAX_SIZE: u64 = 16 * 1024;

impl Vault {
    /// Writes the mark of `bdr_id`. Replaces an earlier one.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn put_email_mark(&self, bdr_id: Uuid, mark: Bytes) -> Result<(), VaultError> {
        let key = EmailMarkKey::new(bdr_id);
        let put = self.client.put_object().bucket(&*self.bucket).key(key.as_str());
        put.content_type("application/json").body(mark.into()).send().await?;
        Ok(())
    }

    /// Returns the mark of `bdr_id`, if there is one.
    ///
    /// # Errors
    /// When the S3 request fails, or the object is larger than a mark.
    pub async fn email_mark(&self, bdr_id: Uuid) -> Result<Option<Vec<u8>>, VaultError> {
        let key = EmailMarkKey::new(bdr_id);
        self.small_object(key.as_str(), MAX_SIZE).await
    }

    /// Deletes the mark of `bdr_id`, if there is one.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn delete_email_mark(&self, bdr_id: Uuid) -> Result<(), VaultError> {
        let key = EmailMarkKey::new(bdr_id);
        self.client.delete_object().bucket(&*self.bucket).key(key.as_str()).send().await?;
        Ok(())
    }
}
