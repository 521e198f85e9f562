//! The ZIPs in the vault: presign, list and delete.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use time::OffsetDateTime;

use super::key::ARCHIVE_PREFIX;
use super::{ArchiveKey, Vault, VaultError};

/// Maximum keys that one call deletes or lists (Amazon S3, `DeleteObjects` and `ListObjectsV2`).
pub const MAX_DELETED_PER_CALL: usize = 1000;

/// An object under `bdr/`.
#[derive(Debug, Clone)]
pub struct ListedArchive {
    /// The key, which may not be that of a ZIP.
    pub key: String,
    /// The time of the write.
    pub last_modified: Option<OffsetDateTime>,
    /// The ETag, which differs from that of a later object at the same key.
    pub e_tag: Option<String>,
}

/// The reason why a ZIP was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDeleted {
    /// The object does not exist, or another object replaced it.
    Changed,
    /// S3 returned this error code.
    Rejected(String),
}

impl Vault {
    /// Returns a presigned URL that downloads the ZIP as `filename` and expires after `expires_in`.
    ///
    /// # Errors
    /// When there are no credentials, or `expires_in` is over 7 days (limit of AWS Signature
    /// Version 4).
    pub async fn presign_download(
        &self,
        key: &ArchiveKey,
        filename: &str,
        expires_in: Duration,
    ) -> Result<String, VaultError> {
        let presigning = PresigningConfig::expires_in(expires_in)
            .map_err(|error| VaultError::Service(error.to_string()))?;
        let signed = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .response_content_disposition(format!("attachment; filename=\"{filename}\""))
            .presigned(presigning)
            .await?;
        Ok(signed.uri().to_owned())
    }

    /// Returns one page of the objects under `bdr/`, ordered by key, after the key `after`. An
    /// empty page is the end.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn list_archives(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<ListedArchive>, VaultError> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(ARCHIVE_PREFIX)
            .set_start_after(after.map(str::to_owned))
            .send()
            .await?;
        let listed = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            let modified = object.last_modified.map(|at| at.secs());
            Some(ListedArchive {
                key: object.key?,
                last_modified: modified.and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
                e_tag: object.e_tag,
            })
        });
        Ok(listed.collect())
    }

    /// Deletes at most [`MAX_DELETED_PER_CALL`] objects under `bdr/`. With an ETag, deletes only an object with
    /// that ETag (which requires `s3:GetObject` too). Without an ETag, a missing object counts as
    /// deleted. Returns those that were not deleted.
    ///
    /// # Errors
    /// When S3 rejects the whole call.
    pub async fn delete_archives(
        &self,
        archives: impl IntoIterator<Item = (impl AsRef<str>, Option<&str>)>,
    ) -> Result<HashMap<String, NotDeleted>, VaultError> {
        let objects = archives.into_iter().map(|(key, e_tag)| {
            let e_tag = e_tag.map(str::to_owned);
            ObjectIdentifier::builder().key(key.as_ref()).set_e_tag(e_tag).build()
        });
        let errors = self.delete_objects(objects).await?;
        let not_deleted = errors.into_iter().filter_map(|error| {
            let reason = match error.code.as_deref() {
                Some("PreconditionFailed" | "NoSuchKey" | "NotFound") => NotDeleted::Changed,
                code => NotDeleted::Rejected(code.unwrap_or("no error code").to_owned()),
            };
            Some((error.key?, reason))
        });
        Ok(not_deleted.collect())
    }

    /// Deletes objects in one call, which is none for none. Returns the errors of single objects.
    ///
    /// # Errors
    /// When S3 rejects the whole call.
    pub(super) async fn delete_objects(
        &self,
        objects: impl IntoIterator<Item = Result<ObjectIdentifier, BuildError>>,
    ) -> Result<Vec<aws_sdk_s3::types::Error>, VaultError> {
        let invalid = |error: BuildError| VaultError::Service(error.to_string());
        let objects = objects.into_iter().collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete = self.client.delete_objects().delete(delete.map_err(invalid)?);
        let response = delete.bucket(&*self.bucket).send().await?;
        Ok(response.errors.unwrap_or_default())
    }
}
