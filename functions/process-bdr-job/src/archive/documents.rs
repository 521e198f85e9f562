//! The documents of the archive: `metadata.json`, `comments.json` and `reactions.json`, with UTF-8
//! unescaped, times in RFC 3339 and an indentation of two spaces; and `MISSING.txt`.

use std::collections::HashMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer as SerdeSerializer};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use shared::sqid::Sqid;
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::artwork::{MissingArtwork, PlannedArtwork};
use crate::load::{Comment, Post, Reactions};
use crate::missing::MissingCode;
use crate::text::one_line;

/// Maximum length of a title in `MISSING.txt`, in characters.
const MAX_TITLE_CHARS: usize = 100;

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
    fn serialize<S: SerdeSerializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
            #[serde(skip_serializing_if = "Option::is_none")]
            mod_hashtags: Option<&'a [String]>,
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
            mod_hashtags: post.mod_hashtags.as_deref(),
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
    PostId(i64),
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

    /// Writes `MISSING.txt`: the missing artworks and the reasons, a line each, for an artist who reads no
    /// JSON. The lines end as Windows ends them; every editor accepts that. Titles are cleaned, so that
    /// none adds a line or reverses the text around it.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn write_missing(&self, writer: &mut dyn Write, base_url: &str) -> io::Result<()> {
        let artworks = match self.missing() {
            1 => "1 artwork is".to_owned(),
            count => format!("{count} artworks are"),
        };
        let date = self.generated_at.date();
        write!(
            writer,
            "{artworks} missing from the download that {base_url} prepared on {date}:\r\n\r\n"
        )?;
        for MissingEntry { id, title, reason, .. } in &self.missing_artworks {
            let title = one_line(title.unwrap_or_default(), MAX_TITLE_CHARS);
            let title =
                if title.is_empty() { "Untitled".to_owned() } else { format!("\"{title}\"") };
            match id {
                MissingId::Sqid(sqid) => write!(writer, "{title} ({sqid}): {reason}\r\n")?,
                MissingId::PostId(id) => write!(writer, "{title} (post {id}): {reason}\r\n")?,
            }
        }
        Ok(())
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

/// The writer of `comments.json`: comments by artwork in the order of the posts, oldest first. It
/// holds no comment.
pub struct CommentsWriter<'a, W> {
    writer: W,
    format: PrettyFormatter<'static>,
    sqids: HashMap<i64, &'a Sqid>,
    /// The post whose comments are being written.
    post_id: Option<i64>,
}

impl<'a, W: Write> CommentsWriter<'a, W> {
    /// Begins the document.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn new(writer: W, generated_at: OffsetDateTime, posts: &[&'a Post]) -> io::Result<Self> {
        #[derive(Serialize)]
        struct Time(#[serde(with = "rfc3339")] OffsetDateTime);
        let sqids = posts.iter().filter_map(|post| Some((post.id, post.sqid.as_ref()?))).collect();
        let format = PrettyFormatter::new();
        let mut this = Self { writer, format, sqids, post_id: None };
        this.format.begin_object(&mut this.writer)?;
        this.begin_member("generated_at", true)?;
        serde_json::to_writer(&mut this.writer, &Time(generated_at))?;
        this.format.end_object_value(&mut this.writer)?;
        this.begin_member("comments_by_artwork", false)?;
        this.format.begin_object(&mut this.writer)?;
        Ok(this)
    }

    /// Writes a comment. Those on one post must follow each other. A comment on a post without a
    /// public id is left out.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn add(&mut self, comment: &Comment) -> io::Result<()> {
        #[derive(Serialize)]
        struct Entry<'a> {
            id: &'a str,
            author_handle: &'a str,
            body: &'a str,
            #[serde(with = "rfc3339::option")]
            created_at: Option<OffsetDateTime>,
        }
        let Some(sqid) = self.sqids.get(&comment.post_id).copied() else { return Ok(()) };
        let is_first = self.post_id != Some(comment.post_id);
        if is_first {
            let is_first_post = self.post_id.is_none();
            self.end_post()?;
            self.begin_member(sqid.as_str(), is_first_post)?;
            self.format.begin_array(&mut self.writer)?;
            self.post_id = Some(comment.post_id);
        }
        self.format.begin_array_value(&mut self.writer, is_first)?;
        // The clone has the indentation of this place.
        let mut serializer = Serializer::with_formatter(&mut self.writer, self.format.clone());
        Entry {
            id: &comment.id,
            author_handle: comment.author_handle.as_deref().unwrap_or("anonymous"),
            body: &comment.body,
            created_at: comment.created_at,
        }
        .serialize(&mut serializer)?;
        self.format.end_array_value(&mut self.writer)
    }

    /// Ends the document and returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_post()?;
        self.format.end_object(&mut self.writer)?;
        self.format.end_object_value(&mut self.writer)?;
        self.format.end_object(&mut self.writer)?;
        Ok(self.writer)
    }

    fn begin_member(&mut self, name: &str, is_first: bool) -> io::Result<()> {
        self.format.begin_object_key(&mut self.writer, is_first)?;
        serde_json::to_writer(&mut self.writer, name)?;
        self.format.end_object_key(&mut self.writer)?;
        self.format.begin_object_value(&mut self.writer)
    }

    fn end_post(&mut self) -> io::Result<()> {
        if self.post_id.is_some() {
            self.format.end_array(&mut self.writer)?;
            self.format.end_object_value(&mut self.writer)?;
        }
        Ok(())
    }
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
    fn serialize<S: SerdeSerializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
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
    items: impl Iterator<Item = (i64, T)>,
) -> OrderedMap<&'a Sqid, C> {
    let mut by_post: HashMap<i64, Vec<T>> = HashMap::new();
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

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use shared::sqid::Sqid;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::{CommentsWriter, Metadata, OrderedMap};
    use crate::artwork::MissingArtwork;
    use crate::load::{Comment, Post};
    use crate::missing::{Missing, MissingCode};

    fn post(id: i64) -> Post {
        Post {
            id,
            sqid: Sqid::parse(&format!("s{id}")).filter(|_| id != 3),
            title: None,
            description: None,
            hashtags: Vec::new(),
            mod_hashtags: None,
            art_url: None,
            file_format: None,
            width: None,
            height: None,
            frame_count: None,
            created_at: None,
        }
    }

    const TIME: OffsetDateTime = datetime!(2025-01-02 3:04:05.6 UTC);

    fn comment(post_id: i64, body: &str) -> Comment {
        let (id, body) = (format!("{post_id}-7"), body.to_owned());
        Comment { post_id, id, author_handle: None, body, created_at: Some(TIME) }
    }

    #[test]
    fn comments_are_formatted_as_by_a_serializer() {
        let posts = [post(1), post(2), post(3)];
        let posts: Vec<_> = posts.iter().collect();
        for comments in [
            &[][..],
            &[(3, "no public id")],
            &[(2, "a")],
            &[(2, "a\n\"\u{1f600}"), (2, ""), (1, "c"), (3, "no public id"), (4, "no post")],
        ] {
            let mut writer = CommentsWriter::new(Vec::new(), TIME, &posts).unwrap();
            let mut by_artwork: Vec<(String, Vec<Entry>)> = Vec::new();
            for (post_id, body) in comments {
                writer.add(&comment(*post_id, body)).unwrap();
                let entry = Entry {
                    id: format!("{post_id}-7"),
                    author_handle: "anonymous",
                    body,
                    created_at: "2025-01-02T03:04:05.6Z",
                };
                let sqid = format!("s{post_id}");
                match by_artwork.last_mut() {
                    _ if *post_id > 2 => {}
                    Some((last, entries)) if *last == sqid => entries.push(entry),
                    _ => by_artwork.push((sqid, vec![entry])),
                }
            }
            let document = Document {
                generated_at: "2025-01-02T03:04:05.6Z",
                comments_by_artwork: OrderedMap(by_artwork),
            };
            let expected = serde_json::to_string_pretty(&document).unwrap();
            assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), expected);
        }
    }

    /// Returns `MISSING.txt` for posts with these titles.
    fn missing_txt(titles: &[Option<&str>]) -> String {
        let posts: Vec<Post> = (1..)
            .zip(titles)
            .map(|(id, title)| Post { title: title.map(str::to_owned), ..post(id) })
            .collect();
        let mut metadata = Metadata::new(TIME, "an artist", posts.len());
        for (position, post) in posts.iter().enumerate() {
            let missing = Missing::permanent(MissingCode::NotFound);
            metadata.add_missing(&MissingArtwork { position, post: Ok(post), missing });
        }
        let mut text = Vec::new();
        metadata.write_missing(&mut text, "https://makapix.club").unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn missing_artworks_are_listed_a_line_each() {
        assert_eq!(
            missing_txt(&[Some("Größe"), None, Some(" \u{200b}")]),
            "3 artworks are missing from the download that https://makapix.club prepared on 2025-01-02:\r\n\
             \r\n\
             \"Größe\" (s1): This artwork's file was not found.\r\n\
             Untitled (s2): This artwork's file was not found.\r\n\
             Untitled (post 3): This artwork's file was not found.\r\n"
        );
        assert!(missing_txt(&[None]).starts_with("1 artwork is missing from the download that"));
    }

    #[test]
    fn a_hostile_title_adds_no_line_and_reverses_no_text() {
        let long = "x".repeat(1_000_000);
        let titles = [
            "a\r\n\"b\" (s9): gone",
            "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f",
            "\u{202e}gnp.exe\u{202c}\u{2066}\u{200f}\u{61c}",
            "\u{1b}[2J\u{0}\u{7f}\u{9b}",
            &long,
        ];
        for title in titles {
            let text = missing_txt(&[Some(title)]);
            assert_eq!(text.lines().count(), 3, "{text:?}");
            assert!(text.len() < 300, "{}", text.len());
            let line = text.lines().last().unwrap();
            assert!(line.ends_with(" (s1): This artwork's file was not found."), "{line:?}");
            let is_harmless = |c: char| c.is_ascii_graphic() || c == ' ' || c == '…';
            assert!(line.chars().all(is_harmless), "{line:?}");
        }
    }

    #[derive(Serialize)]
    struct Document<'a> {
        generated_at: &'a str,
        comments_by_artwork: OrderedMap<String, Vec<Entry<'a>>>,
    }

    #[derive(Serialize)]
    struct Entry<'a> {
        id: String,
        author_handle: &'a str,
        body: &'a str,
        created_at: &'a str,
    }
}
