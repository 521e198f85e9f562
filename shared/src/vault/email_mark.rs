//! The mark of an e-mail that is due: a small object that an attempt writes when it cannot find out
//! whether it closed the row, and that a later attempt reads when it finds the row closed.

use bytes::Bytes;
use uuid::Uuid;

use super::key::EmailMarkKey;
use super::read::{body_size, read_whole};
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
        let get = self.client.get_object().bucket(&*self.bucket).key(key.as_str()).send().await;
        let response = match get.map_err(VaultError::from) {
            Ok(response) => response,
            Err(VaultError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = Some(body_size(response.content_length)?).filter(|size| *size <= MAX_SIZE);
        let size = size
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| VaultError::Body(format!("{key} is larger than {MAX_SIZE} bytes")))?;
        read_whole(response.body, Vec::with_capacity(size), size).await.map(Some)
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
