//! The source of an artwork's file, derived from its `art_url` alone.

use shared::vault::ArtworkKey;
use url::Url;

use crate::missing::{Missing, MissingCode};

/// Maximum length of a URL, in bytes.
const MAX_URL: usize = 2048;

/// The source of an artwork's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An object of the vault.
    Vault(ArtworkKey),
    /// A URL on the web. Whether it may be requested is decided at each request.
    Remote(Url),
}

impl Source {
    /// Parses an `art_url`: `/vault/…` is a key, `http(s)://…` a remote URL.
    ///
    /// # Errors
    /// When it is absent or of another form. The artwork is permanently missing then.
    pub fn of(art_url: Option<&str>) -> Result<Self, Missing> {
        let art_url = art_url.ok_or_else(|| Missing::permanent(MissingCode::NoFile))?;
        if let Some(key) = ArtworkKey::from_art_url(art_url) {
            return key.map(Self::Vault).map_err(|_| unusable());
        }
        if art_url.len() > MAX_URL {
            return Err(unusable());
        }
        match Url::parse(art_url) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Remote(url)),
            _ => Err(unusable()),
        }
    }

    /// Returns the extension of the path, in lower case.
    pub(super) fn extension(&self) -> Option<String> {
        let path = match self {
            Self::Vault(key) => key.as_str(),
            Self::Remote(url) => url.path(),
        };
        let file = path.rsplit('/').next()?;
        file.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase())
    }
}

fn unusable() -> Missing {
    Missing::permanent(MissingCode::UnusableAddress)
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn an_art_url_is_a_key_a_url_or_an_error() {
        assert!(matches!(Source::of(Some("/vault/a.png")), Ok(Source::Vault(_))));
        assert!(matches!(Source::of(Some("https://x.org/a.png")), Ok(Source::Remote(_))));
        assert!(matches!(Source::of(Some("HTTP://x.org/a")), Ok(Source::Remote(_))));
        for unusable in [
            None,
            Some(""),
            Some("/vault/"),
            Some("vault/a.png"),
            Some("/etc/passwd"),
            Some("//x.org/a.png"),
            Some("file:///etc/passwd"),
            Some("ftp://x.org/a.png"),
            Some("data:image/png;base64,AAAA"),
            Some(&format!("https://x.org/{}", "a".repeat(2048))),
        ] {
            assert!(Source::of(unusable).is_err(), "{unusable:?}");
        }
    }

    #[test]
    fn the_extension_is_that_of_the_path() {
        for (art_url, extension) in [
            ("/vault/8c/cat.gif", Some("gif")),
            ("/vault/8c.gif/cat", None),
            ("/vault/8c/cat.tar.GIF", Some("gif")),
            ("https://x.org/cat.WebP?size=1.png#a.bmp", Some("webp")),
            ("https://x.org/", None),
            ("https://x.org", None),
            ("https://x.org/cat.", Some("")),
        ] {
            let source = Source::of(Some(art_url)).unwrap();
            assert_eq!(source.extension().as_deref(), extension, "{art_url}");
        }
    }
}
