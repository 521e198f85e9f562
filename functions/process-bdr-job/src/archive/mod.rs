//! The archive of a request in the vault: adopted from an earlier attempt, or streamed.

mod adopt;
mod comment;
pub mod documents;
mod write;
pub mod zip;

use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::failure::{Failure, chain};
use shared::request::Claim;
use shared::vault::{ArchiveKey, Finished, Upload, Vault, part_size};
use tokio::time::timeout_at;

use crate::artwork::Fetcher;
use crate::attempt::Attempt;
use crate::load::LoadedRequest;
use crate::phases::{Phase, Phases};

/// An archive in the vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredArchive {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Artworks in it. If they were not counted, the artworks requested.
    pub artworks: usize,
    /// Requested artworks that it lacks. If they were not counted, 0.
    pub missing: usize,
    /// Whether the artworks were counted. Those of an adopted archive are unless an earlier version
    /// wrote it.
    pub counted: bool,
    /// Whether the archive was found in the vault: another attempt wrote it, or S3 accepted this
    /// attempt's upload and the response was lost.
    pub adopted: bool,
    /// The ETag of the object, which differs from that of a later object at the same key.
    pub e_tag: Option<String>,
}

impl StoredArchive {
    /// Returns the share of the requested artworks that is missing, from 0 to 1.
    pub(crate) fn missing_share(&self) -> f64 {
        let count = |artworks| f64::from(u32::try_from(artworks).unwrap_or(u32::MAX));
        count(self.missing) / count(self.artworks.saturating_add(self.missing).max(1))
    }
}

/// The writer of archives.
pub struct Archiver {
    /// The vault that holds the archives.
    pub vault: Vault,
    /// The source of the artworks' files.
    pub fetcher: Fetcher,
    /// The clock for generated-at times and the age of an archive in the vault.
    pub clock: Clock,
    /// `BASE_URL`, for the comment of an archive.
    pub base_url: String,
    /// `ARTWORKS_FOLDER`: the folder of the artworks in an archive.
    pub artworks_folder: String,
}

impl Archiver {
    /// Returns the archive of the request: on a second or later receive the one that an earlier
    /// attempt stored before it died, otherwise a new one.
    ///
    /// # Errors
    /// A permanent failure when every artwork is permanently missing or a JSON document fails; a
    /// retryable one otherwise. The upload is then aborted, or left to the lifecycle rule if the abort
    /// fails.
    pub(crate) async fn store(
        &self,
        claim: &Claim,
        request: &LoadedRequest,
        key: &ArchiveKey,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<StoredArchive, Failure> {
        if attempt.receive_count > 1
            && let Some(archive) = self.adopt(claim, key).await?
        {
            return Ok(archive);
        }
        self.stream(claim, request, key, attempt, phases).await
    }

    /// Aborts uploads left at `key` by a killed attempt, or by a repeated `CreateMultipartUpload` whose
    /// first response was lost. Skips the listing on a first receive with an archive of one part, where
    /// neither can occur. Call this after the row is `ready`, so that it does not delay the artist.
    pub(crate) async fn abort_leftover_uploads(
        &self,
        key: &ArchiveKey,
        archive: &StoredArchive,
        attempt: &Attempt,
    ) {
        if attempt.receive_count > 1 || archive.size_bytes > part_size(1) as u64 {
            let abort = self.vault.abort_leftover_uploads(key);
            if timeout_at(attempt.email_stop_at(), abort).await.is_err() {
                tracing::warn!(
                    key = %key,
                    "no time is left to abort leftover uploads; leaving them to the lifecycle rule"
                );
            }
        }
    }

    /// Deletes an archive that no row refers to: the request was erased, given up or failed while this
    /// attempt stored or adopted it. Deletes it only if it was not replaced since. No later attempt
    /// could adopt it, because an operator can reopen the request only after this attempt has ended.
    pub(crate) async fn discard(
        &self,
        key: &ArchiveKey,
        archive: &StoredArchive,
        attempt: &Attempt,
    ) {
        let Some(e_tag) = archive.e_tag.clone() else { return };
        let deleting = self.vault.delete_unchanged(key, Some(e_tag));
        let error = match timeout_at(attempt.email_stop_at(), deleting).await {
            Ok(Ok(())) => {
                tracing::info!(key = %key, "deleted the ZIP of a request that was closed without it");
                return;
            }
            Ok(Err(error)) => chain(&error),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(
            key = %key,
            error,
            "failed to delete the ZIP of a request that was closed without it; leaving it to the \
             cleanup or the lifecycle rule"
        );
    }

    /// Streams a new archive into the vault.
    async fn stream(
        &self,
        claim: &Claim,
        request: &LoadedRequest,
        key: &ArchiveKey,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<StoredArchive, Failure> {
        let mut upload = self.vault.upload(key.clone());
        let window = self.fetcher.window();
        let writing =
            self.write(&mut upload, claim.bdr_id, request, window.clone(), attempt, phases);
        let written = timeout_at(attempt.stop_at(), writing).await;
        phases.vault_trouble += window.trouble();
        phases.enter(Phase::Upload);
        phases.shift(Phase::Write, Phase::Upload, upload.waited());
        let counts = match written {
            Ok(Ok(counts)) => counts,
            Ok(Err(failure)) => return Err(aborted(upload, failure).await),
            Err(elapsed) => {
                let failure = Failure::retry("stopped shortly before the deadline", elapsed);
                return Err(aborted(upload, failure).await);
            }
        };
        let finished = upload
            .finish(attempt.stop_at())
            .await
            .map_err(|error| Failure::retry("failed to complete the upload", error))?;
        match finished {
            Finished::Created { size_bytes, e_tag } => Ok(StoredArchive {
                size_bytes,
                artworks: counts.artworks,
                missing: counts.missing,
                counted: true,
                adopted: false,
                e_tag,
            }),
            Finished::Conflict => self.adopt(claim, key).await?.ok_or_else(|| {
                Failure::retry(
                    "failed to complete the upload",
                    "an object that cannot be adopted is at the key",
                )
            }),
        }
    }
}

async fn aborted(upload: Upload, failure: Failure) -> Failure {
    upload.abort().await;
    failure
}
