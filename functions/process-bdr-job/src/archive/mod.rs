//! The archive of a request in the vault: adopted from an earlier attempt, or streamed.

mod adopt;
mod by_artwork;
pub mod checksum;
mod comment;
mod complete;
mod cut;
pub mod documents;
mod entry;
pub mod forecast;
pub mod gallery;
mod join;
mod json;
mod pages;
mod record;
mod segment;
mod write;

pub use cut::{Pace, SEGMENT_ARTWORKS, Segments};
pub(crate) use join::Joint;
pub(crate) use record::{Manifest, Part, read_document};
pub(crate) use segment::Head;

use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::failure::{Failure, chain};
use shared::request::Claim;
use shared::vault::{ArchiveKey, Finished, Leftovers, Upload, Vault};
use tokio::time::{Instant, timeout_at};
use zip_to_s3::plan::MIN_PART;

use documents::Totals;
use write::End;

use crate::artwork::Fetcher;
use crate::attempt::Attempt;
use crate::limits::RequestLimits;
use crate::load::LoadedRequest;
use crate::phases::{Phase, Phases};
use crate::wording::Wording;

/// An archive in the vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredArchive {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Bytes of artworks that S3 copied into it for this attempt.
    #[serde(default)]
    pub copied_bytes: u64,
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
    /// What the e-mail says beyond the counts. An adopted archive has none.
    #[serde(default)]
    pub contents: Option<Contents>,
    /// The uploads of other attempts, if they were listed.
    #[serde(skip)]
    pub leftovers: Option<Leftovers>,
}

/// What an archive contains and lacks, for the artist.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Contents {
    /// Artworks with more than one frame, and videos.
    pub animations: usize,
    /// The titles of the first missing artworks. Untrusted, but each on one line.
    pub missing_titles: Vec<String>,
}

impl StoredArchive {
    /// Returns the share of the requested artworks that is missing, from 0 to 1.
    pub(crate) fn missing_share(&self) -> f64 {
        let count = |artworks| f64::from(u32::try_from(artworks).unwrap_or(u32::MAX));
        count(self.missing) / count(self.artworks.saturating_add(self.missing).max(1))
    }
}

/// What an archive has besides its artworks and their documents.
#[derive(Debug, Clone, Copy)]
pub struct Extras {
    /// Whether it has `index.html`.
    pub gallery_page: bool,
    /// Whether it has the SHA-256 of its files. False without the page.
    pub checksums: bool,
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
    /// The names and words of the site, for the page and the comment of an archive.
    pub wording: Wording,
    /// `ARTWORKS_FOLDER`: the folder of the artworks in an archive.
    pub artworks_folder: String,
    /// What an archive has besides its artworks and their documents.
    pub extras: Extras,
    /// The largest request that is served.
    pub limits: RequestLimits,
    /// The size of segments; `None` without large exports.
    pub segments: Option<Segments>,
}

/// What an attempt stored.
pub(crate) enum Stored {
    /// The archive.
    Archive(StoredArchive),
    /// The first segment of an archive that is too large for one attempt.
    Head(Head),
}

impl Archiver {
    /// Returns the archive of the request: on a second or later receive the one that an earlier
    /// attempt stored before it died, otherwise a new one, or the first segment of it.
    ///
    /// # Errors
    /// A permanent failure when every artwork is permanently missing, a JSON document fails or the
    /// archive exceeds its limit; a retryable one otherwise. The upload is then aborted, or left to the
    /// lifecycle rule if the abort fails.
    pub(crate) async fn store(
        &self,
        claim: &Claim,
        request: &LoadedRequest,
        key: &ArchiveKey,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Stored, Failure> {
        if attempt.receive_count > 1
            && let Some(archive) = self.adopt(claim, key).await?
        {
            return Ok(Stored::Archive(archive));
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
        if attempt.receive_count > 1 || archive.size_bytes > MIN_PART {
            let abort = self.vault.abort_leftover_uploads(key, archive.leftovers.as_ref());
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
    ) -> Result<Stored, Failure> {
        let begun = Instant::now();
        let mut upload = self.vault.upload(key).with_parts(self.fetcher.part_sizes());
        let window = self.fetcher.window();
        let writing =
            self.write(&mut upload, claim.bdr_id, request, window.clone(), attempt, phases);
        let ended = timeout_at(attempt.stop_at(), writing).await;
        phases.vault_trouble += window.trouble();
        phases.enter(Phase::Upload);
        phases.shift(Phase::Write, Phase::Upload, upload.waited());
        let failure = match ended {
            Ok(Ok(End::Archive(totals))) => {
                let archive = self.finish(upload, claim, key, totals, attempt).await?;
                return Ok(Stored::Archive(archive));
            }
            Ok(Ok(End::Segment(written))) => {
                return Head::new(upload, written, begun.elapsed()).await.map(Stored::Head);
            }
            Ok(Err(failure)) => failure,
            Err(elapsed) => Failure::retry("stopped shortly before the deadline", elapsed),
        };
        upload.abort().await;
        Err(failure)
    }

    /// Completes an upload whose ZIP is written, or adopts the archive that another attempt stored.
    async fn finish(
        &self,
        upload: Upload,
        claim: &Claim,
        key: &ArchiveKey,
        totals: Totals,
        attempt: &Attempt,
    ) -> Result<StoredArchive, Failure> {
        const CONTEXT: &str = "failed to complete the upload";
        let copied_bytes = upload.copied_bytes();
        let finished = upload.finish(attempt.stop_at()).await;
        match finished.map_err(|error| Failure::retry(CONTEXT, error))? {
            Finished::Created { size_bytes, e_tag, leftovers } => Ok(StoredArchive {
                leftovers,
                size_bytes,
                copied_bytes,
                artworks: totals.counts.artworks,
                missing: totals.counts.missing,
                counted: true,
                adopted: false,
                e_tag,
                contents: Some(Contents {
                    animations: totals.animations,
                    missing_titles: totals.missing_titles,
                }),
            }),
            Finished::Conflict => self.adopt(claim, key).await?.ok_or_else(|| {
                Failure::retry(CONTEXT, "an object that cannot be adopted is at the key")
            }),
        }
    }
}
