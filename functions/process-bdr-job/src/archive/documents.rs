//! The JSON documents of the archive: `metadata.json`, `comments.json` and `reactions.json`. UTF-8
//! unescaped, times in RFC 3339; the writer indents by two spaces.

use std::collections::HashMap;

use serde::{Serialize, Serializer};
use shared::sqid::Sqid;
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::artwork::{MissingArtwork, PlannedArtwork};
use crate::load::{Comment, Post, Reactions};
use crate::missing::MissingCode;

/// `metadata.json`: the artworks in the archive, and those that are missing.
#[derive(Serialize)]
pub struct Metadata<'a> {
    #[serde(with = "rfc3339")]
    generated_at: OffsetDateTime,
    user_handle: &'a str,
    /// Artworks in this archive.
    artwork_count: usize,
    artworks: Vec<ArtworkEntry<'a>>,
    missing_artworks: Vec<MissingEntry<'a>>,
}

/// An artwork in the archive. It refers to its post, because there may be thousands.
struct ArtworkEntry<'a> {
    position: usize,
    post: &'a Post,
    sqid: &'a Sqid,
    filename: Box<str>,
}

impl Serialize for ArtworkEntry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            sqid: &'a Sqid,
            filename: &'a str,
            title: Option<&'a str>,
            description: Option<&'a str>,
            #[serde(with = "rfc3339::option")]
            created_at: Option<OffsetDateTime>,
            width: Option<i32>,
            height: Option<i32>,
            frame_count: Option<i32>,
            file_format: Option<&'a str>,
            hashtags: &'a [String],
        }
        let Self { post, sqid, filename, .. } = self;
        Entry {
            sqid,
            filename,
            title: post.title.as_deref(),
            description: post.description.as_deref(),
            created_at: post.created_at,
            width: post.width,
            height: post.height,
            frame_count: post.frame_count,
            file_format: post.file_format.as_deref(),
            hashtags: &post.hashtags,
        }
        .serialize(serializer)
    }
}

/// A requested artwork that is not in the archive.
#[derive(Serialize)]
struct MissingEntry<'a> {
    #[serde(skip)]
    position: usize,
    #[serde(flatten)]
    id: MissingId<'a>,
    title: Option<&'a str>,
    code: MissingCode,
    reason: &'static str,
}

/// The id of a missing artwork: its public id where it has one.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum MissingId<'a> {
    Sqid(&'a Sqid),
    PostId(i32),
}

impl<'a> Metadata<'a> {
    /// Returns the document of an empty archive, with room for `requested` artworks.
    #[must_use]
    pub fn new(generated_at: OffsetDateTime, user_handle: &'a str, requested: usize) -> Self {
        Self {
            generated_at,
            user_handle,
            artwork_count: 0,
            artworks: Vec::with_capacity(requested),
            missing_artworks: Vec::with_capacity(requested),
        }
    }

    /// Records an artwork that is in the archive.
    pub fn add(&mut self, artwork: PlannedArtwork<'a>) {
        let PlannedArtwork { position, post, sqid, name, .. } = artwork;
        self.artwork_count += 1;
        self.artworks.push(ArtworkEntry { position, post, sqid, filename: name.filename.into() });
    }

    /// Records a missing artwork.
    pub fn add_missing(&mut self, artwork: &MissingArtwork<'a>) {
        let (id, title) = match artwork.post {
            Ok(post) => {
                let id = post.sqid.as_ref().map_or(MissingId::PostId(post.id), MissingId::Sqid);
                (id, post.title.as_deref())
            }
            Err(post_id) => (MissingId::PostId(post_id), None),
        };
        let (position, code) = (artwork.position, artwork.missing.code);
        let reason = code.reason();
        self.missing_artworks.push(MissingEntry { position, id, title, code, reason });
    }

    /// Puts all entries into the order of the request: artworks of the web arrive late.
    pub fn sort(&mut self) {
        self.artworks.sort_unstable_by_key(|entry| entry.position);
        self.missing_artworks.sort_unstable_by_key(|entry| entry.position);
    }

    /// Returns the number of artworks in the archive.
    #[must_use]
    pub fn artworks(&self) -> usize {
        self.artwork_count
    }

    /// Returns the number of missing artworks.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing_artworks.len()
    }
}

/// Returns `comments.json`: comments by artwork in the order of the posts, oldest first.
#[must_use]
pub fn comments<'a>(
    generated_at: OffsetDateTime,
    posts: &[&'a Post],
    comments: &'a [Comment],
) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(with = "rfc3339")]
        generated_at: OffsetDateTime,
        comments_by_artwork: OrderedMap<&'a Sqid, Vec<Entry<'a>>>,
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        id: &'a str,
        author_handle: &'a str,
        body: &'a str,
        #[serde(with = "rfc3339::option")]
        created_at: Option<OffsetDateTime>,
    }
    let entries = comments.iter().map(|comment| {
        let entry = Entry {
            id: &comment.id,
            author_handle: comment.author_handle.as_deref().unwrap_or("anonymous"),
            body: &comment.body,
            created_at: comment.created_at,
        };
        (comment.post_id, entry)
    });
    Document { generated_at, comments_by_artwork: by_artwork(posts, entries) }
}

/// Returns `reactions.json`: counts by emoji, most frequent first, by artwork in the order of the posts.
#[must_use]
pub fn reactions<'a>(
    generated_at: OffsetDateTime,
    posts: &[&'a Post],
    reactions: &'a [Reactions],
) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(with = "rfc3339")]
        generated_at: OffsetDateTime,
        reactions_by_artwork: OrderedMap<&'a Sqid, OrderedMap<&'a str, i64>>,
    }
    let counts = reactions.iter().map(|given| (given.post_id, (given.emoji.as_str(), given.count)));
    Document { generated_at, reactions_by_artwork: by_artwork(posts, counts) }
}

/// A JSON object with its members in the order of the pairs.
struct OrderedMap<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<K, V> FromIterator<(K, V)> for OrderedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Groups items by post, in the order of the posts. Posts without items are left out.
fn by_artwork<'a, T, C: FromIterator<T>>(
    posts: &[&'a Post],
    items: impl Iterator<Item = (i32, T)>,
) -> OrderedMap<&'a Sqid, C> {
    let mut by_post: HashMap<i32, Vec<T>> = HashMap::new();
    for (post_id, item) in items {
        by_post.entry(post_id).or_default().push(item);
    }
    posts
        .iter()
        .filter_map(|post| {
            let items = by_post.remove(&post.id)?;
            Some((post.sqid.as_ref()?, items.into_iter().collect()))
        })
        .collect()
}
