//! The file formats of artworks, which become the extensions of files in the archive.
//!
//! An artist opens the unpacked files with a double click. So an extension that a desktop executes, or
//! opens in a browser, never enters an archive, whatever a row says.

use std::collections::HashSet;
use std::sync::Arc;

use super::Source;
use crate::missing::{Missing, MissingCode};

/// Formats that are accepted from the web without `EXTRA_FORMATS`. Each has a signature.
const WEB: [&str; 6] = ["png", "gif", "webp", "bmp", "jpeg", "jpg"];
/// Image formats that are accepted from the vault in addition to [`WEB`] without `EXTRA_FORMATS`.
const VAULT: [&str; 10] =
    ["apng", "jxl", "avif", "heic", "heif", "tif", "tiff", "qoi", "tga", "ico"];
/// Video formats that are accepted from the vault without `EXTRA_FORMATS`.
const VIDEOS: [&str; 6] = ["mp4", "m4v", "webm", "mov", "mkv", "avi"];
/// Extensions that `EXTRA_FORMATS` may not name: files that a desktop executes, installs, mounts or
/// treats as a link, and pages that a browser executes (Windows: `PATHEXT` and the list of high-risk
/// file types of the Attachment Manager, KB 883260).
const EXECUTABLE: &[&str] = &[
    // Windows.
    "ade", "adp", "appx", "bas", "bat", "cer", "chm", "cmd", "com", "cpl", "crt", "diagcab", "dll",
    "drv", "exe", "gadget", "hlp", "hta", "inf", "ins", "iqy", "isp", "its", "jar", "jnlp", "js",
    "jse", "lnk", "mad", "maf", "mda", "mdb", "mde", "mdt", "mdw", "mdz", "msc", "msh", "msi",
    "msix", "msp", "mst", "ocx", "pcd", "pif", "prf", "ps1", "psd1", "psm1", "reg", "scf", "scr",
    "sct", "shb", "shs", "sys", "theme", "url", "vb", "vbe", "vbs", "vsw", "website", "wsc", "wsf",
    "wsh", "xbap", "xll", //
    // macOS.
    "action", "app", "command", "dmg", "fileloc", "inetloc", "mpkg", "pkg", "scpt", "terminal",
    "webloc", "workflow", //
    // Linux.
    "appimage", "bash", "bin", "deb", "desktop", "elf", "out", "pl", "py", "pyw", "rb", "rpm",
    "run", "sh", "so", //
    // Pages.
    "htm", "html", "mht", "mhtml", "shtml", "svg", "svgz", "swf", "xht", "xhtml", "xml", "xsl",
];
/// Maximum length of an extension, in characters.
const MAX_EXTENSION: usize = 10;

/// The accepted file formats.
#[derive(Debug, Clone, Default)]
pub struct Formats {
    extra: Arc<HashSet<String>>,
}

impl Formats {
    /// Returns the built-in formats and those of `EXTRA_FORMATS`.
    #[must_use]
    pub fn with_extra(extra: HashSet<String>) -> Self {
        Self { extra: Arc::new(extra) }
    }

    /// Returns the extension of a file from `source` whose post has this `file_format`. Without a
    /// `file_format` it is the accepted extension of the source's path, else `png`.
    ///
    /// # Errors
    /// When the format is not accepted. Permanent: another attempt changes neither the row nor
    /// `EXTRA_FORMATS`.
    pub(super) fn extension(
        &self,
        source: &Source,
        file_format: Option<&str>,
    ) -> Result<String, Missing> {
        let accepts = |format: &String| self.accepts(source, format);
        let Some(format) = file_format.filter(|format| !format.is_empty()) else {
            return Ok(source.extension().filter(accepts).unwrap_or_else(|| "png".to_owned()));
        };
        let extension = format.strip_prefix('.').unwrap_or(format).to_lowercase();
        Some(extension)
            .filter(accepts)
            .ok_or_else(|| Missing::permanent(MissingCode::UnsupportedFormat))
    }

    fn accepts(&self, source: &Source, format: &str) -> bool {
        let is_in_vault = matches!(source, Source::Vault(_));
        WEB.contains(&format)
            || (is_in_vault && (VAULT.contains(&format) || is_video(format)))
            || self.extra.contains(format)
    }
}

/// Returns whether a file with this extension is a video.
pub(crate) fn is_video(extension: &str) -> bool {
    VIDEOS.contains(&extension)
}

/// Returns whether `EXTRA_FORMATS` may name `text`: 1 to 10 lower-case letters and digits, and no
/// extension that a desktop executes.
pub(crate) fn is_extra_format(text: &str) -> bool {
    (1..=MAX_EXTENSION).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && !EXECUTABLE.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::super::{Source, VaultUrls};
    use super::{EXECUTABLE, Formats, VAULT, WEB, is_extra_format};

    fn formats(extra: &[&str]) -> Formats {
        Formats::with_extra(extra.iter().map(|&format| format.to_owned()).collect())
    }

    fn of_vault(extra: &[&str], file_format: Option<&str>) -> Option<String> {
        let source = Source::of(Some("/vault/a"), &VaultUrls::default()).unwrap();
        formats(extra).extension(&source, file_format).ok()
    }

    fn of_web(extra: &[&str], file_format: Option<&str>) -> Option<String> {
        let source = Source::of(Some("https://x.org/a"), &VaultUrls::default()).unwrap();
        formats(extra).extension(&source, file_format).ok()
    }

    #[test]
    fn a_format_yields_an_extension_or_an_error() {
        for (format, expected) in [
            (None, Some("png")),
            (Some(".GIF"), Some("gif")),
            (Some("webp"), Some("webp")),
            (Some(""), Some("png")),
            (Some("."), None),
            (Some("..png"), None),
            (Some("../../etc/passwd"), None),
            (Some("png\0"), None),
            (Some("png "), None),
            (Some("tar.gz"), None),
            (Some("abcdefghijk"), None),
            (Some("pñg"), None),
            (Some("\u{212a}"), Some("k")), // KELVIN SIGN lower-cases to an ASCII k
        ] {
            assert_eq!(of_vault(&["k"], format).as_deref(), expected, "{format:?}");
            assert_eq!(of_web(&["k"], format).as_deref(), expected, "{format:?}");
        }
    }

    #[test]
    fn an_extension_that_a_desktop_executes_is_an_error() {
        for format in EXECUTABLE.iter().copied().chain(["docm", "zip", "txt", "unknown"]) {
            for spelling in [format.to_owned(), format.to_uppercase(), format!(".{format}")] {
                assert_eq!(of_vault(&[], Some(&spelling)), None, "{spelling}");
                assert_eq!(of_web(&[], Some(&spelling)), None, "{spelling}");
            }
            let source =
                Source::of(Some(&format!("/vault/a.{format}")), &VaultUrls::default()).unwrap();
            assert_eq!(formats(&[]).extension(&source, None).unwrap(), "png", "{format}");
        }
    }

    #[test]
    fn the_vault_accepts_more_formats_than_the_web() {
        for format in WEB {
            assert_eq!(of_vault(&[], Some(format)).as_deref(), Some(format));
            assert_eq!(of_web(&[], Some(format)).as_deref(), Some(format));
        }
        for format in VAULT {
            assert_eq!(of_vault(&[], Some(format)).as_deref(), Some(format));
            assert_eq!(of_web(&[], Some(format)), None, "{format}");
            assert_eq!(of_web(&[format], Some(format)).as_deref(), Some(format));
        }
        for format in ["svg", "html", "apng"] {
            assert_eq!(of_web(&["avif"], Some(format)), None, "{format}");
        }
    }

    #[test]
    fn without_a_format_the_accepted_extension_of_the_path_counts() {
        for (art_url, expected) in [
            ("/vault/a.gif", "gif"),
            ("/vault/a.MP4", "mp4"),
            ("/vault/a.exe", "png"),
            ("https://x.org/a.gif", "gif"),
            ("https://x.org/a.mp4", "png"),
            ("https://x.org/a.html", "png"),
        ] {
            let source = Source::of(Some(art_url), &VaultUrls::default()).unwrap();
            for format in [None, Some("")] {
                assert_eq!(formats(&[]).extension(&source, format).unwrap(), expected, "{art_url}");
            }
        }
    }

    #[test]
    fn extra_formats_are_harmless_extensions() {
        for format in ["k", "avif", "aseprite", "abcdefghij", "7z"] {
            assert!(is_extra_format(format), "{format}");
        }
        for format in
            EXECUTABLE.iter().copied().chain(["", "EXE", ".png", "abcdefghijk", "pñg", "a b"])
        {
            assert!(!is_extra_format(format), "{format}");
        }
        assert!(WEB.iter().chain(&VAULT).all(|format| is_extra_format(format)));
    }
}
