//! What an artwork is called in the ZIP: `artworks/{post_sqid}.{ext}`.

use std::collections::HashSet;

use shared::sqid::Sqid;

use super::Missing;
use crate::archive::Packing;

/// An artwork's name and packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The file's name within `artworks/`; `filename` in `metadata.json`.
    pub filename: String,
    /// Its extension: the artwork's file format.
    pub extension: String,
    /// Whether it is worth deflating.
    pub packing: Packing,
}

/// The names given so far in one ZIP, lower-cased: sqids are case-sensitive, many disks are not.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

/// Longest extension.
const MAX_EXTENSION: usize = 10;

impl Names {
    /// The name of the next artwork. One that is taken, or reserved on Windows, gets the post's id.
    ///
    /// # Errors
    /// When `file_format` makes no extension.
    pub(super) fn name(
        &mut self,
        sqid: &Sqid,
        post_id: i32,
        file_format: Option<&str>,
    ) -> Result<Packed, Missing> {
        let extension = extension(file_format).ok_or_else(not_supported)?;
        let mut filename = format!("{sqid}.{extension}");
        if is_reserved(sqid.as_str()) || self.0.contains(&filename.to_ascii_lowercase()) {
            // No sqid has an underscore, so this one is free.
            filename = format!("{sqid}_{post_id}.{extension}");
        }
        self.0.insert(filename.to_ascii_lowercase());
        let packing = if extension == "bmp" { Packing::DeflateFast } else { Packing::Store };
        Ok(Packed { filename, extension, packing })
    }
}

/// The extension that a `file_format` stands for: `png` when there is none or it is empty, a leading dot
/// tolerated, lower case, 1 to 10 letters and digits.
fn extension(file_format: Option<&str>) -> Option<String> {
    let format = file_format.filter(|format| !format.is_empty()).unwrap_or("png");
    let extension = format.strip_prefix('.').unwrap_or(format).to_lowercase();
    is_extension(&extension).then_some(extension)
}

/// What is said of an artwork whose format has no place in the ZIP.
pub(super) fn not_supported() -> Missing {
    Missing::permanent("This artwork's file format is not supported.")
}

/// Whether a text is an extension as names in the ZIP have it.
pub(crate) fn is_extension(text: &str) -> bool {
    (1..=MAX_EXTENSION).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether Windows takes a file of this stem for a device, whatever its extension ("Naming Files,
/// Paths, and Namespaces").
fn is_reserved(stem: &str) -> bool {
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

    use super::{Names, Packing};

    fn name(names: &mut Names, sqid: &str, id: i32, format: Option<&str>) -> Option<String> {
        names.name(&Sqid::parse(sqid).unwrap(), id, format).ok().map(|packed| packed.filename)
    }

    #[test]
    fn formats_become_extensions_or_nothing() {
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
    fn names_that_a_disk_would_confuse_get_the_posts_id() {
        let mut names = Names::default();
        assert_eq!(name(&mut names, "aB", 1, None).unwrap(), "aB.png");
        assert_eq!(name(&mut names, "Ab", 2, None).unwrap(), "Ab_2.png");
        assert_eq!(name(&mut names, "Ab", 3, Some("gif")).unwrap(), "Ab.gif");
        assert_eq!(name(&mut names, "NUL", 4, None).unwrap(), "NUL_4.png");
        assert_eq!(name(&mut names, "com7", 5, None).unwrap(), "com7_5.png");
        assert_eq!(name(&mut names, "com77", 6, None).unwrap(), "com77.png");
    }

    #[test]
    fn only_bitmaps_are_worth_deflating() {
        let sqid = Sqid::parse("a").unwrap();
        let packing = |format| Names::default().name(&sqid, 1, Some(format)).unwrap().packing;
        assert_eq!(packing("BMP"), Packing::DeflateFast);
        assert_eq!(packing("png"), Packing::Store);
    }
}
