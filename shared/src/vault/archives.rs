//! The ZIPs in the vault: handing them out, listing and deleting them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use time::OffsetDateTime;

use super::key::ARCHIVES;
use super::{ArchiveKey, Vault, VaultError};

/// Keys that one call deletes or lists (S3, `DeleteObjects` and `ListObjectsV2`).
pub const MAX_DELETED_PER_CALL: usize = 1000;

/// An object under `bdr/`.
#[derive(Debug, Clone)]
pub struct ListedArchive {
    /// Its key, of whatever form.
    pub key: String,
    /// When it was written.
    pub last_modified: Option<OffsetDateTime>,
    /// Tells it from what may stand at its key later.
    pub e_tag: Option<String>,
}

/// Why a ZIP was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDeleted {
    /// It is gone already, or another one stands in its place.
    Changed,
    /// S3 refused, with this code.
    Refused(String),
}

impl Vault {
    /// A URL by which anybody may download the ZIP for so long, under this file name.
    ///
    /// # Errors
    /// When there are no credentials to sign with, or `life` is over a week (the limit of signature version 4).
    pub async fn presign_download(
        &self,
        key: &ArchiveKey,
        filename: &str,
        life: Duration,
    ) -> Result<String, VaultError> {
        let life = PresigningConfig::expires_in(life)
            .map_err(|error| VaultError::Service(error.to_string()))?;
        let signed = self
            .client
            .get_object()
            .bucket(&*self.bucket)
            .key(key.as_str())
            .response_content_disposition(format!("attachment; filename=\"{filename}\""))
            .presigned(life)
            .await?;
        Ok(signed.uri().to_owned())
    }

    /// One page of the objects under `bdr/`, by key, after `after`; an empty one
    /// means that there are no more.
    ///
    /// # Errors
    /// What S3 answered.
    pub async fn list_archives(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<ListedArchive>, VaultError> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(ARCHIVES)
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

    /// Deletes at most [`MAX_DELETED_PER_CALL`] ZIPs: what stands at a key, or only the object of
    /// this ETag (which takes `s3:GetObject` as well). One that is not there counts as deleted,
    /// unless there is an ETag. Returns those that were not deleted.
    ///
    /// # Errors
    /// When S3 does not take the call at all.
    pub async fn delete_archives(
        &self,
        archives: impl IntoIterator<Item = (&ArchiveKey, Option<&str>)>,
    ) -> Result<HashMap<String, NotDeleted>, VaultError> {
        let objects = archives
            .into_iter()
            .map(|(key, e_tag)| {
                let e_tag = e_tag.map(str::to_owned);
                ObjectIdentifier::builder().key(key.as_str()).set_e_tag(e_tag).build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| VaultError::Service(error.to_string()))?;
        if objects.is_empty() {
            return Ok(HashMap::new());
        }
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|error| VaultError::Service(error.to_string()))?;
        let answer =
            self.client.delete_objects().bucket(&*self.bucket).delete(delete).send().await?;
        let not_deleted = answer.errors.unwrap_or_default().into_iter().filter_map(|error| {
            let reason = match error.code.as_deref() {
                Some("PreconditionFailed" | "NoSuchKey" | "NotFound") => NotDeleted::Changed,
                code => NotDeleted::Refused(code.unwrap_or("no reason given").to_owned()),
            };
            Some((error.key?, reason))
        });
        Ok(not_deleted.collect())
    }
}
