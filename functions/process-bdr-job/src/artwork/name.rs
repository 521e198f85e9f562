//! The file name of an artwork in the archive: `artworks/{post_sqid}.{ext}`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use shared::sqid::Sqid;

/// The name of an artwork's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// The file's name within `artworks/`; `filename` in `metadata.json`.
    pub filename: String,
    /// Its extension: the artwork's file format.
    pub extension: String,
}

/// The names used so far in one archive, without regard to case: sqids are case-sensitive, many file systems
/// are not. It keeps their hashes, because a million names would take 60 MB. Of two names with one hash, the
/// later gets the post's id without need.
#[derive(Default)]
pub(crate) struct Names(HashSet<u64>);

impl Names {
    /// Returns the names of an archive in which these are used.
    pub(super) fn with(taken: &[String]) -> Self {
        Self(taken.iter().map(|name| hash(name)).collect())
    }

    /// Returns the name of the next artwork. A name that is used or reserved on Windows gets the
    /// post's id.
    pub(super) fn name(&mut self, sqid: &Sqid, post_id: i64, extension: String) -> EntryName {
        let mut filename = format!("{sqid}.{extension}");
        if is_reserved(sqid.as_str()) || self.0.contains(&hash(&filename)) {
            // A sqid has no underscore, so this name is unused.
            filename = format!("{sqid}_{post_id}.{extension}");
        }
        self.0.insert(hash(&filename));
        EntryName { filename, extension }
    }
}

/// Returns the hash of a name in lower case.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.bytes().map(|byte| byte.to_ascii_lowercase()).for_each(|byte| byte.hash(&mut hasher));
    hasher.finish()
}

/// Returns whether Windows reserves this stem for a device, regardless of the extension ("Naming Files,
/// Paths, and Namespaces").
pub(crate) fn is_reserved(stem: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        _ => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|port| port.len() == 1 && port.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

#[cfg(test)]
mod tests {
    use shared::sqid::Sqid;

    use super::Names;

    fn name(names: &mut Names, sqid: &str, id: i64, extension: &str) -> String {
        names.name(&Sqid::parse(sqid).unwrap(), id, extension.to_owned()).filename
    }

    #[test]
    fn ambiguous_and_reserved_names_get_the_post_id() {
        let mut names = Names::default();
        assert_eq!(name(&mut names, "aB", 1, "png"), "aB.png");
        assert_eq!(name(&mut names, "Ab", 2, "png"), "Ab_2.png");
        assert_eq!(name(&mut names, "Ab", 3, "gif"), "Ab.gif");
        assert_eq!(name(&mut names, "NUL", 4, "png"), "NUL_4.png");
        assert_eq!(name(&mut names, "com7", 5, "png"), "com7_5.png");
        assert_eq!(name(&mut names, "com77", 6, "png"), "com77.png");
    }
}
