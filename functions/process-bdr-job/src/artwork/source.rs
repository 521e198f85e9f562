//! The source of an artwork's file, derived from its `art_url` alone.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
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

/// The URLs under which the site publishes the vault (`VAULT_URL_PREFIXES`), longest first.
#[derive(Debug, Clone, Default)]
pub struct VaultUrls(Arc<[String]>);

impl VaultUrls {
    /// Parses prefixes that are separated by commas. Returns `None` if one is not an `http(s)` URL in
    /// normal form that ends in `/` and has neither credentials nor a query.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_prefix = |text: &str| {
            text.ends_with('/')
                && Url::parse(text).is_ok_and(|url| {
                    url.as_str() == text
                        && matches!(url.scheme(), "http" | "https")
                        && url.username().is_empty()
                        && url.password().is_none()
                        && url.query().is_none()
                        && url.fragment().is_none()
                })
        };
        let prefixes = text.split(',').map(str::trim);
        let prefixes = prefixes.map(|prefix| is_prefix(prefix).then(|| prefix.to_owned()));
        let mut prefixes = prefixes.collect::<Option<Vec<_>>>()?;
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        Some(Self(prefixes.into()))
    }

    /// Returns the key of a URL that begins with a prefix: its path, decoded once, without the query
    /// and the fragment.
    fn key(&self, art_url: &str) -> Option<Result<ArtworkKey, Missing>> {
        let rest = self.0.iter().find_map(|prefix| art_url.strip_prefix(prefix))?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let key = percent_decode_str(path).decode_utf8().map_err(|_| unusable());
        Some(key.and_then(|key| ArtworkKey::parse(&key).map_err(|_| unusable())))
    }
}

impl Source {
    /// Parses an `art_url`: `/vault/…`, `/api/vault/…` and a URL of `vault_urls` are a key, any other
    /// `http(s)://…` is a remote URL.
    ///
    /// # Errors
    /// When it is absent or of another form. The artwork is permanently missing then.
    pub fn of(art_url: Option<&str>, vault_urls: &VaultUrls) -> Result<Self, Missing> {
        let art_url = art_url.ok_or_else(|| Missing::permanent(MissingCode::NoFile))?;
        if let Some(key) = ArtworkKey::from_art_url(art_url) {
            return key.map(Self::Vault).map_err(|_| unusable());
        }
        if art_url.len() > MAX_URL {
            return Err(unusable());
        }
        if let Some(key) = vault_urls.key(art_url) {
            return key.map(Self::Vault);
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
    use super::{Source, VaultUrls};

    fn of(art_url: &str, prefixes: &str) -> Option<String> {
        match Source::of(Some(art_url), &VaultUrls::parse(prefixes).unwrap()) {
            Ok(Source::Vault(key)) => Some(key.as_str().to_owned()),
            Ok(Source::Remote(url)) => Some(url.into()),
            Err(_) => None,
        }
    }

    #[test]
    fn a_url_under_a_prefix_is_a_key() {
        let prefixes = "https://v.example/, https://v.example/old/,http://127.0.0.1:8080/files/";
        for (art_url, key) in [
            ("https://v.example/24/07/x.png", "24/07/x.png"),
            ("https://v.example/old/x.png", "x.png"),
            ("https://v.example/a%20b%2Bc+d.png?v=2#top", "a b+c+d.png"),
            ("https://v.example/gr%C3%B6%C3%9Fe.gif", "größe.gif"),
            ("https://v.example/100%25.png", "100%.png"),
            ("https://v.example/%252e%252e/x.png", "%2e%2e/x.png"),
            ("http://127.0.0.1:8080/files/x.png", "x.png"),
        ] {
            assert_eq!(of(art_url, prefixes).as_deref(), Some(key), "{art_url}");
        }
        for remote in [
            "https://v.example.org/x.png",
            "https://v.example:444/x.png",
            "http://v.example/x.png",
            "https://u@v.example/x.png",
            "http://127.0.0.1:8080/files",
        ] {
            assert_eq!(of(remote, prefixes).as_deref(), Some(remote));
        }
    }

    #[test]
    fn a_hostile_url_under_a_prefix_is_an_error() {
        for rest in [
            "",
            "?x.png",
            "../x.png",
            "a/../x.png",
            "%2e%2e/x.png",
            "a/%2E./x.png",
            "a%2f..%2fx.png",
            "bdr/u/other.zip",
            "%62dr/u/other.zip",
            "bdr%2Fu/other.zip",
            "/bdr/u/other.zip",
            "a%00.png",
            "a%0a.png",
            "a\n.png",
            "%ff.png",
            &"a".repeat(2048),
        ] {
            assert_eq!(
                of(&format!("https://v.example/{rest}"), "https://v.example/"),
                None,
                "{rest}"
            );
        }
    }

    #[test]
    fn a_prefix_is_a_url_in_normal_form_that_ends_in_a_slash() {
        for prefix in [
            "",
            "https://v.example",
            "https://v.example/a",
            "https://V.example/",
            "https://v.example:443/",
            "https://v.example/a/../",
            "https://u:p@v.example/",
            "https://v.example/?a/",
            "https://v.example/#/",
            "ftp://v.example/",
            "v.example/",
            "/vault/",
            "https://v.example/,",
            "https://v.example/ https://w.example/",
        ] {
            assert!(VaultUrls::parse(prefix).is_none(), "{prefix}");
        }
    }

    #[test]
    fn an_art_url_is_a_key_a_url_or_an_error() {
        assert!(matches!(
            Source::of(Some("/vault/a.png"), &VaultUrls::default()),
            Ok(Source::Vault(_))
        ));
        assert!(matches!(
            Source::of(Some("https://x.org/a.png"), &VaultUrls::default()),
            Ok(Source::Remote(_))
        ));
        assert!(matches!(
            Source::of(Some("HTTP://x.org/a"), &VaultUrls::default()),
            Ok(Source::Remote(_))
        ));
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
            assert!(Source::of(unusable, &VaultUrls::default()).is_err(), "{unusable:?}");
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
            let source = Source::of(Some(art_url), &VaultUrls::default()).unwrap();
            assert_eq!(source.extension().as_deref(), extension, "{art_url}");
        }
    }
}
