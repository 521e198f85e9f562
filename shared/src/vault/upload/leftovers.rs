//! Incomplete multipart uploads that other attempts left: killed ones, and requests to create an upload that the SDK
//! repeated because the first response was lost.

use std::sync::Arc;

use futures_util::future::FutureExt;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::{ABORT_TIMEOUT, UploadId, timed_out, warn_left_to_lifecycle};
use crate::vault::{ArchiveKey, Export, Vault, VaultError};

/// The other uploads for the key of an archive that were open when its upload began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    ids: Vec<String>,
}

/// Lists the other uploads for the key of an upload.
pub(super) enum Listing {
    /// They are not needed.
    Unneeded,
    /// The list begins when the upload does.
    Planned,
    /// The list runs beside the upload, or has ended. `None`: it failed.
    Started(AbortOnDropHandle<Option<Leftovers>>),
}

impl Listing {
    /// Starts a planned list, when the upload with this id exists.
    pub(super) fn start(&mut self, vault: &Vault, key: &Arc<str>, own: UploadId) {
        if !matches!(self, Self::Planned) {
            return;
        }
        let (vault, key) = (vault.clone(), Arc::clone(key));
        let listing = async move {
            let own = own.await.ok()?;
            let listed = vault.open_uploads(&key).await.ok()?.into_iter();
            let others = listed.filter(|(found, id)| **found == *key && **id != *own);
            Some(Leftovers { ids: others.map(|(_, id)| id).collect() })
        };
        *self = Self::Started(AbortOnDropHandle::new(tokio::spawn(listing.in_current_span())));
    }

    /// Returns the result of a list that has ended.
    pub(super) fn take(&mut self) -> Option<Leftovers> {
        let Self::Started(listing) = std::mem::replace(self, Self::Unneeded) else { return None };
        listing.now_or_never()?.ok()?
    }
}

impl Vault {
    /// Aborts incomplete multipart uploads for `key`: those that are `known`, or else those that S3 lists. Call this
    /// only when the ZIP exists: a live attempt that loses its upload then finds the ZIP. If an abort fails, the
    /// lifecycle rule of the bucket removes the upload.
    pub async fn abort_leftover_uploads(&self, key: &ArchiveKey, known: Option<&Leftovers>) {
        let key = key.as_str();
        match known {
            Some(Leftovers { ids }) => {
                for id in ids {
                    self.abort_leftover(key, id).await;
                }
            }
            None => self.abort_uploads(key, |found| found == key).await,
        }
    }

    /// Aborts incomplete multipart uploads of the segments of an export that is over, which are those of
    /// killed invocations. If an abort fails, the lifecycle rule of the bucket removes the upload.
    pub async fn abort_segment_uploads(&self, export: &Export) {
        self.abort_uploads(&export.prefix(), |_| true).await;
    }

    async fn abort_uploads(&self, prefix: &str, is_leftover: impl Fn(&str) -> bool) {
        match self.open_uploads(prefix).await {
            Err(error) => warn_left_to_lifecycle(&error),
            Ok(uploads) => {
                for (key, id) in uploads.into_iter().filter(|(key, _)| is_leftover(key)) {
                    self.abort_leftover(&key, &id).await;
                }
            }
        }
    }

    async fn abort_leftover(&self, key: &str, id: &str) {
        tracing::info!(key, "aborting the multipart upload of a killed attempt");
        self.abort_upload(key, id).await;
    }

    /// Returns keys and ids of the incomplete uploads under a prefix: at most 1,000 of them.
    async fn open_uploads(&self, prefix: &str) -> Result<Vec<(String, String)>, VaultError> {
        let listing =
            self.client.list_multipart_uploads().bucket(&*self.bucket).prefix(prefix).send();
        let listed = timeout(ABORT_TIMEOUT, listing).await.map_err(|_| timed_out())??;
        let uploads = listed.uploads.unwrap_or_default().into_iter();
        Ok(uploads.filter_map(|upload| upload.key.zip(upload.upload_id)).collect())
    }
}
