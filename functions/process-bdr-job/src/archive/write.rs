//! Writes the artworks of a request, or of a segment of one, into a ZIP.

use std::pin::pin;

use shared::failure::{Decision, Failure};
use shared::vault::Upload;
use uuid::Uuid;
use zip_to_s3::zip::{EntryBody, Packing, ZipError, ZipWriter};

use super::Archiver;
use super::cut::SegmentLimit;
use super::documents::{FileFacts, Metadata, Totals};
use super::entry::{self, EntryError};
use super::forecast::Forecast;
use super::pages::Pages;
use crate::artwork::{
    Ahead, FetchedArtwork, MissingArtwork, NotFetched, Requested, StopTimes, Window,
};
use crate::attempt::Attempt;
use crate::load::LoadedRequest;
use crate::phases::{Phase, Phases};

/// Maximum log lines about individual missing artworks, per attempt.
const MAX_LOGGED_MISSING: usize = 20;

/// The artworks of an archive, or of a segment of one, as they are written.
pub(super) struct Written<'a> {
    /// Those in the archive, and those that are missing.
    pub(super) metadata: Metadata<'a>,
    /// The bodies of those in the archive, in the order in which they were written. Empty unless a segment
    /// may end.
    pub(super) bodies: Vec<EntryBody>,
    may_pass: bool,
    only_faults: bool,
}

impl<'a> Written<'a> {
    pub(super) fn new(metadata: Metadata<'a>) -> Self {
        Self { metadata, bodies: Vec::new(), may_pass: false, only_faults: true }
    }

    /// Tells the upload the size of the archive of this many posts, if the others' artworks are as large as those so
    /// far.
    fn expect_size(&self, upload: &mut Upload, posts: usize) {
        let (artworks, missing) = (self.metadata.artworks() as u64, self.metadata.missing() as u64);
        let expected = (posts as u64).saturating_sub(missing).max(artworks);
        upload.expect(upload.size() / artworks.max(1) * expected);
    }

    /// Returns the failure of a request without a single artwork: retryable if one of the causes may
    /// pass, a fault of the service if all of them are.
    fn check(&self) -> Result<(), Failure> {
        if self.metadata.artworks() > 0 {
            return Ok(());
        }
        if self.may_pass {
            return Err(Failure::retry(NO_ARTWORK, "at least one cause is transient"));
        }
        if self.only_faults {
            let cause = "the rows of all posts are malformed or yield no public id";
            return Err(Failure::permanent_fault(NO_ARTWORK, cause));
        }
        Err(no_artwork())
    }
}

const NO_ARTWORK: &str = "no artwork could be fetched";

/// Returns the failure of a request whose artworks are all missing.
pub(super) fn no_artwork() -> Failure {
    Failure::permanent(
        NO_ARTWORK,
        "None of the requested artworks could be downloaded: their files are missing.",
    )
}

/// The end of writing.
pub(super) enum End<'a> {
    /// The archive is complete.
    Archive(Totals),
    /// The first segment is complete, and artworks are left.
    Segment(Written<'a>),
}

impl Archiver {
    /// Writes the whole ZIP into `upload`, or the first segment of one that is too large.
    ///
    /// # Errors
    /// When no artwork can be fetched, the archive exceeds its limit, or the upload fails.
    pub(super) async fn write<'a>(
        &self,
        upload: &mut Upload,
        bdr_id: Uuid,
        request: &'a LoadedRequest,
        window: Window,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<End<'a>, Failure> {
        let now = self.clock.now().truncate_to_second();
        let metadata = Metadata::new(now, &request.artist.handle, request.posts.len());
        let mut written = Written::new(metadata);
        let mut zip = ZipWriter::new(upload);
        let limit = self.segments.map(|segments| segments.limit(request.post_ids.len(), attempt));
        let requested = Requested::from(&*request.posts);
        self.add_artworks(&mut zip, requested, window, limit, &mut written, attempt, phases)
            .await?;
        let metadata = &mut written.metadata;
        if metadata.artworks() + metadata.missing() < request.post_ids.len() {
            // Later steps know of no cause that may pass.
            if metadata.artworks() == 0 && written.may_pass {
                written.check()?;
            }
            return Ok(End::Segment(written));
        }
        metadata.sort();
        written.check()?;
        let metadata = &written.metadata;
        let mut totals = Totals::default();
        totals.add(metadata);
        let pages = Pages::Held { posts: &request.posts, metadata };
        self.complete(zip, bdr_id, request, now, &pages, &mut totals).await?;
        Ok(End::Archive(totals))
    }

    /// Adds the artworks to the ZIP, until all are added or missing, or a segment of this limit is full.
    ///
    /// # Errors
    /// When the archive exceeds its limit, the upload fails, or the attempt cannot go on; without a limit of a
    /// segment also when no attempt can end in time.
    #[expect(clippy::too_many_arguments, reason = "they are the state of an attempt")]
    pub(super) async fn add_artworks<'a>(
        &self,
        zip: &mut ZipWriter<&mut Upload>,
        requested: Requested<'a>,
        window: Window,
        limit: Option<SegmentLimit>,
        written: &mut Written<'a>,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<(), Failure> {
        let stop = StopTimes { vault: attempt.vault_stop_at(), web: attempt.remote_stop_at() };
        let artworks = pin!(self.fetcher.fetch_part(requested, window, stop));
        let mut artworks = Ahead::new(artworks);
        let mut missing_log = MissingLog::default();
        let mut forecast = limit.is_none().then(|| Forecast::new(requested.posts, attempt));
        loop {
            phases.enter(Phase::Fetch);
            let next = artworks.next().await;
            phases.enter(Phase::Write);
            written.expect_size(zip.sink(), requested.posts.len());
            match next {
                None => break,
                Some(Ok(mut artwork)) => {
                    self.limits.check_archive(zip.sink().size() + stored_bytes(&artwork))?;
                    let name =
                        format!("{}/{}", self.artworks_folder, artwork.planned.name.filename);
                    let size_bytes = artwork.size();
                    if let Some(forecast) = &mut forecast {
                        forecast.add(&artwork.planned, size_bytes, &self.fetcher)?;
                    }
                    let has_checksum = self.extras.checksums;
                    let added =
                        entry::add(zip, &name, &mut artwork, &mut artworks, has_checksum, phases);
                    let body = match added.await {
                        Ok((body, checksum)) => {
                            let file = self
                                .extras
                                .gallery_page
                                .then_some(FileFacts { size_bytes, checksum });
                            written.metadata.add(artwork.planned, file);
                            body
                        }
                        Err(EntryError::Source(failure)) => return Err(failure),
                        Err(EntryError::Sink(error)) => {
                            return Err(sink_failure(zip.sink(), error));
                        }
                    };
                    if let Some(limit) = limit {
                        written.bodies.push(body);
                        let (artworks, missing) =
                            (written.bodies.len(), written.metadata.missing());
                        if limit.is_reached(zip.sink().size(), artworks, missing) {
                            break;
                        }
                    }
                }
                Some(Err(NotFetched::Missing(artwork))) => {
                    written.may_pass |= artwork.missing.decision == Decision::Retry;
                    written.only_faults &= artwork.missing.code.is_fault_of_service();
                    missing_log.add(&artwork);
                    if let Some(forecast) = &mut forecast {
                        forecast.pass(artwork.position);
                    }
                    written.metadata.add_missing(&artwork);
                }
                Some(Err(NotFetched::Attempt(failure))) => return Err(failure),
            }
        }
        missing_log.finish();
        Ok(())
    }
}

/// Returns the bytes that the artwork is known to add to the archive: none if it is compressed.
fn stored_bytes(artwork: &FetchedArtwork<'_>) -> u64 {
    match Packing::of(&artwork.planned.name.extension) {
        Packing::Store => artwork.size(),
        Packing::DeflateFast => 0,
    }
}

/// Logs missing artworks: one line for each of the first [`MAX_LOGGED_MISSING`], and one with the number
/// of the rest.
#[derive(Default)]
struct MissingLog {
    logged: usize,
    suppressed: usize,
}

impl MissingLog {
    fn add(&mut self, MissingArtwork { post, missing, .. }: &MissingArtwork<'_>) {
        if self.logged == MAX_LOGGED_MISSING {
            self.suppressed += 1;
            return;
        }
        self.logged += 1;
        tracing::warn!(
            post_id = post.map_or_else(|id| id, |post| post.id),
            reason = missing.reason(),
            detail = missing.detail,
            retryable = missing.decision == Decision::Retry,
            "artwork is missing"
        );
    }

    fn finish(self) {
        if self.suppressed > 0 {
            tracing::warn!(
                artworks = self.suppressed,
                "recorded more artworks as missing than are logged"
            );
        }
    }
}

/// Returns the failure of the upload. The ZIP writer fails only when its sink, the upload, fails; the
/// upload keeps the original error.
pub(super) fn sink_failure(upload: &mut Upload, error: ZipError) -> Failure {
    const CONTEXT: &str = "failed to upload the archive";
    match upload.take_failure() {
        Some(cause) => Failure::retry(CONTEXT, cause),
        None => Failure::retry(CONTEXT, error),
    }
}
