//! A segment of an archive: the local headers and bodies of some artworks, one after the other. Local
//! headers contain no offsets, so a segment does not depend on what precedes it, and segments can be
//! written by several functions at the same time. The central directory, which contains the offsets, is
//! made from the segments' manifests (`join.rs`).

use std::time::Duration;

use shared::failure::Failure;
use shared::vault::{ExportKey, Finished, SuspendedUpload, Upload};
use time::OffsetDateTime;
use tokio::time::timeout_at;
use zip_to_s3::zip::ZipWriter;

use super::Archiver;
use super::cut::{Pace, SegmentLimit};
use super::documents::Metadata;
use super::record::{AbsentArtwork, Manifest, PackedArtwork, Part};
use super::write::Written;
use crate::artwork::Requested;
use crate::attempt::Attempt;
use crate::phases::{Phase, Phases};

/// The first segment of an archive, in an upload that another invocation continues.
pub(crate) struct Head {
    /// The upload.
    pub(crate) upload: SuspendedUpload,
    /// The bytes after its last part.
    pub(crate) rest: Vec<u8>,
    /// Its artworks. The size is that of `rest`.
    pub(crate) manifest: Manifest,
    /// What it cost.
    pub(crate) pace: Pace,
    /// `generated_at` of the archive's documents.
    pub(crate) generated_at: OffsetDateTime,
}

impl Head {
    /// Suspends the upload of a first segment.
    ///
    /// # Errors
    /// When a part fails. The upload is then aborted.
    pub(super) async fn new(
        upload: Upload,
        written: Written<'_>,
        time: Duration,
    ) -> Result<Self, Failure> {
        let bytes = upload.size();
        let artworks = written.metadata.artworks() + written.metadata.missing();
        let generated_at = written.metadata.generated_at;
        let mut manifest = Manifest::of(&written, |position| position);
        let suspended = upload.suspend().await;
        let (upload, rest) =
            suspended.map_err(|error| Failure::retry("failed to upload the archive", error))?;
        manifest.size_bytes = rest.len() as u64;
        let pace = Pace { artworks, bytes, time };
        Ok(Self { upload, rest, manifest, pace, generated_at })
    }

    /// Returns the positions of the artworks that are in the segment or missing, in ascending order.
    pub(crate) fn settled(&self) -> Vec<usize> {
        let artworks = self.manifest.artworks.iter().map(|artwork| artwork.position);
        let missing = self.manifest.missing.iter().map(|artwork| artwork.position);
        let mut settled: Vec<_> = artworks.chain(missing).collect();
        settled.sort_unstable();
        settled
    }
}

impl Manifest {
    /// Returns the manifest of what is written; `place` maps a position of the segment to that of the
    /// request.
    fn of(written: &Written<'_>, place: impl Fn(usize) -> usize) -> Self {
        let Metadata { artworks, missing_artworks, .. } = &written.metadata;
        let artworks = artworks.iter().zip(&written.bodies).map(|(entry, body)| PackedArtwork {
            position: place(entry.position),
            filename: entry.filename.clone(),
            body: *body,
            sha256: entry.file.and_then(|file| file.checksum),
        });
        let missing = missing_artworks
            .iter()
            .map(|entry| AbsentArtwork { position: place(entry.position), code: entry.code });
        Self {
            size_bytes: 0,
            e_tag: None,
            artworks: artworks.collect(),
            missing: missing.collect(),
        }
    }
}

impl Archiver {
    /// Writes a segment to `key`, and returns its manifest.
    ///
    /// # Errors
    /// A retryable failure when the upload fails, the time is up, or an earlier attempt has left a segment
    /// without a manifest, which is then deleted. A permanent one when the segment alone exceeds the limit of an
    /// archive.
    pub(crate) async fn store_segment(
        &self,
        key: &ExportKey,
        part: &Part,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Manifest, Failure> {
        let now = self.clock.now().truncate_to_second();
        let mut written = Written::new(Metadata::new(now, "", part.posts.len()));
        let upload = self.vault.upload_segment(key);
        let mut upload = upload.with_parts(self.fetcher.part_sizes());
        let mut zip = ZipWriter::new(&mut upload);
        let requested = Requested { posts: &part.posts, taken: &part.taken };
        let window = self.fetcher.window();
        let limit = Some(SegmentLimit::none(attempt));
        let adding = self.add_artworks(
            &mut zip,
            requested,
            window.clone(),
            limit,
            &mut written,
            attempt,
            phases,
        );
        let added = timeout_at(attempt.stop_at(), adding).await;
        drop(zip);
        phases.vault_trouble += window.trouble();
        phases.enter(Phase::Upload);
        phases.shift(Phase::Write, Phase::Upload, upload.waited());
        let late = |elapsed| Err(Failure::retry("stopped shortly before the deadline", elapsed));
        if let Err(failure) = added.unwrap_or_else(late) {
            upload.abort().await;
            return Err(failure);
        }
        let manifest = Manifest::of(&written, |position| part.positions[position]);
        if upload.size() == 0 {
            return Ok(manifest);
        }
        let finished = upload.finish(attempt.stop_at()).await;
        match finished.map_err(|error| Failure::retry("failed to upload the segment", error))? {
            Finished::Created { size_bytes, e_tag, .. } => {
                Ok(Manifest { size_bytes, e_tag, ..manifest })
            }
            Finished::Conflict => {
                let deleted = self.vault.delete_export(std::slice::from_ref(key)).await;
                deleted.map_err(|error| Failure::retry("failed to delete a segment", error))?;
                Err(Failure::retry(
                    "failed to upload the segment",
                    "an earlier one had no manifest",
                ))
            }
        }
    }
}
