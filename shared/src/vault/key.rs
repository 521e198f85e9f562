//! The keys of the vault's bucket. They are built here and nowhere else.

use std::fmt;

use uuid::Uuid;

use crate::sqid::Sqid;

/// Where the ZIPs stand. Nobody's artwork does.
pub(super) const ARCHIVES: &str = "bdr/";
/// How `posts.art_url` marks an object of the vault.
const VAULT_URL: &str = "/vault/";
/// Longest key, in bytes (S3, "Object key naming guidelines").
const MAX_KEY: usize = 1024;

/// The key of an artwork's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtworkKey(String);

/// The key of a request's ZIP: `bdr/{user_sqid}/{bdr_id}.zip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveKey(String);

/// An `art_url` that points into the vault, but to nothing that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is no key of an artwork in the vault")]
pub struct BadArtworkKey;

impl ArtworkKey {
    /// Reads an `art_url`: `/vault/8c/4f/x.png` is the key `8c/4f/x.png`. `None` when it does not
    /// begin with `/vault/`.
    ///
    /// # Errors
    /// When the key is empty, too long, has a `..` segment or control characters, or lies under
    /// `bdr/`, where other people's archives are.
    ///
    /// ```
    /// use shared::vault::ArtworkKey;
    /// let key = ArtworkKey::from_art_url("/vault/vault.png").unwrap().unwrap();
    /// assert_eq!(key.as_str(), "vault.png");
    /// assert!(ArtworkKey::from_art_url("https://example.org/x.png").is_none());
    /// assert!(ArtworkKey::from_art_url("/vault/bdr/u1/other.zip").unwrap().is_err());
    /// ```
    #[must_use]
    pub fn from_art_url(art_url: &str) -> Option<Result<Self, BadArtworkKey>> {
        let key = art_url.strip_prefix(VAULT_URL)?;
        let bad = key.is_empty()
            || key.len() > MAX_KEY
            || key.chars().any(char::is_control)
            || key.split('/').any(|segment| segment == "." || segment == "..")
            || key.trim_start_matches('/').starts_with(ARCHIVES);
        Some(if bad { Err(BadArtworkKey) } else { Ok(Self(key.to_owned())) })
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ArchiveKey {
    /// The ZIP of this artist's request.
    #[must_use]
    pub fn new(user: &Sqid, bdr_id: Uuid) -> Self {
        Self(format!("{ARCHIVES}{user}/{bdr_id}.zip"))
    }

    /// Reads a key of this form, such as a row's `file_path` or the name of an object under `bdr/`.
    /// `None` when it is not one: then it is not ours to delete.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (user, file) = key.strip_prefix(ARCHIVES)?.split_once('/')?;
        let bdr_id = Uuid::parse_str(file.strip_suffix(".zip")?).ok()?;
        let archive = Self::new(&Sqid::parse(user)?, bdr_id);
        (archive.as_str() == key).then_some(archive)
    }

    /// The request whose ZIP this is.
    #[must_use]
    pub fn bdr_id(&self) -> Option<Uuid> {
        let (_, file) = self.0.rsplit_once('/')?;
        Uuid::parse_str(file.strip_suffix(".zip")?).ok()
    }

    /// The key as text; also the row's `file_path`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ArchiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{ArchiveKey, ArtworkKey, BadArtworkKey};
    use crate::sqid::Sqid;

    #[test]
    fn the_prefix_is_stripped_as_a_prefix_and_not_as_a_set_of_letters() {
        for (art_url, key) in [
            ("/vault/8c/4f/2a/x.png", "8c/4f/2a/x.png"),
            ("/vault/tavult/a.png", "tavult/a.png"),
            ("/vault/bdrx/a.png", "bdrx/a.png"),
            ("/vault/ä ü.png", "ä ü.png"),
        ] {
            assert_eq!(ArtworkKey::from_art_url(art_url).unwrap().unwrap().as_str(), key);
        }
    }

    #[test]
    fn nothing_but_artworks_can_be_named() {
        for art_url in [
            "/vault/",
            "/vault/../secret",
            "/vault/a/../../b",
            "/vault/a/./b",
            "/vault/bdr/u/other.zip",
            "/vault//bdr/u/other.zip",
            "/vault/a\nb",
            &format!("/vault/{}", "a".repeat(1025)),
        ] {
            assert_eq!(ArtworkKey::from_art_url(art_url), Some(Err(BadArtworkKey)), "{art_url}");
        }
    }

    #[test]
    fn an_archive_stands_under_its_artist() {
        let key = ArchiveKey::new(&Sqid::parse("u5Kx").unwrap(), uuid::Uuid::nil());
        assert_eq!(key.as_str(), "bdr/u5Kx/00000000-0000-0000-0000-000000000000.zip");
        assert_eq!(ArchiveKey::parse(key.as_str()), Some(key));
    }

    #[test]
    fn what_is_no_archive_is_not_taken_for_one() {
        let id = uuid::Uuid::nil();
        for key in [
            "8c/4f/x.png".to_owned(),
            "bdr/".to_owned(),
            format!("bdr/{id}.zip"),
            format!("bdr/u/{id}.ZIP"),
            format!("bdr/u/v/{id}.zip"),
            format!("bdr/../{id}.zip"),
            format!("/bdr/u/{id}.zip"),
            format!("bdr/u/{}.zip", id.simple()),
            "bdr/u/x.zip".to_owned(),
        ] {
            assert_eq!(ArchiveKey::parse(&key), None, "{key}");
        }
    }
}
