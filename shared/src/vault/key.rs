//! The keys of the vault's bucket. No other module builds keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::sqid::Sqid;

/// The prefix of the ZIPs. Artworks have other keys.
pub(super) const ARCHIVE_PREFIX: &str = "bdr/";
/// The end of the key of a mark. A public id has no `.`, so no ZIP and no artist has such a key.
const EMAIL_MARK_SUFFIX: &str = ".email-due";
/// The prefixes of a `posts.art_url` that refers to an object of the vault.
const VAULT_PATHS: [&str; 2] = ["/vault/", "/api/vault/"];
/// Maximum length of a key, in bytes (Amazon S3, "Object key naming guidelines").
const MAX_KEY_LENGTH: usize = 1024;

/// The key of an artwork's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtworkKey(String);

/// The key of a request's ZIP: `bdr/{user_sqid}/{bdr_id}.zip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveKey(String);

/// The key of the mark of an e-mail that is due: `bdr/{bdr_id}.email-due`. It depends on the id alone,
/// because the row may not name the artist's public id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailMarkKey(String);

/// A large export: an execution of the state machine for one request. Its keys, except that of its ZIP,
/// are `bdr/{user_sqid}/{bdr_id}/{token}/...`, with the fencing token in microseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The request.
    pub bdr_id: Uuid,
    /// The public id of its artist.
    pub user_sqid: Sqid,
    /// The fencing token of the attempt that began it, or of the operator who resumed it, in microseconds
    /// since 1970.
    pub token: i64,
    /// The span of that attempt, if tracing is on: the header that continues its trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The token of the first export whose plan and segments this one continues, if an operator resumed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<i64>,
}

/// The key of an object that exists only while a large export runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportKey(String);

/// A set of keys under `bdr/` that an erasure deletes: those of a user, or of a request. Those of a
/// request are its ZIP and everything under `bdr/{user_sqid}/{bdr_id}/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasable {
    /// The prefix of a listing, which may also list other keys.
    prefix: String,
    bdr_id: Option<Uuid>,
}

/// An `art_url` in the vault that is not the key of an artwork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the art_url is not the key of an artwork in the vault")]
pub struct InvalidArtworkKey;

impl ArtworkKey {
    /// Parses an `art_url`: `/vault/8c/4f/x.png` and `/api/vault/8c/4f/x.png` are the key
    /// `8c/4f/x.png`. Returns `None` for any other form.
    ///
    /// # Errors
    /// When the key is empty, too long, has a `.` or `..` segment or control characters, or is
    /// under `bdr/`, where the archives of other artists are.
    ///
    /// ```
    /// use shared::vault::ArtworkKey;
    /// let key = ArtworkKey::from_art_url("/vault/vault.png").unwrap().unwrap();
    /// assert_eq!(key.as_str(), "vault.png");
    /// assert!(ArtworkKey::from_art_url("https://example.org/x.png").is_none());
    /// assert!(ArtworkKey::from_art_url("/vault/bdr/u1/other.zip").unwrap().is_err());
    /// ```
    #[must_use]
    pub fn from_art_url(art_url: &str) -> Option<Result<Self, InvalidArtworkKey>> {
        Some(Self::parse(VAULT_PATHS.iter().find_map(|path| art_url.strip_prefix(path))?))
    }

    /// Parses a key.
    ///
    /// # Errors
    /// As [`ArtworkKey::from_art_url`].
    pub fn parse(key: &str) -> Result<Self, InvalidArtworkKey> {
        let is_invalid = key.is_empty()
            || key.len() > MAX_KEY_LENGTH
            || key.chars().any(char::is_control)
            || key.split('/').any(|segment| segment == "." || segment == "..")
            || key.trim_start_matches('/').starts_with(ARCHIVE_PREFIX);
        if is_invalid { Err(InvalidArtworkKey) } else { Ok(Self(key.to_owned())) }
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ArchiveKey {
    /// Creates the key of the ZIP of a request.
    #[must_use]
    pub fn new(user: &Sqid, bdr_id: Uuid) -> Self {
        Self(format!("{ARCHIVE_PREFIX}{user}/{bdr_id}.zip"))
    }

    /// Parses a key of this form, such as a row's `file_path` or the key of an object under `bdr/`.
    /// Returns `None` for another key; such an object must not be deleted.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (user, file) = key.strip_prefix(ARCHIVE_PREFIX)?.split_once('/')?;
        let bdr_id = Uuid::parse_str(file.strip_suffix(".zip")?).ok()?;
        let archive = Self::new(&Sqid::parse(user)?, bdr_id);
        (archive.as_str() == key).then_some(archive)
    }

    /// Returns the public id of the user in the key.
    #[must_use]
    pub fn user(&self) -> Option<Sqid> {
        let (user, _) = self.0.strip_prefix(ARCHIVE_PREFIX)?.split_once('/')?;
        Sqid::parse(user)
    }

    /// Returns the request of the ZIP.
    #[must_use]
    pub fn bdr_id(&self) -> Option<Uuid> {
        let (_, file) = self.0.rsplit_once('/')?;
        Uuid::parse_str(file.strip_suffix(".zip")?).ok()
    }

    /// Returns the key as text, which is also the row's `file_path`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Export {
    /// Creates the export that the attempt with this fencing token begins.
    #[must_use]
    pub fn new(user: &Sqid, bdr_id: Uuid, token: OffsetDateTime) -> Self {
        let (user_sqid, token) = (user.clone(), micros(token));
        Self { bdr_id, user_sqid, token, traceparent: None, resumes: None }
    }

    /// Returns the export that continues this one with another fencing token.
    #[must_use]
    pub fn resumed(&self, token: OffsetDateTime) -> Self {
        let resumes = Some(self.resumes.unwrap_or(self.token));
        Self { token: micros(token), resumes, ..self.clone() }
    }

    /// Returns whether this attempt began the export.
    #[must_use]
    pub fn is_of(&self, token: OffsetDateTime) -> bool {
        micros(token) == self.token
    }

    /// Returns the name of the execution, unique for each export.
    #[must_use]
    pub fn execution_name(&self) -> String {
        format!("{}-{}", self.bdr_id, self.token)
    }

    /// Returns the key of the ZIP.
    #[must_use]
    pub fn archive(&self) -> ArchiveKey {
        ArchiveKey::new(&self.user_sqid, self.bdr_id)
    }

    /// Returns the key of the plan.
    #[must_use]
    pub fn plan(&self) -> ExportKey {
        self.key("plan.json")
    }

    /// Returns the key of the posts of a segment.
    #[must_use]
    pub fn posts(&self, segment: u32) -> ExportKey {
        self.key(&format!("posts-{segment:05}.json"))
    }

    /// Returns the key of a segment of the ZIP.
    #[must_use]
    pub fn segment(&self, segment: u32) -> ExportKey {
        self.key(&format!("segment-{segment:05}"))
    }

    /// Returns the key of the manifest of a segment.
    #[must_use]
    pub fn manifest(&self, segment: u32) -> ExportKey {
        self.key(&format!("manifest-{segment:05}.json"))
    }

    /// Returns the prefix of the keys of the export, except that of its ZIP.
    pub(super) fn prefix(&self) -> String {
        let Self { bdr_id, user_sqid, token, resumes, .. } = self;
        format!("{ARCHIVE_PREFIX}{user_sqid}/{bdr_id}/{}/", resumes.unwrap_or(*token))
    }

    fn key(&self, name: &str) -> ExportKey {
        ExportKey(format!("{}{name}", self.prefix()))
    }
}

/// Returns the name of the execution of the export that the attempt with this fencing token began, of at
/// most 80 characters (AWS Step Functions, "`StartExecution`").
#[must_use]
pub fn execution_name(bdr_id: Uuid, token: OffsetDateTime) -> String {
    format!("{bdr_id}-{}", micros(token))
}

/// Returns a fencing token in microseconds since 1970.
fn micros(token: OffsetDateTime) -> i64 {
    i64::try_from(token.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

impl ExportKey {
    /// Returns the request whose export has this key; `None` for the key of another object.
    #[must_use]
    pub fn parse(key: &str) -> Option<Uuid> {
        let mut places = key.strip_prefix(ARCHIVE_PREFIX)?.split('/');
        Sqid::parse(places.next()?)?;
        let bdr_id = Uuid::parse_str(places.next()?).ok()?;
        let token: i64 = places.next()?.parse().ok()?;
        let is_name = places.next().is_some_and(|name| !name.is_empty());
        let is_whole = places.next().is_none() && key.contains(&format!("/{bdr_id}/{token}/"));
        (is_name && is_whole).then_some(bdr_id)
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ArchiveKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl EmailMarkKey {
    /// Creates the key of the mark of a request.
    pub(super) fn new(bdr_id: Uuid) -> Self {
        Self(format!("{ARCHIVE_PREFIX}{bdr_id}{EMAIL_MARK_SUFFIX}"))
    }

    /// Returns the request whose mark has this key; `None` for the key of another object.
    #[must_use]
    pub fn parse(key: &str) -> Option<Uuid> {
        let id = key.strip_prefix(ARCHIVE_PREFIX)?.strip_suffix(EMAIL_MARK_SUFFIX)?;
        let bdr_id = Uuid::parse_str(id).ok()?;
        (Self::new(bdr_id).0 == key).then_some(bdr_id)
    }

    /// Returns the key as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailMarkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Erasable {
    /// The keys of a user.
    #[must_use]
    pub fn of_user(user: &Sqid) -> Self {
        Self { prefix: format!("{ARCHIVE_PREFIX}{user}/"), bdr_id: None }
    }

    /// The keys of a request of this user.
    #[must_use]
    pub fn of_request(user: &Sqid, bdr_id: Uuid) -> Self {
        Self { prefix: format!("{ARCHIVE_PREFIX}{user}/{bdr_id}"), bdr_id: Some(bdr_id) }
    }

    /// The keys of a request whose user is unknown. Its listing has every key under `bdr/`.
    #[must_use]
    pub fn of_request_of_any_user(bdr_id: Uuid) -> Self {
        Self { prefix: ARCHIVE_PREFIX.to_owned(), bdr_id: Some(bdr_id) }
    }

    /// Returns the prefix of a listing that has all of these keys, and possibly others.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns whether `key` is one of these keys.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        let Some(bdr_id) = self.bdr_id else { return key.starts_with(&self.prefix) };
        let under_user = key
            .strip_prefix(ARCHIVE_PREFIX)
            .filter(|_| key.starts_with(&self.prefix))
            .and_then(|key| key.split_once('/'))
            .filter(|(user, _)| Sqid::parse(user).is_some());
        under_user
            .and_then(|(_, rest)| rest.strip_prefix(&bdr_id.to_string()))
            .is_some_and(|rest| rest == ".zip" || rest.starts_with('/'))
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
    use super::{ArchiveKey, ArtworkKey, Erasable, Export, ExportKey, InvalidArtworkKey};
    use crate::sqid::Sqid;

    #[test]
    fn the_url_prefix_is_stripped_as_a_prefix() {
        for (art_url, key) in [
            ("/vault/8c/4f/2a/x.png", "8c/4f/2a/x.png"),
            ("/vault/tavult/a.png", "tavult/a.png"),
            ("/vault/bdrx/a.png", "bdrx/a.png"),
            ("/vault/ä ü.png", "ä ü.png"),
            ("/api/vault/24/07/x.png", "24/07/x.png"),
            ("/api/vault/vault/x.png", "vault/x.png"),
        ] {
            assert_eq!(ArtworkKey::from_art_url(art_url).unwrap().unwrap().as_str(), key);
        }
    }

    #[test]
    fn a_key_outside_the_artworks_is_rejected() {
        for art_url in [
            "/vault/",
            "/vault/../secret",
            "/vault/a/../../b",
            "/vault/a/./b",
            "/vault/bdr/u/other.zip",
            "/vault//bdr/u/other.zip",
            "/vault/a\nb",
            "/api/vault/",
            "/api/vault/../secret",
            "/api/vault/bdr/u/other.zip",
            &format!("/vault/{}", "a".repeat(1025)),
        ] {
            assert_eq!(
                ArtworkKey::from_art_url(art_url),
                Some(Err(InvalidArtworkKey)),
                "{art_url}"
            );
        }
    }

    #[test]
    fn an_archive_key_contains_its_artist() {
        let key = ArchiveKey::new(&Sqid::parse("u5Kx").unwrap(), uuid::Uuid::nil());
        assert_eq!(key.as_str(), "bdr/u5Kx/00000000-0000-0000-0000-000000000000.zip");
        assert_eq!(ArchiveKey::parse(key.as_str()), Some(key.clone()));
        assert_eq!(key.user(), Sqid::parse("u5Kx"));
    }

    #[test]
    fn an_erasure_covers_the_keys_of_its_user_or_request_only() {
        let (user, id) = (Sqid::parse("u5").unwrap(), uuid::Uuid::from_u128(7));
        let (zip, segment) = (format!("bdr/u5/{id}.zip"), format!("bdr/u5/{id}/segment-1"));
        let (of_user, of_request) = (Erasable::of_user(&user), Erasable::of_request(&user, id));
        let of_any = Erasable::of_request_of_any_user(id);
        for scope in [&of_user, &of_request, &of_any] {
            assert!(scope.contains(&zip) && scope.contains(&segment), "{scope:?}");
        }
        let of_another_user = format!("bdr/u5x/{id}.zip");
        assert!(of_user.contains("bdr/u5/anything") && of_any.contains(&of_another_user));
        for key in [
            of_another_user,
            format!("bdr/U5/{id}.zip"),
            "bdr/u5.zip".to_owned(),
            "u5/artwork.png".to_owned(),
        ] {
            assert!(!of_user.contains(&key) && !of_request.contains(&key), "{key}");
        }
        for key in [
            format!("bdr/u5/{id}.zip.bak"),
            format!("bdr/u5/{id}x.zip"),
            format!("bdr/u5/x/{id}.zip"),
            format!("bdr/{id}.zip"),
            format!("bdr//{id}.zip"),
            format!("8c/u5/{id}.zip"),
            format!("bdr/u5/{}.zip", uuid::Uuid::from_u128(8)),
        ] {
            assert!(!of_request.contains(&key) && !of_any.contains(&key), "{key}");
        }
    }

    #[test]
    fn the_keys_of_an_export_name_its_request_and_token() {
        let (user, id) = (Sqid::parse("u5").unwrap(), uuid::Uuid::from_u128(7));
        let token = time::OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(1_234_567);
        let export = Export::new(&user, id, token);
        let keys = [export.plan(), export.posts(0), export.segment(12), export.manifest(3)];
        assert_eq!(keys[2].as_str(), format!("bdr/u5/{id}/1234567/segment-00012"));
        for key in &keys {
            assert_eq!(ExportKey::parse(key.as_str()), Some(id));
            assert!(Erasable::of_request(&user, id).contains(key.as_str()));
        }
        assert!(export.is_of(token) && export.execution_name().len() <= 80);
        let later = token + time::Duration::microseconds(1);
        assert!(!export.is_of(later));
        let resumed = export.resumed(later).resumed(later + time::Duration::microseconds(1));
        assert_eq!((resumed.plan(), resumed.token), (export.plan(), 1_234_569));
        assert_eq!(super::execution_name(id, token), export.execution_name());
        for key in [
            export.archive().as_str().to_owned(),
            format!("bdr/u5/{id}/1234567/"),
            format!("bdr/u5/{id}/01/plan.json"),
            format!("bdr/u5/{id}/x/plan.json"),
            format!("bdr/u5/{id}/1/a/plan.json"),
            format!("bdr/{id}/1/plan.json"),
        ] {
            assert_eq!(ExportKey::parse(&key), None, "{key}");
        }
    }

    #[test]
    fn another_key_is_not_parsed_as_an_archive() {
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
