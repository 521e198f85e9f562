//! The archive of a request in the vault: adopted from an earlier attempt, or streamed.

mod adopt;
mod comment;
pub mod documents;
mod write;
pub mod zip;

use shared::clock::Clock;
use shared::failure::Failure;
use shared::request::Claim;
use shared::vault::{ArchiveKey, Finished, Upload, Vault, part_size};
use tokio::time::timeout_at;

use crate::artwork::Fetcher;
use crate::attempt::Attempt;
use crate::load::LoadedRequest;
use crate::phases::{Phase, Phases};

/// The archive that stands in the vault.
#[derive(Debug, Clone, Copy)]
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
    /// Whether another attempt wrote it.
    pub adopted: bool,
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
}

impl Archiver {
    /// Returns the archive of the request: on a second or later receive the one that an earlier
    /// attempt stored before it died, otherwise a new one.
    ///
    /// # Errors
    /// A permanent failure when no artwork can be fetched for permanent reasons; a retryable one for
    /// any trouble that may pass. Nothing of a failed archive stays in the vault.
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

    /// Aborts the uploads that other attempts left at `key`: a killed attempt leaves one, and so does
    /// a `CreateMultipartUpload` whose response was lost and that the SDK repeated. The listing is
    /// spared where neither can have happened: on a first receive with an archive of one part. Call
    /// this after the row is `ready`: it must not delay what the artist waits for.
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
            Finished::Created(size_bytes) => Ok(StoredArchive {
                size_bytes,
                artworks: counts.artworks,
                missing: counts.missing,
                counted: true,
                adopted: false,
            }),
            Finished::Conflict => self.adopt(claim, key).await?.ok_or_else(|| {
                Failure::retry("failed to complete the upload", "it conflicts with another one")
            }),
        }
    }
}

async fn aborted(upload: Upload, failure: Failure) -> Failure {
    upload.abort().await;
    failure
}
