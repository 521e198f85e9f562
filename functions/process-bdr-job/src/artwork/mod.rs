//! The artworks of a request: where each one's file is, what it is called in the ZIP, and the
//! fetching of them all.

mod fetch;
mod name;
pub mod signature;
mod source;
mod window;

use shared::failure::Decision;
use shared::sqid::Sqid;

use crate::gather::Post;
use name::Names;

pub use fetch::{FetchedFile, Fetcher};
pub(crate) use fetch::{jittered, too_large};
pub use name::Packed;
pub(crate) use name::is_extension;
pub use source::Source;

/// Why an artwork is not in the ZIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// For the artist, in `metadata.json`. Says nothing about networks or permissions.
    pub reason: &'static str,
    /// Whether another attempt might find it.
    pub decision: Decision,
    /// For the log.
    pub detail: Option<String>,
}

impl Missing {
    /// It will never be found.
    #[must_use]
    pub fn permanent(reason: &'static str) -> Self {
        Self { reason, decision: Decision::Fail, detail: None }
    }

    /// It could not be had this time.
    #[must_use]
    pub fn transient(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, decision: Decision::Retry, detail: Some(detail.into()) }
    }

    /// The same, with something for the log.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

/// An artwork that may come to be in the ZIP.
pub struct Planned<'a> {
    /// Its post.
    pub post: &'a Post,
    /// Its public id.
    pub sqid: &'a Sqid,
    /// Its file name in the ZIP's folder `artworks/`, and how it is packed.
    pub packed: Packed,
    source: Source,
}

/// What is to be done for every post asked for, in order.
pub enum Plan<'a> {
    /// Fetch it.
    Fetch(Planned<'a>),
    /// Record it as missing: its row leaves no other choice.
    Missing(&'a Post, Missing),
    /// Record it as missing: there is no such post.
    NoSuchPost(i32, Missing),
}

/// Decides for every post, when its turn comes and without asking anybody.
pub fn plan(posts: &[Result<Post, i32>]) -> impl Iterator<Item = Plan<'_>> + Send {
    let mut names = Names::default();
    posts.iter().map(move |post| match post {
        Ok(post) => plan_one(post, &mut names)
            .map_or_else(|missing| Plan::Missing(post, missing), Plan::Fetch),
        Err(id) => Plan::NoSuchPost(*id, Missing::permanent("This artwork no longer exists.")),
    })
}

fn plan_one<'a>(post: &'a Post, names: &mut Names) -> Result<Planned<'a>, Missing> {
    let sqid = post
        .sqid
        .as_ref()
        .ok_or_else(|| Missing::permanent("This artwork has no usable public id."))?;
    let source = Source::of(post.art_url.as_deref())?;
    let packed = names.name(sqid, post.id, post.file_format.as_deref())?;
    Ok(Planned { post, sqid, packed, source })
}
