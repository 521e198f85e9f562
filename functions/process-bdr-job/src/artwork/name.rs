//! The file name of an artwork in the archive: `artworks/{post_sqid}.{ext}`.

use std::collections::HashSet;

use shared::sqid::Sqid;

/// The name of an artwork's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// The file's name within `artworks/`; `filename` in `metadata.json`.
    pub filename: String,
    /// Its extension: the artwork's file format.
    pub extension: String,
}

/// The names used so far in one archive, in lower case: sqids are case-sensitive, many file systems
/// are not.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Returns the name of the next artwork. A name that is used or reserved on Windows gets the
    /// post's id.
    pub(super) fn name(&mut self, sqid: &Sqid, post_id: i64, extension: String) -> EntryName {
        let mut filename = format!("{sqid}.{extension}");
        if is_reserved(sqid.as_str()) || self.0.contains(&filename.to_ascii_lowercase()) {
            // A sqid has no underscore, so this name is unused.
            filename = format!("{sqid}_{post_id}.{extension}");
        }
        self.0.insert(filename.to_ascii_lowercase());
        EntryName { filename, extension }
    }
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
