//! Public ids of artists and artworks, as they stand in keys, file names and links.

use std::fmt;

use serde::Serialize;
use sqids::Sqids;

use crate::config::ConfigError;

/// A public id that is safe in a key, a file name and a link: 1 to 64 ASCII letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Sqid(String);

/// Longest sqid accepted, in bytes; the real ones have about ten.
const LONGEST: usize = 64;

impl Sqid {
    /// Accepts `text` when it is a safe public id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let safe = (1..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        safe.then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sqid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Finds the public id of a row: its stored one, else the encoding of its numeric id.
#[derive(Debug, Clone, Default)]
pub struct SqidSource(Option<Sqids>);

impl SqidSource {
    /// With the site's alphabet, or without one: then only stored ids are found.
    ///
    /// # Errors
    /// When the alphabet is not one (`SQIDS_ALPHABET`: at least 3 distinct ASCII letters and digits).
    pub fn new(alphabet: Option<&str>) -> Result<Self, ConfigError> {
        // What it makes goes into keys, file names and links.
        if alphabet.is_some_and(|alphabet| !alphabet.bytes().all(|b| b.is_ascii_alphanumeric())) {
            let problem = "must be ASCII letters and digits";
            return Err(ConfigError::new("SQIDS_ALPHABET", problem));
        }
        let sqids = alphabet
            .map(|alphabet| {
                Sqids::builder().alphabet(alphabet.chars().collect()).min_length(0).build()
            })
            .transpose()
            .map_err(|error| {
                ConfigError::new("SQIDS_ALPHABET", format!("is no alphabet: {error}"))
            })?;
        Ok(Self(sqids))
    }

    /// `stored` (`public_sqid`) where it is there, else the encoding of `id`. `None` when there is
    /// neither, or when what is stored is unsafe in a key or a file name.
    #[must_use]
    pub fn sqid(&self, stored: Option<&str>, id: i32) -> Option<Sqid> {
        if let Some(stored) = stored.filter(|stored| !stored.is_empty()) {
            return Sqid::parse(stored);
        }
        let id = u64::try_from(id).ok()?;
        Sqid::parse(&self.0.as_ref()?.encode(&[id]).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::SqidSource;

    #[test]
    fn a_stored_sqid_wins_and_an_unsafe_one_is_never_replaced() {
        let source = SqidSource::new(Some("abcdefghijklmnopqrstuvwxyz0123456789")).unwrap();
        assert_eq!(source.sqid(Some("K7xQ"), 1).unwrap().as_str(), "K7xQ");
        assert_eq!(source.sqid(Some("../etc"), 1), None);
        assert_eq!(source.sqid(Some(&"a".repeat(65)), 1), None);
        assert!(source.sqid(None, 1).is_some());
        assert_eq!(source.sqid(Some(""), 7), source.sqid(None, 7));
        assert_eq!(source.sqid(None, -1), None);
        assert_eq!(SqidSource::default().sqid(None, 1), None);
    }

    #[test]
    fn an_unusable_alphabet_is_named() {
        for alphabet in ["aa", "abc_", "abc-"] {
            let error = SqidSource::new(Some(alphabet)).unwrap_err().to_string();
            assert!(error.starts_with("environment variable SQIDS_ALPHABET"), "{error}");
        }
    }
}
