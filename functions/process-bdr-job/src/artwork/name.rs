//! The file name of an artwork in the archive: `artworks/{post_sqid}.{ext}`.

use std::collections::HashSet;

use shared::sqid::Sqid;

use crate::missing::{Missing, MissingCode};

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

/// Maximum length of an extension, in characters.
const MAX_EXTENSION: usize = 10;

impl Names {
    /// Returns the name of the next artwork. A name that is used or reserved on Windows gets the
    /// post's id.
    ///
    /// # Errors
    /// When `file_format` yields no extension.
    pub(super) fn name(
        &mut self,
        sqid: &Sqid,
        post_id: i64,
        file_format: Option<&str>,
    ) -> Result<EntryName, Missing> {
        let extension = extension(file_format)
            .ok_or_else(|| Missing::permanent(MissingCode::UnsupportedFormat))?;
        let mut filename = format!("{sqid}.{extension}");
        if is_reserved(sqid.as_str()) || self.0.contains(&filename.to_ascii_lowercase()) {
            // A sqid has no underscore, so this name is unused.
            filename = format!("{sqid}_{post_id}.{extension}");
        }
        self.0.insert(filename.to_ascii_lowercase());
        Ok(EntryName { filename, extension })
    }
}

/// Returns the extension for a `file_format`: `png` when it is absent or empty, without a leading dot,
/// in lower case, 1 to 10 letters and digits.
fn extension(file_format: Option<&str>) -> Option<String> {
    let format = file_format.filter(|format| !format.is_empty()).unwrap_or("png");
    let extension = format.strip_prefix('.').unwrap_or(format).to_lowercase();
    is_extension(&extension).then_some(extension)
}

/// Returns whether `text` is an extension as file names in the archive have it.
pub(crate) fn is_extension(text: &str) -> bool {
    (1..=MAX_EXTENSION).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
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

    fn name(names: &mut Names, sqid: &str, id: i64, format: Option<&str>) -> Option<String> {
        names.name(&Sqid::parse(sqid).unwrap(), id, format).ok().map(|name| name.filename)
    }

    #[test]
    fn a_format_yields_an_extension_or_an_error() {
        for (format, expected) in [
            (None, Some("a.png")),
            (Some(".GIF"), Some("a.gif")),
            (Some("webp"), Some("a.webp")),
            (Some(""), Some("a.png")),
            (Some("."), None),
            (Some("..png"), None),
            (Some("../../etc/passwd"), None),
            (Some("png\0"), None),
            (Some("tar.gz"), None),
            (Some("abcdefghijk"), None),
            (Some("pñg"), None),
            (Some("\u{212a}"), Some("a.k")), // KELVIN SIGN lower-cases to an ASCII k
        ] {
            assert_eq!(
                name(&mut Names::default(), "a", 1, format).as_deref(),
                expected,
                "{format:?}"
            );
        }
    }

    #[test]
    fn ambiguous_and_reserved_names_get_the_post_id() {
        let mut names = Names::default();
        assert_eq!(name(&mut names, "aB", 1, None).unwrap(), "aB.png");
        assert_eq!(name(&mut names, "Ab", 2, None).unwrap(), "Ab_2.png");
        assert_eq!(name(&mut names, "Ab", 3, Some("gif")).unwrap(), "Ab.gif");
        assert_eq!(name(&mut names, "NUL", 4, None).unwrap(), "NUL_4.png");
        assert_eq!(name(&mut names, "com7", 5, None).unwrap(), "com7_5.png");
        assert_eq!(name(&mut names, "com77", 6, None).unwrap(), "com77.png");
    }
}
