//! `index.html`: the artworks as a gallery that a browser opens from a disk, without a request to
//! anywhere.
//!
//! All text is hostile. The template escapes what it writes as HTML; the details for the script are JSON
//! in a script element of another type, in which `<`, `>` and `&` are escaped; the script writes text
//! only as text. The page's Content-Security-Policy admits its own style and script by their hashes, and
//! files beside it.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer as _};
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, UtcOffset};

use super::documents::{ArtworkEntry, Metadata, MissingEntry, Totals, UNTITLED};
use crate::load::{Comment, Reactions};
use crate::text::{human_date, visible_line};
use crate::wording::Wording;

const STYLE: &str = include_str!("../../templates/gallery.css");
const SCRIPT: &str = include_str!("../../templates/gallery.js");

/// Maximum number of artworks in the page, and of missing ones. A browser opens a page of 5,000 in less than a
/// second, and none opens one of a million.
pub(super) const MAX_SHOWN: usize = 20_000;
/// Largest side of a picture in the list without scripts, in CSS pixels. The style's narrowest column
/// holds it.
const TILE: u32 = 192;
/// Maximum side of a picture that its row may state, in pixels.
const MAX_SIDE: u32 = 16_384;
/// Maximum length of a title, in characters.
const MAX_TITLE_CHARS: usize = 200;
/// Maximum number of comments on one artwork in the page. `comments.json` has all.
const MAX_COMMENTS: usize = 100;
/// Maximum size of all comments in the page, in bytes, with [`COMMENT_BYTES`] for each.
const MAX_COMMENT_BYTES: usize = 4 * 1024 * 1024;
/// Memory of a comment beside its texts, in bytes.
const COMMENT_BYTES: usize = 100;
/// The months of a date in the list.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Nothing is loaded but files beside the page, and nothing runs but its own script. In a page from a
/// disk, `'self'` matches nothing in some browsers; `file:` does. `frame-ancestors` has no effect in a
/// `meta` element.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    format!(
        "default-src 'none'; img-src 'self' file:; media-src 'self' file:; style-src {style}; \
         script-src {script}; base-uri 'none'; form-action 'none'"
    )
});

/// The comments that the page shows: the oldest of each artwork, within limits of number and memory.
#[derive(Default)]
pub struct PageComments {
    by_post: HashMap<i64, Thread>,
    bytes: usize,
}

/// The comments on one post.
#[derive(Default)]
struct Thread {
    shown: Vec<Shown>,
    /// Comments beyond the limits.
    more: usize,
}

#[derive(Serialize)]
struct Shown {
    author: Box<str>,
    body: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// In milliseconds since 1970.
    created: Option<i64>,
}

impl PageComments {
    /// Adds a comment. Those on one post must be added oldest first.
    pub fn add(&mut self, comment: &Comment) {
        let thread = self.by_post.entry(comment.post_id).or_default();
        let author = comment.author_handle.as_deref().unwrap_or("anonymous");
        let bytes = COMMENT_BYTES + author.len() + comment.body.len();
        if thread.more > 0
            || thread.shown.len() == MAX_COMMENTS
            || bytes > MAX_COMMENT_BYTES - self.bytes
        {
            thread.more += 1;
            return;
        }
        self.bytes += bytes;
        let (author, body) = (author.into(), comment.body.as_str().into());
        thread.shown.push(Shown { author, body, created: comment.created_at.map(milliseconds) });
    }
}

/// What the page shows.
pub struct Gallery<'a> {
    /// The artworks in the archive and those that are missing, in order: all, or the first ones.
    pub pages: &'a [&'a Metadata<'a>],
    /// The numbers of the archive.
    pub totals: &'a Totals,
    /// The comments, if requested.
    pub comments: &'a PageComments,
    /// The reactions, if requested.
    pub reactions: &'a [Reactions],
    /// The names and words of the site.
    pub wording: &'a Wording,
    /// `BASE_URL`.
    pub base_url: &'a str,
    /// The folder of the artworks.
    pub folder: &'a str,
    /// Whether `SHA256SUMS` is in the archive.
    pub checksums: bool,
}

impl Gallery<'_> {
    /// Writes the page.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let &Self { pages, totals, comments, reactions, wording, base_url, folder, checksums } =
            self;
        let Some(&first) = pages.first() else { return Ok(()) };
        let mut by_post: HashMap<i64, Vec<(&str, i64)>> = HashMap::new();
        for given in reactions {
            by_post.entry(given.post_id).or_default().push((&given.emoji, given.count));
        }
        let handle = visible_line(Some(first.user_handle), MAX_TITLE_CHARS);
        let is_picture = |entry: &&ArtworkEntry<'_>| Kind::of(entry.extension()) == Kind::Picture;
        let page = Html {
            policy: &POLICY,
            style: STYLE,
            handle: handle.unwrap_or_else(|| wording.artworks().to_owned()),
            artworks: wording.count(totals.counts.artworks),
            more_artworks: totals.counts.artworks.saturating_sub(MAX_SHOWN),
            animations: totals.animations,
            missing: totals.counts.missing,
            more_missing: totals.counts.missing.saturating_sub(missing_of(pages).count()),
            date: human_date(first.generated_at.date()),
            icon: artworks_of(pages).find(is_picture).map(|entry| &*entry.filename),
            pages,
            wording,
            base_url,
            folder,
            checksums,
        };
        page.write_into(writer)?;
        Data { pages, comments, reactions: by_post }.write(writer)?;
        write!(writer, "</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
    }
}

/// Returns the artworks that the page shows.
fn artworks_of<'a>(pages: &'a [&'a Metadata<'a>]) -> impl Iterator<Item = &'a ArtworkEntry<'a>> {
    pages.iter().flat_map(|page| &page.artworks).take(MAX_SHOWN)
}

/// Returns the missing artworks that the page lists.
fn missing_of<'a>(pages: &'a [&'a Metadata<'a>]) -> impl Iterator<Item = &'a MissingEntry<'a>> {
    pages.iter().flat_map(|page| &page.missing_artworks).take(MAX_SHOWN)
}

/// What a browser does with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Picture,
    Video,
    Other,
}

impl Kind {
    fn of(extension: &str) -> Self {
        match extension {
            // Every current browser shows these.
            "png" | "gif" | "webp" | "bmp" | "jpeg" | "jpg" | "apng" | "avif" | "ico" => {
                Self::Picture
            }
            "mp4" | "m4v" | "webm" | "mov" => Self::Video,
            _ => Self::Other,
        }
    }
}

#[derive(Template)]
#[template(path = "gallery.html")]
struct Html<'a> {
    policy: &'a str,
    style: &'static str,
    handle: String,
    artworks: String,
    more_artworks: usize,
    animations: usize,
    missing: usize,
    more_missing: usize,
    date: String,
    /// The picture in the browser's tab.
    icon: Option<&'a str>,
    pages: &'a [&'a Metadata<'a>],
    wording: &'a Wording,
    base_url: &'a str,
    folder: &'a str,
    checksums: bool,
}

/// An artwork in the list that needs no script.
struct Item<'a> {
    file: &'a str,
    extension: &'a str,
    kind: Kind,
    title: String,
    /// In pixels of the picture.
    size: Option<(u32, u32)>,
    /// In CSS pixels.
    tile: Option<(u32, u32)>,
    frames: Option<i32>,
    /// Day, month and year.
    date: Option<(u8, &'static str, i32)>,
}

impl<'a> Html<'a> {
    fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        artworks_of(self.pages).map(Item::of)
    }

    fn missing_entries(&self) -> impl Iterator<Item = &'a MissingEntry<'a>> + use<'a> {
        missing_of(self.pages)
    }
}

impl<'a> Item<'a> {
    fn of(entry: &'a ArtworkEntry<'_>) -> Self {
        let (post, extension) = (entry.post, entry.extension());
        let title = visible_line(post.title.as_deref(), MAX_TITLE_CHARS);
        let size = size(post.width, post.height);
        Self {
            file: &entry.filename,
            extension,
            kind: Kind::of(extension),
            title: title.unwrap_or_else(|| UNTITLED.to_owned()),
            size,
            tile: size.map(in_tile),
            frames: post.frame_count.filter(|frames| *frames > 1),
            date: post.created_at.map(short_date),
        }
    }
}

/// Returns the day, month and year of a time in UTC.
fn short_date(time: OffsetDateTime) -> (u8, &'static str, i32) {
    let (year, month, day) = time.to_offset(UtcOffset::UTC).to_calendar_date();
    (day, MONTHS[usize::from(u8::from(month)) - 1], year)
}

/// Returns the size of a picture if its row states a possible one.
fn size(width: Option<i32>, height: Option<i32>) -> Option<(u32, u32)> {
    let side = |side: Option<i32>| {
        side.and_then(|side| u32::try_from(side).ok()).filter(|side| (1..=MAX_SIDE).contains(side))
    };
    Some((side(width)?, side(height)?))
}

/// Returns the size of a picture in the list: a whole multiple, or a whole fraction if it is larger.
fn in_tile((width, height): (u32, u32)) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= TILE {
        let scale = TILE / longest;
        return (width * scale, height * scale);
    }
    let part = longest.div_ceil(TILE);
    ((width / part).max(1), (height / part).max(1))
}

/// The details of the artworks, in the order of the list.
struct Data<'a> {
    pages: &'a [&'a Metadata<'a>],
    comments: &'a PageComments,
    reactions: HashMap<i64, Vec<(&'a str, i64)>>,
}

#[derive(Serialize)]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    hashtags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    /// In milliseconds since 1970.
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    license: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    video: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reactions: &'a [(&'a str, i64)],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    comments: &'a [Shown],
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Data<'_> {
    /// Writes the details as JSON that a script element may contain.
    fn write(&self, writer: &mut impl Write) -> io::Result<()> {
        let mut serializer = Serializer::with_formatter(writer, ScriptSafe);
        let details = artworks_of(self.pages).map(|entry| self.details(entry));
        Ok(serializer.collect_seq(details)?)
    }

    fn details<'a>(&'a self, entry: &'a ArtworkEntry<'_>) -> Details<'a> {
        let post = entry.post;
        let thread = self.comments.by_post.get(&post.id);
        Details {
            description: post.description.as_deref().filter(|text| !text.is_empty()),
            hashtags: &post.hashtags,
            created: post.created_at.map(milliseconds),
            size: size(post.width, post.height),
            frames: post.frame_count.filter(|frames| *frames > 1),
            bytes: entry.file.map(|file| file.size_bytes),
            license: post.license.as_deref(),
            source: post.source_url.as_deref().filter(|url| is_web(url)),
            video: Kind::of(entry.extension()) == Kind::Video,
            reactions: self.reactions.get(&post.id).map_or(&[], Vec::as_slice),
            comments: thread.map_or(&[], |thread| &thread.shown),
            more: thread.map_or(0, |thread| thread.more),
        }
    }
}

/// The formatter of JSON without the characters that end a script element or begin a comment in it.
struct ScriptSafe;

impl Formatter for ScriptSafe {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        mut fragment: &str,
    ) -> io::Result<()> {
        let is_escaped = |byte| matches!(byte, b'<' | b'>' | b'&');
        while let Some(at) = fragment.bytes().position(is_escaped) {
            write!(writer, "{}\\u{:04x}", &fragment[..at], fragment.as_bytes()[at])?;
            fragment = &fragment[at + 1..];
        }
        writer.write_all(fragment.as_bytes())
    }
}

/// Returns a time as scripts count it, in milliseconds since 1970.
fn milliseconds(time: OffsetDateTime) -> i64 {
    1000 * time.unix_timestamp() + i64::from(time.millisecond())
}

/// Returns whether a link opens a page of the web, and not a script or a file.
fn is_web(url: &str) -> bool {
    let has = |scheme: &str| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    has("https://") || has("http://")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};
    use time::OffsetDateTime;

    use super::{
        Gallery, MAX_COMMENT_BYTES, MAX_COMMENTS, Metadata, PageComments, Totals, in_tile,
    };
    use crate::load::Comment;
    use crate::wording::Wording;

    #[test]
    fn the_policy_admits_exactly_the_style_and_the_script_of_the_page() {
        let metadata = Metadata::new(OffsetDateTime::UNIX_EPOCH, "an artist", 0);
        let gallery = Gallery {
            pages: &[&metadata],
            totals: &Totals::default(),
            comments: &PageComments::default(),
            reactions: &[],
            wording: &Wording::default(),
            base_url: "https://makapix.club",
            folder: "artworks",
            checksums: true,
        };
        let mut page = Vec::new();
        gallery.write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let between = |start: &str, end: &str| {
            let (_, rest) = page.split_once(start).unwrap();
            rest.split_once(end).unwrap().0.replace("&#39;", "'")
        };
        let hash = |text: String| BASE64_STANDARD.encode(Sha256::digest(text));
        let style = hash(between("<style>", "</style>"));
        let script = hash(between("<script>", "</script>"));
        assert_eq!(
            between(r#"http-equiv="Content-Security-Policy" content=""#, "\""),
            format!(
                "default-src 'none'; img-src 'self' file:; media-src 'self' file:; \
                 style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
                 base-uri 'none'; form-action 'none'"
            )
        );
    }

    fn comment(post_id: i64, body: String) -> Comment {
        let id = String::new();
        Comment { post_id, id, author_handle: None, body, created_at: None }
    }

    /// Returns how many comments on a post the page shows, and how many more there are.
    fn counts(comments: &PageComments, post_id: i64) -> (usize, usize) {
        let thread = &comments.by_post[&post_id];
        (thread.shown.len(), thread.more)
    }

    #[test]
    fn the_page_shows_the_oldest_comments_within_its_limits() {
        let mut comments = PageComments::default();
        for number in 0..MAX_COMMENTS + 2 {
            comments.add(&comment(1, number.to_string()));
        }
        comments.add(&comment(2, "first".into()));
        comments.add(&comment(2, "x".repeat(MAX_COMMENT_BYTES)));
        comments.add(&comment(2, "after one that is too large".into()));
        comments.add(&comment(3, "of another artwork".into()));
        assert_eq!(counts(&comments, 1), (MAX_COMMENTS, 2));
        assert_eq!(&*comments.by_post[&1].shown[0].body, "0");
        assert_eq!(counts(&comments, 2), (1, 2));
        assert_eq!(counts(&comments, 3), (1, 0));

        let mut comments = PageComments::default();
        for post_id in 0..10 {
            comments.add(&comment(post_id, "x".repeat(MAX_COMMENT_BYTES / 4)));
        }
        let shown = (0..10).map(|id| counts(&comments, id).0).sum::<usize>();
        assert_eq!(shown, 3, "each costs more than its text");
    }

    #[test]
    fn a_tile_enlarges_by_whole_numbers_and_shrinks_by_whole_fractions() {
        let cases = [((48, 56), (144, 168)), ((192, 1), (192, 1)), ((400, 10), (133, 3))];
        for (size, shown) in cases {
            assert_eq!(in_tile(size), shown, "{size:?}");
        }
        assert_eq!(in_tile((16_384, 1)), (190, 1));
    }
}
