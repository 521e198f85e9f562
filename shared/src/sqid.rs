//! Public ids of artists and artworks, used in keys, file names and links.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use sqids::Sqids;

use crate::config::ConfigError;

/// A public id that is safe in a key, a file name and a link: 1 to 64 ASCII letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Sqid(String);

/// Maximum length of a sqid, in bytes. Those of the site have about 10.
const MAX_LENGTH: usize = 64;

impl Sqid {
    /// Parses `text`. Returns `None` when it is not safe.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let safe = (1..=MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        safe.then(|| Self(text.to_owned()))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sqid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a public id"))
    }
}

impl fmt::Display for Sqid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A source of public ids: the stored id of a row, else the encoding of its numeric id.
#[derive(Debug, Clone, Default)]
pub struct SqidSource(Option<Sqids>);

impl SqidSource {
    /// Creates a source with the site's alphabet. Without an alphabet it returns stored ids only.
    ///
    /// # Errors
    /// When `SQIDS_ALPHABET` is invalid: it needs at least 3 distinct ASCII letters and digits.
    pub fn new(alphabet: Option<&str>) -> Result<Self, ConfigError> {
        // The encoded ids go into keys, file names and links.
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
                ConfigError::new("SQIDS_ALPHABET", format!("is not a valid alphabet: {error}"))
            })?;
        Ok(Self(sqids))
    }

    /// Returns `stored` (`public_sqid`) if it is set, else the encoding of `id`. Returns `None`
    /// when there is neither, or `stored` is not safe in a key or a file name.
    #[must_use]
    pub fn sqid(&self, stored: Option<&str>, id: i64) -> Option<Sqid> {
        if let Some(stored) = stored.filter(|stored| !stored.is_empty()) {
            return Sqid::parse(stored);
        }
        let id = u64::try_from(id).ok()?;
        Sqid::parse(&self.0.as_ref()?.encode(&[id]).ok()?)
    }

    /// Returns the id that `sqid` encodes. Returns `None` without an alphabet, and for a sqid that is
    /// the encoding of no id.
    #[must_use]
    pub fn id(&self, sqid: &Sqid) -> Option<i64> {
        let [id] = self.0.as_ref()?.decode(sqid.as_str())[..] else { return None };
        let id = i64::try_from(id).ok()?;
        // Several texts decode to the same id; one of them is its encoding.
        self.sqid(None, id).filter(|encoded| encoded == sqid).map(|_| id)
    }
}

#[cfg(test)]
mod tests {
    use super::SqidSource;

    #[test]
    fn a_stored_sqid_takes_precedence_even_if_it_is_unsafe() {
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
    fn only_the_encoding_of_an_id_is_decoded() {
        let source = SqidSource::new(Some("abcdefghijklmnopqrstuvwxyz0123456789")).unwrap();
        for id in [0, 7, i64::MAX] {
            assert_eq!(source.id(&source.sqid(None, id).unwrap()), Some(id));
        }
        let parse = |text: &str| super::Sqid::parse(text).unwrap();
        let decoded: Vec<_> =
            (0..9_999).filter_map(|n| Some((n, source.id(&parse(&n.to_string()))?))).collect();
        for (n, id) in decoded {
            assert_eq!(source.sqid(None, id).unwrap().as_str(), n.to_string());
        }
        assert_eq!(source.id(&parse("UPPER")), None, "not in the alphabet");
        assert_eq!(SqidSource::default().id(&parse("abc")), None);
    }

    #[test]
    fn the_error_of_an_invalid_alphabet_names_its_variable() {
        for alphabet in ["aa", "abc_", "abc-"] {
            let error = SqidSource::new(Some(alphabet)).unwrap_err().to_string();
            assert!(error.starts_with("environment variable SQIDS_ALPHABET"), "{error}");
        }
    }
}
