//! What the documents of the archive state about its artworks: `metadata.json`, with UTF-8 unescaped, times in
//! RFC 3339 and an indentation of two spaces; `MISSING.txt`; and the artworks' lines of `SHA256SUMS`.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use shared::sqid::Sqid;
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::checksum::Checksum;
use super::comment::Counts;
use super::json::{JsonWriter, Time};
use crate::artwork::{MissingArtwork, PlannedArtwork, is_video};
use crate::load::Post;
use crate::missing::MissingCode;
use crate::text::visible_line;

/// The title of an artwork without one.
pub(super) const UNTITLED: &str = "Untitled";
/// Maximum titles of missing artworks in the e-mail.
const MAX_MISSING_TITLES: usize = 5;
/// Maximum length of a title on a line, in characters.
const MAX_TITLE_CHARS: usize = 100;

/// The artworks in an archive, or in a page of it, and those that are missing.
#[derive(Clone)]
pub struct Metadata<'a> {
    pub(super) generated_at: OffsetDateTime,
    pub(super) user_handle: &'a str,
    pub(super) artworks: Vec<ArtworkEntry<'a>>,
    pub(super) missing_artworks: Vec<MissingEntry<'a>>,
}

/// An artwork in the archive. It refers to its post, because there may be thousands.
#[derive(Clone)]
pub(super) struct ArtworkEntry<'a> {
    pub(super) position: usize,
    pub(super) post: &'a Post,
    pub(super) sqid: &'a Sqid,
    pub(super) filename: Box<str>,
    /// Absent in an archive without the gallery.
    pub(super) file: Option<FileFacts>,
}

/// The facts about an artwork's file that an archive with the gallery states.
#[derive(Clone, Copy)]
pub struct FileFacts {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Absent where the bytes do not pass through this function.
    pub checksum: Option<Checksum>,
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
            #[serde(skip_serializing_if = "Option::is_none")]
            mod_hashtags: Option<&'a [String]>,
            #[serde(skip_serializing_if = "Option::is_none")]
            license: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            source_url: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            size_bytes: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            sha256: Option<Checksum>,
        }
        let Self { post, sqid, filename, file, .. } = self;
        // License and origin came with the gallery. Without it the document is that of before.
        let with_gallery = file.map(|_| post);
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
            license: with_gallery.and_then(|post| post.license.as_deref()),
            source_url: with_gallery.and_then(|post| post.source_url.as_deref()),
            size_bytes: file.map(|file| file.size_bytes),
            sha256: file.and_then(|file| file.checksum),
        }
        .serialize(serializer)
    }
}

/// A requested artwork that is not in the archive.
#[derive(Clone, Serialize)]
pub(super) struct MissingEntry<'a> {
    #[serde(skip)]
    pub(super) position: usize,
    #[serde(flatten)]
    id: MissingId<'a>,
    title: Option<&'a str>,
    pub(super) code: MissingCode,
    pub(super) reason: &'static str,
}

impl MissingEntry<'_> {
    /// Returns the title on one line.
    pub(super) fn title(&self) -> String {
        visible_line(self.title, MAX_TITLE_CHARS).unwrap_or_else(|| UNTITLED.to_owned())
    }
}

impl ArtworkEntry<'_> {
    /// Returns the extension of the file, without the dot.
    pub(super) fn extension(&self) -> &str {
        self.filename.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// The id of a missing artwork: its public id where it has one.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum MissingId<'a> {
    Sqid(&'a Sqid),
    PostId(i64),
}

impl<'a> Metadata<'a> {
    /// Returns the lists of an empty archive, with room for `requested` artworks.
    #[must_use]
    pub fn new(generated_at: OffsetDateTime, user_handle: &'a str, requested: usize) -> Self {
        Self {
            generated_at,
            user_handle,
            artworks: Vec::with_capacity(requested),
            missing_artworks: Vec::with_capacity(requested),
        }
    }

    /// Records an artwork that is in the archive; `file` is absent if the archive has no gallery.
    pub fn add(&mut self, artwork: PlannedArtwork<'a>, file: Option<FileFacts>) {
        let PlannedArtwork { position, post, sqid, name, .. } = artwork;
        let filename = name.filename.into();
        self.push(ArtworkEntry { position, post, sqid, filename, file });
    }

    /// Records an artwork that is in the archive.
    pub(super) fn push(&mut self, entry: ArtworkEntry<'a>) {
        self.artworks.push(entry);
    }

    /// Writes the lines of `SHA256SUMS` for the artworks in `folder`, as `sha256sum -c` reads them. An
    /// artwork without a checksum has none.
    ///
    /// # Errors
    /// Those of `writer`.
    pub(super) fn write_checksums(&self, writer: &mut impl Write, folder: &str) -> io::Result<()> {
        for ArtworkEntry { filename, file, .. } in &self.artworks {
            if let Some(checksum) = file.and_then(|file| file.checksum) {
                writeln!(writer, "{checksum}  {folder}/{filename}")?;
            }
        }
        Ok(())
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

    /// Writes the lines of `MISSING.txt`, as [`begin_missing_list`] begins it.
    ///
    /// # Errors
    /// Those of `writer`.
    pub(super) fn write_missing(&self, writer: &mut impl Write) -> io::Result<()> {
        for MissingEntry { id, title, reason, .. } in &self.missing_artworks {
            let title = visible_line(*title, MAX_TITLE_CHARS);
            let title = title.map_or(UNTITLED.to_owned(), |title| format!("\"{title}\""));
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
        self.artworks.len()
    }

    /// Returns the number of artworks in the archive that move: with several frames, or videos.
    #[must_use]
    pub fn animations(&self) -> usize {
        let moves = |entry: &&ArtworkEntry<'_>| {
            entry.post.frame_count.is_some_and(|frames| frames > 1) || is_video(entry.extension())
        };
        self.artworks.iter().filter(moves).count()
    }

    /// Returns the titles of the first `max` missing artworks.
    pub(super) fn missing_titles(&self, max: usize) -> Vec<String> {
        self.missing_artworks.iter().take(max).map(MissingEntry::title).collect()
    }

    /// Returns the number of missing artworks.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing_artworks.len()
    }
}

/// Begins `MISSING.txt`: the missing artworks and the reasons, a line each, for an artist who reads no JSON. The
/// lines end as Windows ends them; every editor accepts that. Titles are cleaned, so that none adds a line or
/// reverses the text around it.
///
/// # Errors
/// Those of `writer`.
pub(super) fn begin_missing_list(
    writer: &mut impl Write,
    missing: usize,
    generated_at: OffsetDateTime,
    base_url: &str,
) -> io::Result<()> {
    let artworks = match missing {
        1 => "1 artwork is".to_owned(),
        count => format!("{count} artworks are"),
    };
    let date = generated_at.date();
    write!(
        writer,
        "{artworks} missing from the download that {base_url} prepared on {date}:\r\n\r\n"
    )
}

/// The numbers of an archive, and what the e-mail says about it.
#[derive(Default)]
pub struct Totals {
    pub(super) counts: Counts,
    pub(super) animations: usize,
    /// The titles of the first missing artworks.
    pub(super) missing_titles: Vec<String>,
}

impl Totals {
    /// Adds the artworks of an archive, or of a part of one.
    pub fn add(&mut self, metadata: &Metadata<'_>) {
        self.counts.artworks += metadata.artworks();
        self.counts.missing += metadata.missing();
        self.animations += metadata.animations();
    }

    /// Adds the titles of the first missing artworks of a page, after those of the pages before.
    pub(super) fn add_titles(&mut self, page: &Metadata<'_>) {
        let more = MAX_MISSING_TITLES - self.missing_titles.len();
        self.missing_titles.extend(page.missing_titles(more));
    }
}

/// The writer of `metadata.json`: first all artworks, then all missing ones, each in the order of the request.
pub struct MetadataWriter<W> {
    json: JsonWriter<W>,
    is_empty: bool,
}

impl<W: Write> MetadataWriter<W> {
    /// Begins the document of an archive with `artworks` artworks.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn new(
        writer: W,
        generated_at: OffsetDateTime,
        user_handle: &str,
        artworks: usize,
    ) -> io::Result<Self> {
        let mut json = JsonWriter::new(writer);
        json.begin_object()?;
        json.member("generated_at", true, &Time(generated_at))?;
        json.member("user_handle", false, &user_handle)?;
        json.member("artwork_count", false, &artworks)?;
        json.begin_member("artworks", false)?;
        json.begin_array()?;
        Ok(Self { json, is_empty: true })
    }

    /// Writes the artworks of a page.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn add(&mut self, page: &Metadata<'_>) -> io::Result<()> {
        self.items(&page.artworks)
    }

    /// Ends the artworks, and begins the missing ones.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn begin_missing(&mut self) -> io::Result<()> {
        self.json.end_array()?;
        self.json.end_member()?;
        self.json.begin_member("missing_artworks", false)?;
        self.json.begin_array()?;
        self.is_empty = true;
        Ok(())
    }

    /// Writes the missing artworks of a page.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn add_missing(&mut self, page: &Metadata<'_>) -> io::Result<()> {
        self.items(&page.missing_artworks)
    }

    /// Ends the document and returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.json.end_array()?;
        self.json.end_member()?;
        self.json.end_object()?;
        Ok(self.json.finish())
    }

    fn items(&mut self, items: &[impl Serialize]) -> io::Result<()> {
        items.iter().try_for_each(|item| {
            let is_first = std::mem::take(&mut self.is_empty);
            self.json.item(is_first, item)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::sqid::Sqid;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::{Metadata, MetadataWriter, begin_missing_list};
    use crate::artwork::MissingArtwork;
    use crate::load::Post;
    use crate::missing::{Missing, MissingCode};

    fn post(id: i64) -> Post {
        Post {
            id,
            sqid: Sqid::parse(&format!("s{id}")).filter(|_| id != 3),
            title: None,
            description: None,
            hashtags: Vec::new(),
            mod_hashtags: None,
            license: None,
            source_url: None,
            art_url: None,
            file_format: None,
            width: None,
            height: None,
            frame_count: None,
            created_at: None,
        }
    }

    const TIME: OffsetDateTime = datetime!(2025-01-02 3:04:05.6 UTC);

    #[test]
    fn metadata_is_formatted_as_by_a_serializer() {
        let posts = [post(1), post(2)];
        let mut metadata = Metadata::new(TIME, "an \"artist\"", posts.len());
        for (position, post) in posts.iter().enumerate() {
            let missing = Missing::permanent(MissingCode::NotFound);
            metadata.add_missing(&MissingArtwork { position, post: Ok(post), missing });
        }
        let write = |pages: &[&Metadata<'_>]| {
            let mut writer = MetadataWriter::new(Vec::new(), TIME, "an \"artist\"", 0).unwrap();
            writer.begin_missing().unwrap();
            pages.iter().try_for_each(|page| writer.add_missing(page)).unwrap();
            String::from_utf8(writer.finish().unwrap()).unwrap()
        };
        let missing = json!({
            "sqid": "s1", "title": null, "code": "not_found",
            "reason": "This artwork's file was not found.",
        });
        let document: serde_json::Value = serde_json::from_str(&write(&[&metadata])).unwrap();
        assert_eq!(document["missing_artworks"][0], missing);
        assert_eq!(document["missing_artworks"][1]["sqid"], "s2");
        assert_eq!(document["user_handle"], "an \"artist\"");
        assert_eq!(
            write(&[]),
            "{\n  \"generated_at\": \"2025-01-02T03:04:05.6Z\",\n  \"user_handle\": \"an \\\"artist\\\"\",\n  \
             \"artwork_count\": 0,\n  \"artworks\": [],\n  \"missing_artworks\": []\n}"
        );
        let page = |range: std::ops::Range<usize>| {
            let missing_artworks = metadata.missing_artworks[range].to_vec();
            Metadata { missing_artworks, ..metadata.clone() }
        };
        assert_eq!(write(&[&page(0..1), &page(1..1), &page(1..2)]), write(&[&metadata]));
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
        begin_missing_list(&mut text, metadata.missing(), TIME, "https://makapix.club").unwrap();
        metadata.write_missing(&mut text).unwrap();
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
}
