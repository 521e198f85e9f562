//! Erases what the vault has of a request or of a user: objects and open multipart uploads.

use aws_sdk_s3::types::ObjectIdentifier;

use super::{Erasable, MAX_DELETED_PER_CALL, Vault, VaultError};

/// Objects in scope on one page of a listing, in the order of their keys.
#[derive(Debug, Clone, Default)]
pub struct ErasablePage {
    /// The keys.
    pub keys: Vec<String>,
    /// The position of the next page. `None` on the last page.
    pub next: Option<String>,
}

/// An open multipart upload: its key and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key of the object that the upload would create.
    pub key: String,
    id: String,
}

/// Open uploads in scope on one page of a listing.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// The uploads.
    pub uploads: Vec<OpenUpload>,
    /// The position of the next page. `None` on the last page.
    pub next: Option<UploadPosition>,
}

/// The position after a page of uploads.
#[derive(Debug, Clone)]
pub struct UploadPosition {
    key: Option<String>,
    id: Option<String>,
}

/// A key that was not deleted, and the error code of S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotErased {
    /// The key.
    pub key: String,
    /// The code.
    pub code: String,
}

impl Vault {
    /// Returns one page of the objects in `scope`, after the key `after`. A page holds at most
    /// [`MAX_DELETED_PER_CALL`] keys, and may hold none although others follow.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn list_erasable(
        &self,
        scope: &Erasable,
        after: Option<&str>,
    ) -> Result<ErasablePage, VaultError> {
        let listed = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(scope.prefix())
            .set_start_after(after.map(str::to_owned))
            .send()
            .await?;
        let is_last = !listed.is_truncated.unwrap_or(false);
        let mut keys: Vec<_> = listed
            .contents
            .unwrap_or_default()
            .into_iter()
            .filter_map(|object| object.key)
            .collect();
        let next = keys.last().filter(|_| !is_last).cloned();
        keys.retain(|key| scope.contains(key));
        Ok(ErasablePage { keys, next })
    }

    /// Deletes at most [`MAX_DELETED_PER_CALL`] objects, without regard to their content. Returns those
    /// that were not deleted.
    ///
    /// # Errors
    /// When S3 rejects the whole call.
    pub async fn erase(&self, keys: &[String]) -> Result<Vec<NotErased>, VaultError> {
        debug_assert!(keys.len() <= MAX_DELETED_PER_CALL, "S3 rejects more keys");
        let objects = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let errors = self.delete_objects(objects).await?;
        let not_erased = errors.into_iter().filter_map(|error| {
            let code = error.code.unwrap_or_else(|| "no error code".to_owned());
            Some(NotErased { key: error.key?, code })
        });
        Ok(not_erased.collect())
    }

    /// Returns one page of the open multipart uploads in `scope`, after `after`. A page may hold
    /// none although others follow.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn list_uploads(
        &self,
        scope: &Erasable,
        after: Option<UploadPosition>,
    ) -> Result<UploadPage, VaultError> {
        let (key, id) = after.map(|after| (after.key, after.id)).unwrap_or_default();
        let listed = self
            .client
            .list_multipart_uploads()
            .bucket(&*self.bucket)
            .prefix(scope.prefix())
            .set_key_marker(key)
            .set_upload_id_marker(id)
            .send()
            .await?;
        let next = listed.is_truncated.unwrap_or(false).then_some(UploadPosition {
            key: listed.next_key_marker,
            id: listed.next_upload_id_marker,
        });
        let uploads = listed.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
            let key = upload.key.filter(|key| scope.contains(key))?;
            Some(OpenUpload { key, id: upload.upload_id? })
        });
        Ok(UploadPage { uploads: uploads.collect(), next })
    }

    /// Aborts an upload. Returns whether it was still open.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn abort(&self, upload: &OpenUpload) -> Result<bool, VaultError> {
        let abort = self.client.abort_multipart_upload().bucket(&*self.bucket);
        let aborted = abort.key(&upload.key).upload_id(&upload.id).send().await;
        match aborted.map_err(VaultError::from) {
            Ok(_) => Ok(true),
            Err(VaultError::Conflict(_) | VaultError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
