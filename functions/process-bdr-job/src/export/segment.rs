//! Writes one segment of a large export.

use shared::failure::Failure;
use shared::vault::Export;

use super::plan::put;
use crate::archive::{Manifest, Part, read_document};
use crate::attempt::Attempt;
use crate::job::Job;
use crate::phases::Phases;

/// What happened to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// It is written, now or by an earlier invocation.
    Written { size_bytes: u64, artworks: usize, missing: usize },
    /// The export is over, and its documents are deleted.
    Gone,
}

impl Job {
    /// Writes a segment and then its manifest, unless the manifest is there: a segment that is written is
    /// not written again.
    ///
    /// # Errors
    /// When a service fails. A permanent failure when a document is malformed, or the segment alone exceeds
    /// the limit of an archive.
    pub(super) async fn write_segment(
        &self,
        export: &Export,
        segment: u32,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Segment, Failure> {
        let vault = &self.archiver.vault;
        let key = export.manifest(segment);
        if (attempt.receive_count > 1 || export.resumes.is_some())
            && let Some(manifest) = read_document::<Manifest>(vault, &key).await?
        {
            return Ok(Segment::of(&manifest));
        }
        let Some(part) = read_document::<Part>(vault, &export.posts(segment)).await? else {
            return Ok(Segment::Gone);
        };
        let segment_key = export.segment(segment);
        let manifest = self.archiver.store_segment(&segment_key, &part, attempt, phases).await?;
        put(vault, &key, &manifest).await?;
        Ok(Segment::of(&manifest))
    }
}

impl Segment {
    fn of(manifest: &Manifest) -> Self {
        Self::Written {
            size_bytes: manifest.size_bytes,
            artworks: manifest.artworks.len(),
            missing: manifest.missing.len(),
        }
    }
}
