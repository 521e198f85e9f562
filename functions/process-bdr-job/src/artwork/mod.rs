//! The artworks of a request: the source and the file name of each, and the fetching of all.

mod budget;
mod copying;
mod fetch;
mod format;
mod name;
mod order;
mod pace;
pub mod signature;
mod source;
mod vault_lane;
mod web_lane;
mod window;

use std::borrow::BorrowMut;
use std::future::Future;

use shared::sqid::Sqid;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::load::{MissingPost, Post};
use crate::missing::{Missing, MissingCode};

pub use copying::CopyTerms;
pub use fetch::{ArtworkFile, FetchedArtwork, Fetcher, NotFetched, StopTimes, WholeFile};
pub use format::Formats;
pub(crate) use format::{is_extra_format, is_video};
pub use name::EntryName;
pub(crate) use name::{Names, is_reserved};
pub use source::{Source, VaultUrls};
pub(crate) use vault_lane::Ahead;
pub use vault_lane::StreamedFile;
pub use window::Window;

/// An artwork to fetch and write into the archive.
pub struct PlannedArtwork<'a> {
    /// Its place among the requested posts, from 0.
    pub position: usize,
    /// Its post.
    pub post: &'a Post,
    /// Its public id.
    pub sqid: &'a Sqid,
    /// Its file name in the archive's folder `artworks/`.
    pub name: EntryName,
    source: Source,
}

/// An artwork that is not in the archive.
pub struct MissingArtwork<'a> {
    /// Its place among the requested posts, from 0.
    pub position: usize,
    /// Its post, or the id of a post that does not exist or has an unreadable row.
    pub post: Result<&'a Post, i64>,
    /// The reason.
    pub missing: Missing,
}

/// The posts of an archive, or of a segment of one.
#[derive(Debug, Clone, Copy)]
pub struct Requested<'a> {
    /// The posts in order.
    pub posts: &'a [Result<Post, MissingPost>],
    /// File names that artworks of earlier segments have, in lower case.
    pub taken: &'a [String],
}

impl<'a> From<&'a [Result<Post, MissingPost>]> for Requested<'a> {
    fn from(posts: &'a [Result<Post, MissingPost>]) -> Self {
        Self { posts, taken: &[] }
    }
}

/// Plans each post in order, from its row alone: fetch it, or record it as missing.
pub fn plan(
    posts: &[Result<Post, MissingPost>],
    vault_urls: VaultUrls,
    formats: Formats,
) -> impl Iterator<Item = Result<PlannedArtwork<'_>, MissingArtwork<'_>>> + Send {
    plan_part(posts.into(), vault_urls, formats)
}

/// Plans each post of an archive, or of a segment of one, as [`plan`].
fn plan_part(
    Requested { posts, taken }: Requested<'_>,
    vault_urls: VaultUrls,
    formats: Formats,
) -> impl Iterator<Item = Result<PlannedArtwork<'_>, MissingArtwork<'_>>> + Send {
    plan_next(posts, Names::with(taken), vault_urls, formats)
}

/// Plans each post after those whose names are in `names`, and adds their names.
fn plan_next(
    posts: &[Result<Post, MissingPost>],
    mut names: impl BorrowMut<Names> + Send,
    vault_urls: VaultUrls,
    formats: Formats,
) -> impl Iterator<Item = Result<PlannedArtwork<'_>, MissingArtwork<'_>>> + Send {
    posts.iter().enumerate().map(move |(position, post)| match post {
        Ok(post) => plan_one(position, post, &vault_urls, names.borrow_mut(), &formats)
            .map_err(|missing| MissingArtwork { position, post: Ok(post), missing }),
        Err(MissingPost { id, missing }) => {
            Err(MissingArtwork { position, post: Err(*id), missing: missing.clone() })
        }
    })
}

/// Returns whether any post may have its file on the web.
fn has_remote(posts: &[Result<Post, MissingPost>], vault_urls: &VaultUrls) -> bool {
    let source = |post: &Post| Source::of(post.art_url.as_deref(), vault_urls);
    posts.iter().flatten().any(|post| matches!(source(post), Ok(Source::Remote(_))))
}

fn plan_one<'a>(
    position: usize,
    post: &'a Post,
    vault_urls: &VaultUrls,
    names: &mut Names,
    formats: &Formats,
) -> Result<PlannedArtwork<'a>, Missing> {
    let sqid = post.sqid.as_ref().ok_or_else(|| Missing::permanent(MissingCode::NoPublicId))?;
    let source = Source::of(post.art_url.as_deref(), vault_urls)?;
    let extension = formats.extension(&source, post.file_format.as_deref())?;
    let name = names.name(sqid, post.id, extension);
    Ok(PlannedArtwork { position, post, sqid, name, source })
}

impl<'a> PlannedArtwork<'a> {
    /// Returns where its file is.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    fn missing(&self, missing: Missing) -> MissingArtwork<'a> {
        MissingArtwork { position: self.position, post: Ok(self.post), missing }
    }
}

/// Runs a task that is aborted when its handle is dropped, in the span of the attempt.
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(task.in_current_span()))
}
