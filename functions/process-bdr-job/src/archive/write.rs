//! Writes the artworks and the documents of a request as one ZIP.

use std::io;
use std::pin::pin;

use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use shared::database::DatabaseError;
use shared::failure::{Decision, Failure, chain};
use shared::vault::Upload;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Archiver;
use super::comment::Counts;
use super::documents::{self, CommentsWriter, Metadata};
use super::zip::{Deflated, Deflater, Packing, ZipError, ZipWriter};
use crate::artwork::{FetchedArtwork, MissingArtwork, NotFetched, StopTimes, Window};
use crate::attempt::Attempt;
use crate::load::{Comments, LoadedRequest, Post};
use crate::phases::{Phase, Phases};

/// Maximum log lines about individual missing artworks, per attempt.
const MAX_LOGGED_MISSING: usize = 20;

impl Archiver {
    /// Writes the whole ZIP into `upload`.
    ///
    /// # Errors
    /// When no artwork can be fetched, or the upload fails.
    pub(super) async fn write(
        &self,
        upload: &mut Upload,
        bdr_id: Uuid,
        request: &LoadedRequest,
        window: Window,
        attempt: &Attempt,
        phases: &mut Phases,
    ) -> Result<Counts, Failure> {
        let now = self.clock.now().truncate_to_second();
        let mut metadata = Metadata::new(now, &request.artist.handle, request.posts.len());
        let (mut may_pass, mut only_faults) = (false, true);
        let mut zip = ZipWriter::new(&mut *upload);

        let stop = StopTimes { vault: attempt.vault_stop_at(), web: attempt.remote_stop_at() };
        let mut artworks = std::pin::pin!(self.fetcher.fetch(&request.posts, window, stop));
        let mut missing_log = MissingLog::default();
        loop {
            phases.enter(Phase::Fetch);
            let next = artworks.next().await;
            phases.enter(Phase::Write);
            match next {
                None => break,
                Some(Ok(artwork)) => {
                    if let Err(error) = add(&mut zip, &self.artworks_folder, &artwork).await {
                        drop(zip);
                        return Err(sink_failure(upload, error));
                    }
                    metadata.add(artwork.planned);
                }
                Some(Err(NotFetched::Missing(artwork))) => {
                    may_pass |= artwork.missing.decision == Decision::Retry;
                    only_faults &= artwork.missing.code.is_fault_of_service();
                    missing_log.add(&artwork);
                    metadata.add_missing(&artwork);
                }
                Some(Err(NotFetched::Attempt(failure))) => return Err(failure),
            }
        }
        missing_log.finish();
        metadata.sort();
        if metadata.artworks() == 0 {
            return Err(no_artwork(may_pass, only_faults));
        }
        let counts = Counts { artworks: metadata.artworks(), missing: metadata.missing() };
        let files = self.documents(now, request, &metadata).await?;
        zip.set_comment(counts.comment(bdr_id, &self.base_url, now.date()));
        let closed = async {
            for (name, document) in files {
                zip.add_deflated(name, now, &document).await?;
            }
            zip.close().await.map(drop)
        };
        closed.await.map_err(|error| sink_failure(upload, error))?;
        Ok(counts)
    }

    /// Returns the documents with their names.
    async fn documents(
        &self,
        now: OffsetDateTime,
        request: &LoadedRequest,
        metadata: &Metadata<'_>,
    ) -> Result<Vec<(&'static str, Deflated)>, Failure> {
        let posts: Vec<&Post> = request.posts.iter().flatten().collect();
        let mut files = vec![("metadata.json", json(metadata)?)];
        if metadata.missing() > 0 {
            let text = |writer: &mut dyn io::Write| metadata.write_missing(writer, &self.base_url);
            files.push(("MISSING.txt", Deflated::new(text).map_err(|error| unwritten(&error))?));
        }
        let max_bytes = self.fetcher.max_document_bytes();
        if let Some(comments) = &request.comments {
            let document = match comments_json(now, &posts, comments, max_bytes).await {
                // A retry of the attempt would fetch every artwork again.
                Err(failure) if failure.decision() == Decision::Retry => {
                    tracing::info!(error = chain(&failure), "reading the comments again");
                    comments_json(now, &posts, comments, max_bytes).await?
                }
                result => result?,
            };
            files.push(("comments.json", document));
        }
        if let Some(reactions) = &request.reactions {
            files.push(("reactions.json", json(&documents::reactions(now, &posts, reactions))?));
        }
        Ok(files)
    }
}

async fn add(
    zip: &mut ZipWriter<&mut Upload>,
    folder: &str,
    FetchedArtwork { planned, bytes, .. }: &FetchedArtwork<'_>,
) -> Result<(), ZipError> {
    let name = format!("{folder}/{}", planned.name.filename);
    zip.add(&name, planned.post.created_at, Packing::of(&planned.name.extension), bytes).await
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

/// Returns the failure of a request without a single artwork: retryable if one of the causes may pass, a
/// fault of the service if all of them are.
fn no_artwork(may_pass: bool, only_faults: bool) -> Failure {
    const CONTEXT: &str = "no artwork could be fetched";
    if may_pass {
        return Failure::retry(CONTEXT, "at least one cause is transient");
    }
    if only_faults {
        let cause = "the rows of all posts are malformed or yield no public id";
        return Failure::permanent_fault(CONTEXT, cause);
    }
    Failure::permanent(
        CONTEXT,
        "None of the requested artworks could be downloaded: their files are missing.",
    )
}

/// Streams the comments from the database into `comments.json`, of which only the deflated bytes are
/// held.
async fn comments_json(
    now: OffsetDateTime,
    posts: &[&Post],
    comments: &Comments,
    max_bytes: usize,
) -> Result<Deflated, Failure> {
    let unreadable = |error: DatabaseError| error.context("failed to read the comments");
    // Posts without a public id are not in the document.
    let post_ids = posts.iter().filter(|post| post.sqid.is_some()).map(|post| post.id).collect();
    let mut comments = pin!(comments.stream(&post_ids).await.map_err(unreadable)?);
    let mut document = CommentsWriter::new(Deflater::new(max_bytes), now, posts)
        .map_err(|error| unwritten(&error))?;
    while let Some(comment) = comments.try_next().await.map_err(unreadable)? {
        document.add(&comment).map_err(|error| unwritten(&error))?;
    }
    document.finish().and_then(Deflater::finish).map_err(|error| unwritten(&error))
}

fn json(document: &impl Serialize) -> Result<Deflated, Failure> {
    Deflated::new(|writer| Ok(serde_json::to_writer_pretty(writer, document)?))
        .map_err(|error| unwritten(&error))
}

/// Returns the failure of a document that cannot be written into memory.
fn unwritten(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Failure::permanent(
            "comments.json exceeds the function's memory; to allow more, raise ProcessMemorySize",
            "These artworks have too many comments for one download. Please request fewer artworks \
             at once, or leave the comments out.",
        );
    }
    Failure::permanent_fault("failed to write the archive's documents", error.to_string())
}

/// Returns the failure of the upload. The ZIP writer fails only when its sink, the upload, fails; the
/// upload keeps the original error.
fn sink_failure(upload: &mut Upload, error: ZipError) -> Failure {
    const CONTEXT: &str = "failed to upload the archive";
    match upload.take_failure() {
        Some(cause) => Failure::retry(CONTEXT, cause),
        None => Failure::retry(CONTEXT, error),
    }
}
