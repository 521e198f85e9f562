//! Joins segments to an archive. S3 copies their bytes; the writer replays their entries, so that the
//! central directory has their offsets. Of the segments' documents those of the first are held, and of two
//! others at once.

use std::pin::pin;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use shared::failure::Failure;
use shared::request::Claim;
use shared::vault::{Export, SuspendedUpload, Upload};
use time::OffsetDateTime;
use tokio::time::timeout_at;
use zip_to_s3::zip::ZipWriter;

use super::documents::{Metadata, Totals};
use super::pages::{Pages, StoredPages};
use super::record::{INCONSISTENT, Manifest, READS, Record, read_existing};
use super::write::no_artwork;
use super::{Archiver, StoredArchive};
use crate::attempt::Attempt;
use crate::load::LoadedRequest;
use crate::phases::{Phase, Phases};

/// The segments of an archive, in their order.
pub(crate) struct Joint {
    /// The upload that begins with the first segment.
    pub(crate) upload: SuspendedUpload,
    /// The number of segments, the first one included.
    pub(crate) segments: u32,
    /// The number of requested artworks.
    pub(crate) artworks: usize,
    /// `generated_at` of the archive's documents.
    pub(crate) generated_at: OffsetDateTime,
}

/// The object of a segment.
struct SegmentObject {
    segment: u32,
    size_bytes: u64,
    e_tag: String,
}

impl Archiver {
    /// Joins the segments, and completes the archive. An archive that an earlier attempt completed is
    /// adopted.
    ///
    /// # Errors
    /// A permanent failure when no artwork is in a segment, a document fails, the archive exceeds its limit, or
    /// segments and manifests contradict each other; a retryable one when a service fails. The upload is then
    /// kept.
    pub(crate) async fn join(
        &self,
        claim: &Claim,
        export: &Export,
        request: &LoadedRequest,
        joint: Joint,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<StoredArchive, Failure> {
        let key = export.archive();
        if (attempt.receive_count > 1 || export.resumes.is_some())
            && let Some(archive) = self.adopt(claim, &key).await?
        {
            return Ok(archive);
        }
        phases.enter(Phase::Write);
        let begun_bytes = joint.upload.size;
        let mut upload = self.vault.resume(&key, joint.upload.clone());
        let joining = async {
            self.append_segments(&mut upload, export, joint.segments, begun_bytes).await?;
            let mut zip = ZipWriter::new(&mut upload);
            let replayed = self.replay(&mut zip, export, &joint).await?;
            let now = joint.generated_at;
            let pages = Pages::Stored(StoredPages {
                vault: &self.vault,
                export,
                generated_at: now,
                user_handle: &request.artist.handle,
                has_gallery: self.extras.gallery_page,
                first: &replayed.first,
                ends: replayed.ends,
            });
            let mut totals = replayed.totals;
            self.complete(zip, claim.bdr_id, request, now, &pages, &mut totals).await?;
            Ok(totals)
        };
        let joined = timeout_at(attempt.stop_at(), joining).await;
        phases.enter(Phase::Upload);
        phases.shift(Phase::Write, Phase::Upload, upload.waited());
        let late = |elapsed| Err(Failure::retry("stopped shortly before the deadline", elapsed));
        let totals = joined.unwrap_or_else(late)?;
        self.finish(upload, claim, &key, totals, attempt).await
    }

    /// Appends the objects of all segments to the upload.
    async fn append_segments(
        &self,
        upload: &mut Upload,
        export: &Export,
        segments: u32,
        begun_bytes: u64,
    ) -> Result<(), Failure> {
        let read = async |segment| {
            let key = export.manifest(segment);
            let Manifest { size_bytes, e_tag, .. } = read_existing(&self.vault, &key).await?;
            Ok(e_tag.map(|e_tag| SegmentObject { segment, size_bytes, e_tag }))
        };
        let objects = stream::iter(0..segments).map(read).buffered(READS);
        let objects: Vec<SegmentObject> =
            objects.try_filter_map(async |object| Ok(object)).try_collect().await?;
        let total = begun_bytes + objects.iter().map(|object| object.size_bytes).sum::<u64>();
        self.limits.check_archive(total)?;
        for SegmentObject { segment, size_bytes, e_tag } in objects {
            let joined = upload.join(&export.segment(segment), size_bytes, &e_tag, total).await;
            joined.map_err(|error| Failure::retry("failed to join the segments", error))?;
        }
        Ok(())
    }

    /// Replays the entries of all segments into the central directory.
    async fn replay(
        &self,
        zip: &mut ZipWriter<&mut Upload>,
        export: &Export,
        joint: &Joint,
    ) -> Result<Replayed, Failure> {
        let (mut first, mut ends, mut totals) = (None, Vec::new(), Totals::default());
        let mut end = joint.upload.size;
        let read = |segment| Record::read(&self.vault, export, segment);
        let mut records = pin!(stream::iter(0..joint.segments).map(read).buffered(READS));
        while let Some(record) = records.try_next().await? {
            let mut metadata = Metadata::new(joint.generated_at, "", 0);
            for artwork in &record.manifest.artworks {
                let entry = record.entry(artwork, self.extras.gallery_page)?;
                let name = format!("{}/{}", self.artworks_folder, entry.filename);
                let replayed = zip.replay(&name, entry.post.created_at, artwork.body).await;
                replayed.map_err(|error| Failure::permanent_fault(INCONSISTENT, error))?;
                metadata.push(entry);
            }
            end += record.manifest.size_bytes;
            if zip.position() != end {
                let sizes = format!("{} bytes of entries, {end} of segments", zip.position());
                return Err(Failure::permanent_fault(INCONSISTENT, sizes));
            }
            for artwork in &record.manifest.missing {
                metadata.add_missing(&record.missing(artwork)?);
            }
            totals.add(&metadata);
            if first.is_none() {
                first = Some(record);
                continue;
            }
            let last = record.part.positions.last().copied();
            let last = last.filter(|last| ends.last().is_none_or(|end| last > end));
            ends.push(last.ok_or_else(|| {
                let order = "the positions of a segment do not follow those of the one before";
                Failure::permanent_fault(INCONSISTENT, order)
            })?);
        }
        if totals.counts.artworks == 0 {
            return Err(no_artwork());
        }
        let found = totals.counts.artworks + totals.counts.missing;
        match first {
            Some(first) if found == joint.artworks && !ends.is_empty() => {
                Ok(Replayed { first, ends, totals })
            }
            _ => {
                let numbers = format!("{found} artworks of {} requested ones", joint.artworks);
                Err(Failure::permanent_fault(INCONSISTENT, numbers))
            }
        }
    }
}

/// What the segments contain.
struct Replayed {
    first: Record,
    /// The last positions of the other segments.
    ends: Vec<usize>,
    totals: Totals,
}
