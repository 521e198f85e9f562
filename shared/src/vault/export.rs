//! The objects of a large export, which exist only while it runs.

use std::collections::HashMap;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{Export, ExportKey, MAX_DELETED_PER_CALL, NotErased, Vault, VaultError};

/// Maximum size of a document of an export, in bytes: about 100,000 posts.
const MAX_DOCUMENT_SIZE: u64 = 128 * 1024 * 1024;

/// A segment that is written: its manifest exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenSegment {
    /// Its number, from 0.
    pub segment: u32,
    /// Size of its object in bytes; 0 without an object.
    pub size_bytes: u64,
    /// The time of the manifest.
    pub written_at: Option<OffsetDateTime>,
}

impl Vault {
    /// Writes a document of an export. Replaces an earlier one.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn put_export_document(
        &self,
        key: &ExportKey,
        document: impl Into<Bytes>,
    ) -> Result<(), VaultError> {
        let put = self.client.put_object().bucket(&*self.bucket).key(key.as_str());
        put.content_type("application/json").body(document.into().into()).send().await?;
        Ok(())
    }

    /// Writes a segment from memory, and returns its ETag. Replaces an earlier one.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn put_segment(
        &self,
        key: &ExportKey,
        bytes: impl Into<Bytes>,
    ) -> Result<String, VaultError> {
        let put = self.client.put_object().bucket(&*self.bucket).key(key.as_str());
        let put = put.body(bytes.into().into()).send().await?;
        let no_e_tag = || VaultError::Service("the response to PutObject has no ETag".to_owned());
        put.e_tag.ok_or_else(no_e_tag)
    }

    /// Returns a document of an export, if there is one.
    ///
    /// # Errors
    /// When the S3 request fails, or the object is larger than a document.
    pub async fn export_document(&self, key: &ExportKey) -> Result<Option<Vec<u8>>, VaultError> {
        self.small_object(key.as_str(), MAX_DOCUMENT_SIZE).await
    }

    /// Returns the segments of an export that are written. Lists three keys for each segment of the plan,
    /// 1,000 in a call, and reads no object.
    ///
    /// # Errors
    /// When an S3 request fails.
    pub async fn written_segments(
        &self,
        export: &Export,
    ) -> Result<Vec<WrittenSegment>, VaultError> {
        let prefix = export.prefix();
        let (mut manifests, mut sizes) = (Vec::new(), HashMap::new());
        let mut after = None;
        loop {
            let list = self.client.list_objects_v2().bucket(&*self.bucket).prefix(&prefix);
            let page = list.set_start_after(after).send().await?;
            let is_last = !page.is_truncated.unwrap_or(false);
            let objects = page.contents.unwrap_or_default();
            after = objects.last().and_then(|object| object.key.clone());
            for object in objects {
                let name = object.key.as_deref().and_then(|key| key.strip_prefix(&prefix));
                let Some((kind, number)) = name.and_then(|name| name.split_once('-')) else {
                    continue;
                };
                let number = number.trim_end_matches(".json").to_owned();
                match kind {
                    "manifest" => manifests.push((number, object.last_modified)),
                    "segment" => {
                        let size = object.size.and_then(|size| u64::try_from(size).ok());
                        sizes.insert(number, size.unwrap_or_default());
                    }
                    _ => {}
                }
            }
            if is_last || after.is_none() {
                break;
            }
        }
        let written = manifests.into_iter().map(|(number, at)| WrittenSegment {
            segment: number.parse().unwrap_or_default(),
            size_bytes: sizes.get(&number).copied().unwrap_or_default(),
            written_at: at.and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok()),
        });
        Ok(written.collect())
    }

    /// Returns the time at which a document of an export was written, if it exists.
    ///
    /// # Errors
    /// When the S3 request fails.
    pub async fn export_document_written_at(
        &self,
        key: &ExportKey,
    ) -> Result<Option<OffsetDateTime>, VaultError> {
        let list = self.client.list_objects_v2().bucket(&*self.bucket).prefix(key.as_str());
        let listed = list.max_keys(1).send().await?;
        let at = listed.contents().first().and_then(|object| object.last_modified());
        Ok(at.and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok()))
    }

    /// Deletes objects of an export. Returns those that were not deleted.
    ///
    /// # Errors
    /// When S3 rejects a whole call.
    pub async fn delete_export(&self, keys: &[ExportKey]) -> Result<Vec<NotErased>, VaultError> {
        let keys: Vec<_> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let mut not_deleted = Vec::new();
        for page in keys.chunks(MAX_DELETED_PER_CALL) {
            not_deleted.extend(self.erase(page).await?);
        }
        Ok(not_deleted)
    }
}
