//! The documents of a segment in the vault: the posts that were requested, and the manifest of what became of them.

use futures_util::future::try_join;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::failure::{Decision, Failure, chain};
use shared::vault::{Export, ExportKey, Vault};
use zip_to_s3::zip::EntryBody;

use super::checksum::Checksum;
use super::documents::{ArtworkEntry, FileFacts};
use crate::artwork::MissingArtwork;
use crate::load::{MissingPost, Post};
use crate::missing::{Missing, MissingCode};

/// Segments whose documents are read at once.
pub(super) const READS: usize = 2;
/// The context of segments, manifests and plan that contradict each other.
pub(super) const INCONSISTENT: &str = "the segments of the archive do not match their manifests";

/// The artworks of a segment, by their positions among all requested ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Size of the segment's object in bytes.
    pub(crate) size_bytes: u64,
    /// Its ETag; `None` if the segment is empty and has no object.
    pub(crate) e_tag: Option<String>,
    /// The artworks, in their order in the segment.
    pub(crate) artworks: Vec<PackedArtwork>,
    /// The missing artworks.
    pub(crate) missing: Vec<AbsentArtwork>,
}

/// An artwork in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackedArtwork {
    pub(crate) position: usize,
    pub(crate) filename: Box<str>,
    pub(crate) body: EntryBody,
    pub(crate) sha256: Option<Checksum>,
}

/// A requested artwork that is in no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AbsentArtwork {
    pub(crate) position: usize,
    pub(crate) code: MissingCode,
}

/// The part of a request that is one segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The positions of its posts among all requested ones, in ascending order.
    pub(crate) positions: Vec<usize>,
    /// Its posts.
    pub(crate) posts: Vec<Result<Post, MissingPost>>,
    /// File names, in lower case, that artworks of other segments have.
    pub(crate) taken: Vec<String>,
}

/// A segment: what was requested, and what became of it.
pub(super) struct Record {
    pub(super) part: Part,
    pub(super) manifest: Manifest,
}

impl Record {
    /// Reads the documents of a segment.
    ///
    /// # Errors
    /// A retryable failure when S3 does not return them, a permanent one when they are absent or malformed.
    pub(super) async fn read(
        vault: &Vault,
        export: &Export,
        segment: u32,
    ) -> Result<Self, Failure> {
        let (posts, manifest) = (export.posts(segment), export.manifest(segment));
        let (part, manifest) = try_join(
            read_existing::<Part>(vault, &posts),
            read_existing::<Manifest>(vault, &manifest),
        )
        .await?;
        Ok(Self { part, manifest })
    }

    /// Returns the posts with their positions, in the order of the request.
    pub(super) fn posts(&self) -> impl Iterator<Item = (usize, &Result<Post, MissingPost>)> {
        self.part.positions.iter().copied().zip(&self.part.posts)
    }

    /// Returns the entry of an artwork in the documents.
    ///
    /// # Errors
    /// A permanent failure when no post is at its position.
    pub(super) fn entry(
        &self,
        artwork: &PackedArtwork,
        has_gallery: bool,
    ) -> Result<ArtworkEntry<'_>, Failure> {
        let PackedArtwork { position, ref filename, body, sha256 } = *artwork;
        let found = self.post(position)?.as_ref().ok();
        let found = found.and_then(|post| Some((post, post.sqid.as_ref()?)));
        let (post, sqid) = found.ok_or_else(|| no_post(position))?;
        let file = has_gallery.then_some(FileFacts { size_bytes: body.size, checksum: sha256 });
        Ok(ArtworkEntry { position, post, sqid, filename: filename.clone(), file })
    }

    /// Returns a missing artwork.
    ///
    /// # Errors
    /// A permanent failure when no post is at its position.
    pub(super) fn missing(&self, artwork: &AbsentArtwork) -> Result<MissingArtwork<'_>, Failure> {
        let AbsentArtwork { position, code } = *artwork;
        let post = self.post(position)?.as_ref().map_err(|missing| missing.id);
        Ok(MissingArtwork { position, post, missing: Missing::permanent(code) })
    }

    fn post(&self, position: usize) -> Result<&Result<Post, MissingPost>, Failure> {
        let Part { positions, posts, .. } = &self.part;
        let place = positions.binary_search(&position).ok();
        place.and_then(|place| posts.get(place)).ok_or_else(|| no_post(position))
    }
}

fn no_post(position: usize) -> Failure {
    Failure::permanent_fault(INCONSISTENT, format!("no post at position {position}"))
}

/// Reads a document of an export that must exist. Tries twice: another try of the whole step would copy all
/// segments again.
///
/// # Errors
/// A retryable failure when S3 does not return it, a permanent one when it is absent or malformed.
pub(super) async fn read_existing<T: DeserializeOwned>(
    vault: &Vault,
    key: &ExportKey,
) -> Result<T, Failure> {
    let document = match read_document(vault, key).await {
        Err(failure) if failure.decision() == Decision::Retry => {
            tracing::info!(key = %key, error = chain(&failure), "reading a document again");
            read_document(vault, key).await?
        }
        document => document?,
    };
    document.ok_or_else(|| {
        Failure::permanent_fault(
            "failed to read a document of the export",
            format!("{key} does not exist"),
        )
    })
}

/// Reads a document of an export, if there is one.
///
/// # Errors
/// A retryable failure when S3 does not return it, a permanent one when it is malformed.
pub(crate) async fn read_document<T: DeserializeOwned>(
    vault: &Vault,
    key: &ExportKey,
) -> Result<Option<T>, Failure> {
    const CONTEXT: &str = "failed to read a document of the export";
    let document = vault.export_document(key).await;
    let document = document.map_err(|error| Failure::retry(CONTEXT, error))?;
    let parse = |document: Vec<u8>| serde_json::from_slice(&document);
    document.map(parse).transpose().map_err(|error| Failure::permanent_fault(CONTEXT, error))
}
