//! Where an artwork's file is, judged by its `art_url` alone.

use shared::vault::ArtworkKey;
use url::Url;

use super::Missing;

/// Longest URL accepted, in bytes.
const MAX_URL: usize = 2048;

/// Where an artwork's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An object of the vault.
    Vault(ArtworkKey),
    /// Somewhere on the web. Whether it may be asked is decided when it is.
    Remote(Url),
}

impl Source {
    /// Reads an `art_url`: `/vault/…` is a key, `http(s)://…` a remote URL, anything else nothing.
    ///
    /// # Errors
    /// When it is absent or none of these; the artwork is then missing for good.
    pub fn of(art_url: Option<&str>) -> Result<Self, Missing> {
        let art_url = art_url.ok_or_else(|| Missing::permanent("This artwork has no file."))?;
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
}

fn unusable() -> Missing {
    Missing::permanent("This artwork's file address is not usable.")
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn addresses_are_sorted_or_refused() {
        assert!(matches!(Source::of(Some("/vault/a.png")), Ok(Source::Vault(_))));
        assert!(matches!(Source::of(Some("https://x.org/a.png")), Ok(Source::Remote(_))));
        assert!(matches!(Source::of(Some("HTTP://x.org/a")), Ok(Source::Remote(_))));
        for nothing in [
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
            assert!(Source::of(nothing).is_err(), "{nothing:?}");
        }
    }
}
