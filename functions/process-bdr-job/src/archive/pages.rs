//! The artworks of an archive in the order of the request, in pages: the documents are written from them, and the
//! memory is that of a page, however many artworks there are.

use std::borrow::Cow;
use std::ops::Range;

use futures_util::stream::{self, Stream, StreamExt};
use shared::failure::Failure;
use shared::vault::{Export, Vault};
use time::OffsetDateTime;

use super::documents::Metadata;
use super::record::{READS, Record};
use crate::load::{MissingPost, Post};

/// The pages of an archive.
pub(super) enum Pages<'a> {
    /// One page: the artworks of an attempt, which are sorted.
    Held { posts: &'a [Result<Post, MissingPost>], metadata: &'a Metadata<'a> },
    /// A page for each segment.
    Stored(StoredPages<'a>),
}

/// Pages that are read from the documents of an export.
///
/// The artworks of each segment but the first are consecutive, except for those of the first, which took what
/// arrived early. So a page is a segment, and the artworks of the first segment that belong between its
/// artworks.
pub(super) struct StoredPages<'a> {
    pub(super) vault: &'a Vault,
    pub(super) export: &'a Export,
    pub(super) generated_at: OffsetDateTime,
    pub(super) user_handle: &'a str,
    pub(super) has_gallery: bool,
    /// The first segment.
    pub(super) first: &'a Record,
    /// The last positions of the other segments.
    pub(super) ends: Vec<usize>,
}

/// Consecutive artworks of a request.
pub(super) enum Page<'a> {
    Held { posts: &'a [Result<Post, MissingPost>], metadata: &'a Metadata<'a> },
    Stored { pages: &'a StoredPages<'a>, record: Record, positions: Range<usize> },
}

impl Pages<'_> {
    /// Reads the pages in order, two at a time.
    pub(super) fn read(&self) -> impl Stream<Item = Result<Page<'_>, Failure>> {
        self.read_at_once(READS)
    }

    /// Reads the pages in order, each when it is asked for: beside a query of the database, which may take a
    /// minute, S3 would close the connection of a page that is not read on.
    pub(super) fn read_singly(&self) -> impl Stream<Item = Result<Page<'_>, Failure>> {
        self.read_at_once(1)
    }

    fn read_at_once(&self, reads: usize) -> impl Stream<Item = Result<Page<'_>, Failure>> {
        let count = match self {
            Self::Held { .. } => 1,
            Self::Stored(pages) => pages.ends.len(),
        };
        stream::iter(0..count).map(|index| self.page(index)).buffered(reads)
    }

    async fn page(&self, index: usize) -> Result<Page<'_>, Failure> {
        match *self {
            Self::Held { posts, metadata } => Ok(Page::Held { posts, metadata }),
            Self::Stored(ref pages) => pages.page(index).await,
        }
    }
}

impl StoredPages<'_> {
    async fn page(&self, index: usize) -> Result<Page<'_>, Failure> {
        let segment = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let record = Record::read(self.vault, self.export, segment).await?;
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        let is_last = index + 1 == self.ends.len();
        let end = if is_last { usize::MAX } else { self.ends[index] + 1 };
        Ok(Page::Stored { pages: self, record, positions: begin..end })
    }
}

impl Page<'_> {
    /// Returns the posts, in order.
    pub(super) fn posts(&self) -> Vec<&Post> {
        match self {
            Self::Held { posts, .. } => posts.iter().flatten().collect(),
            Self::Stored { pages, record, positions } => {
                let of_first = pages.first.posts().filter(|(at, _)| positions.contains(at));
                let mut posts: Vec<_> = of_first.chain(record.posts()).collect();
                posts.sort_unstable_by_key(|(at, _)| *at);
                posts.into_iter().filter_map(|(_, post)| post.as_ref().ok()).collect()
            }
        }
    }

    /// Returns the artworks in the archive and those that are missing, in order.
    ///
    /// # Errors
    /// A permanent failure when the documents of the segments contradict each other.
    pub(super) fn metadata(&self) -> Result<Cow<'_, Metadata<'_>>, Failure> {
        let (pages, record, positions) = match self {
            Self::Held { metadata, .. } => return Ok(Cow::Borrowed(metadata)),
            Self::Stored { pages, record, positions } => (pages, record, positions),
        };
        let mut metadata = Metadata::new(pages.generated_at, pages.user_handle, 0);
        for record in [pages.first, record] {
            let in_page = |position: usize| positions.contains(&position);
            for artwork in record.manifest.artworks.iter().filter(|it| in_page(it.position)) {
                metadata.push(record.entry(artwork, pages.has_gallery)?);
            }
            for artwork in record.manifest.missing.iter().filter(|it| in_page(it.position)) {
                metadata.add_missing(&record.missing(artwork)?);
            }
        }
        metadata.sort();
        Ok(Cow::Owned(metadata))
    }
}
