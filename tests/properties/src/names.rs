//! The names in the ZIP: derived from the rows, and safe on every file system and in every reader.

use std::collections::HashSet;
use std::io::{Cursor, Read};
use std::sync::LazyLock;

use futures_util::FutureExt;
use futures_util::io::AllowStdIo;
use process_bdr_job::archive::documents::{Metadata, MetadataWriter};
use process_bdr_job::artwork::{Formats, VaultUrls, plan};
use process_bdr_job::load::{MissingPost, Post};
use serde_json::Value;
use shared::sqid::SqidSource;
use time::OffsetDateTime;
use zip::ZipArchive;
use zip_to_s3::zip::{Deflated, Packing, ZipWriter};

/// Longest file name on common file systems, in bytes (ext4, APFS; NTFS allows more).
const MAX_NAME: usize = 255;

/// The columns of a post on which names depend.
#[derive(Debug, Clone)]
pub struct PostRow {
    /// `posts.id`.
    pub id: i64,
    /// `posts.public_sqid`.
    pub sqid: Option<String>,
    /// `posts.file_format`.
    pub file_format: Option<String>,
    /// `posts.title`.
    pub title: String,
}

/// A ZIP made from rows, and its expected entries.
pub struct Made {
    /// The ZIP.
    pub zip: Vec<u8>,
    /// Names and contents, in order.
    pub entries: Vec<(String, Vec<u8>)>,
}

/// Checks the rows in the input: the artist's handle, then sqid, format and title of each post,
/// each ended by a byte that does not occur in UTF-8.
pub fn check(input: &[u8]) {
    let mut texts = input.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let handle = texts.next().unwrap_or_default();
    let texts: Vec<_> = texts.map(std::borrow::Cow::into_owned).collect();
    let rows: Vec<PostRow> = (1..)
        .zip(texts.chunks(3))
        .map(|(id, texts)| PostRow {
            id,
            sqid: texts.first().filter(|sqid| !sqid.is_empty()).cloned(),
            file_format: texts.get(1).cloned(),
            title: texts.get(2).cloned().unwrap_or_default(),
        })
        .collect();
    let _ = check_rows(&handle, &rows);
}

/// Checks that no entry leaves its folder, equals another one on a case-insensitive file system, is
/// a device on Windows or is too long, and that the archive returns the files that were added.
#[must_use]
pub fn check_rows(handle: &str, rows: &[PostRow]) -> Made {
    let posts: Vec<Result<Post, MissingPost>> = rows.iter().map(|row| Ok(post(row))).collect();
    let mut metadata = Metadata::new(OffsetDateTime::UNIX_EPOCH, handle, posts.len());
    let mut entries = Vec::new();
    for plan in plan(&posts, VaultUrls::default(), FORMATS.clone()) {
        match plan {
            Ok(planned) => {
                let filename = &planned.name.filename;
                check_name(filename);
                let content = format!("{} is {}", filename, planned.post.id).into_bytes();
                let packing = Packing::of(&planned.name.extension);
                entries.push((format!("artworks/{filename}"), packing, content));
                metadata.add(planned, None);
            }
            Err(missing) => metadata.add_missing(&missing),
        }
    }
    assert_eq!(metadata.artworks() + metadata.missing(), rows.len());
    let time = OffsetDateTime::UNIX_EPOCH;
    let mut json = MetadataWriter::new(Vec::new(), time, handle, metadata.artworks()).unwrap();
    json.add(&metadata).and_then(|()| json.begin_missing()).unwrap();
    json.add_missing(&metadata).unwrap();
    let json = json.finish().unwrap();
    let zip = write(&entries, &json);
    let artworks = entries.into_iter().map(|(name, _, content)| (name, content));
    let entries: Vec<_> = artworks.chain([(METADATA.to_owned(), json)]).collect();
    let on_disk: HashSet<String> = entries.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(on_disk.len(), entries.len(), "two entries differ only in case");
    let made = Made { zip, entries };
    check_archive(&made);
    check_metadata(&made, handle, rows);
    made
}

/// Some extensions that a desktop executes or opens in a browser.
const EXECUTED: [&str; 16] = [
    "exe", "com", "bat", "cmd", "scr", "hta", "lnk", "js", "vbs", "ps1", "jar", "msi", "app",
    "desktop", "html", "svg",
];
const METADATA: &str = "metadata.json";

/// A small alphabet, so that derived ids collide with stored ones.
static SQIDS: LazyLock<SqidSource> = LazyLock::new(|| SqidSource::new(Some("NULconab")).unwrap());

/// The built-in formats, and those that the corpus and the generated rows name besides them.
static FORMATS: LazyLock<Formats> = LazyLock::new(|| {
    let extra = ["k", "s", "i", "t", "abcdefghij"];
    Formats::with_extra(extra.map(str::to_owned).into())
});

fn post(row: &PostRow) -> Post {
    Post {
        id: row.id,
        sqid: SQIDS.sqid(row.sqid.as_deref(), row.id),
        title: Some(row.title.clone()),
        description: Some(row.title.clone()),
        hashtags: vec![row.title.clone()],
        mod_hashtags: None,
        license: None,
        source_url: None,
        art_url: Some("/vault/x".to_owned()),
        file_format: row.file_format.clone(),
        width: None,
        height: None,
        frame_count: None,
        created_at: None,
    }
}

/// Checks that a name is one file in its folder on every file system.
fn check_name(name: &str) {
    assert!((1..=MAX_NAME).contains(&name.len()), "{name:?}");
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    assert!(name.chars().all(harmless), "{name:?}");
    assert!(!name.starts_with(['.', '-']) && !name.ends_with('.'), "{name:?}");
    assert!(!is_device(name), "{name:?}");
    let extension = name.rsplit('.').next().unwrap_or_default();
    assert!(!EXECUTED.contains(&extension), "{name:?}");
}

/// Returns whether Windows treats a name as a device ("Naming Files, Paths, and Namespaces"). The
/// part before the first dot decides, without trailing spaces.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let is_port = |port: &str| {
        let mut number = stem.strip_prefix(port).unwrap_or_default().chars();
        matches!((number.next(), number.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" | "CLOCK$")
        || is_port("COM")
        || is_port("LPT")
}

fn write(artworks: &[(String, Packing, Vec<u8>)], json: &[u8]) -> Vec<u8> {
    let written = async {
        let mut archive = ZipWriter::new(AllowStdIo::new(Cursor::new(Vec::new())));
        for (name, packing, content) in artworks {
            archive.add(name, Some(OffsetDateTime::UNIX_EPOCH), *packing, content).await.unwrap();
        }
        let json = Deflated::new(|writer| writer.write_all(json)).unwrap();
        archive.add_deflated(METADATA, OffsetDateTime::UNIX_EPOCH, &json).await.unwrap();
        archive.close().await.unwrap().into_inner().into_inner()
    };
    written.now_or_never().expect("a sink in memory never waits")
}

/// Checks that another library reads the same names and bytes, and would extract them into its
/// folder.
fn check_archive(made: &Made) {
    let mut archive = ZipArchive::new(Cursor::new(&made.zip[..])).unwrap();
    assert_eq!(archive.len(), made.entries.len());
    for (index, (name, content)) in made.entries.iter().enumerate() {
        let mut entry = archive.by_index(index).unwrap();
        assert_eq!(entry.name().unwrap(), name.as_str());
        assert_eq!(entry.enclosed_name().unwrap().to_str(), Some(name.as_str()));
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert_eq!(read, *content, "{name}");
    }
}

/// Checks that `metadata.json` lists every row as present or missing, with exact title and handle.
fn check_metadata(made: &Made, handle: &str, rows: &[PostRow]) {
    let (_, json) = made.entries.last().unwrap();
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["user_handle"], handle);
    let list = |name: &str| json[name].as_array().unwrap().clone();
    let listed: Vec<Value> = [list("artworks"), list("missing_artworks")].concat();
    for row in rows {
        assert!(listed.iter().any(|entry| entry["title"] == row.title.as_str()), "{row:?}");
    }
    for (entry, (name, _)) in list("artworks").iter().zip(&made.entries) {
        assert_eq!(format!("artworks/{}", entry["filename"].as_str().unwrap()), *name);
    }
}
