//! The artworks of a request: the source and the file name of each, and the fetching of all.

mod fetch;
mod name;
pub mod signature;
mod source;
mod window;

use shared::sqid::Sqid;

use crate::load::Post;
use crate::missing::Missing;
use name::Names;

pub use fetch::{FetchedArtwork, FetchedFile, Fetcher};
pub use name::EntryName;
pub(crate) use name::is_extension;
pub use source::Source;

/// An artwork to fetch and write into the archive.
pub struct PlannedArtwork<'a> {
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
    /// Its post, or the id of a post that does not exist.
    pub post: Result<&'a Post, i32>,
    /// The reason.
    pub missing: Missing,
}

/// Plans each post in order, from its row alone: fetch it, or record it as missing.
pub fn plan(
    posts: &[Result<Post, i32>],
) -> impl Iterator<Item = Result<PlannedArtwork<'_>, MissingArtwork<'_>>> + Send {
    let mut names = Names::default();
    posts.iter().map(move |post| match post {
        Ok(post) => {
            plan_one(post, &mut names).map_err(|missing| MissingArtwork { post: Ok(post), missing })
        }
        Err(id) => {
            let missing = Missing::permanent("This artwork no longer exists.");
            Err(MissingArtwork { post: Err(*id), missing })
        }
    })
}

fn plan_one<'a>(post: &'a Post, names: &mut Names) -> Result<PlannedArtwork<'a>, Missing> {
    let sqid = post
        .sqid
        .as_ref()
        .ok_or_else(|| Missing::permanent("This artwork has no usable public id."))?;
    let source = Source::of(post.art_url.as_deref())?;
    let name = names.name(sqid, post.id, post.file_format.as_deref())?;
    Ok(PlannedArtwork { post, sqid, name, source })
}
