//! The documents of an export in the vault: its plan, and a part and a manifest for each segment.

use serde::{Deserialize, Serialize};
use shared::failure::Failure;
use shared::vault::{Export, ExportKey, SuspendedUpload, Vault};
use time::OffsetDateTime;

use crate::archive::Part;
use crate::artwork::{Fetcher, Names, PlannedArtwork};
use crate::job::Job;
use crate::load::{LoadedRequest, MissingPost, Post, load_posts};

/// What the invocations of an export share.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// `generated_at` of the archive's documents.
    #[serde(with = "time::serde::rfc3339")]
    pub(super) generated_at: OffsetDateTime,
    /// The time at which the message of the request was sent.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub(super) sent_at: Option<OffsetDateTime>,
    /// The upload of the ZIP, which has the beginning of the first segment.
    pub(super) upload: SuspendedUpload,
    /// The number of segments, the first one included.
    pub(super) segments: u32,
    /// The number of requested artworks.
    pub(super) artworks: usize,
}

impl Plan {
    /// Returns the keys of all objects of the export, the plan last.
    pub(super) fn keys(&self, export: &Export) -> Vec<ExportKey> {
        let of =
            |segment| [export.posts(segment), export.segment(segment), export.manifest(segment)];
        (0..self.segments).flat_map(of).chain([export.plan()]).collect()
    }
}

/// The parts of a request in order: the artworks that are settled, and the others. It reads the posts of a part
/// when the part is made, so that it holds a page of them.
pub(super) struct Parts<'a> {
    job: &'a Job,
    /// The ids of all requested posts.
    post_ids: Vec<i64>,
    /// The first posts, which the attempt has read; `None` if they are in a part.
    loaded: Vec<Option<Result<Post, MissingPost>>>,
    /// For each of these the file name, in lower case, that an earlier artwork has.
    taken: Vec<Option<String>>,
    names: Names,
}

impl<'a> Parts<'a> {
    pub(super) fn new(job: &'a Job, request: LoadedRequest) -> Self {
        let mut names = Names::default();
        let taken = taken(&job.archiver.fetcher, &request.posts, &mut names);
        let loaded = request.posts.into_iter().map(Some).collect();
        Self { job, post_ids: request.post_ids, loaded, taken, names }
    }

    /// Returns the part of the posts at these positions, which are in ascending order and behind those of the part
    /// before.
    ///
    /// # Errors
    /// A retryable failure when the database does not respond.
    pub(super) async fn part(&mut self, positions: &[usize]) -> Result<Part, Failure> {
        let (mut posts, mut of_part) = (Vec::with_capacity(positions.len()), Vec::new());
        let known = positions.partition_point(|position| *position < self.loaded.len());
        for position in &positions[..known] {
            posts.extend(self.loaded[*position].take());
            of_part.extend(self.taken[*position].take());
        }
        if known < positions.len() {
            let ids = positions[known..].iter().map(|position| self.post_ids[*position]).collect();
            let read = load_posts(&self.job.database, &self.job.sqids, &ids).await?;
            let fetcher = &self.job.archiver.fetcher;
            of_part.extend(taken(fetcher, &read, &mut self.names).into_iter().flatten());
            posts.extend(read);
        }
        Ok(Part { positions: positions.to_vec(), posts, taken: of_part })
    }
}

/// Returns for each post the file name, in lower case, that an earlier artwork has.
fn taken(
    fetcher: &Fetcher,
    posts: &[Result<Post, MissingPost>],
    names: &mut Names,
) -> Vec<Option<String>> {
    let usual_if_taken = |planned: PlannedArtwork<'_>| {
        let usual = format!("{}.{}", planned.sqid, planned.name.extension);
        (usual != planned.name.filename).then(|| usual.to_ascii_lowercase())
    };
    fetcher.plan_next(posts, names).map(|planned| planned.ok().and_then(usual_if_taken)).collect()
}

/// Writes a document.
///
/// # Errors
/// A retryable failure when S3 does not accept it.
pub(super) async fn put(
    vault: &Vault,
    key: &ExportKey,
    document: &impl Serialize,
) -> Result<(), Failure> {
    put_serialized(vault, key, serialized(document)?).await
}

const NOT_WRITTEN: &str = "failed to write a document of the export";

/// Returns the bytes of a document.
///
/// # Errors
/// A permanent failure, which only a defect causes.
pub(super) fn serialized(document: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(document).map_err(|error| Failure::permanent_fault(NOT_WRITTEN, error))
}

/// Writes the bytes of a document.
///
/// # Errors
/// A retryable failure when S3 does not accept them.
pub(super) async fn put_serialized(
    vault: &Vault,
    key: &ExportKey,
    document: Vec<u8>,
) -> Result<(), Failure> {
    let put = vault.put_export_document(key, document).await;
    put.map_err(|error| Failure::retry(NOT_WRITTEN, error))
}
