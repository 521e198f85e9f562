//! `posts.art_url`: any text, which names an object of the vault or a URL on the web, or is
//! rejected.

use process_bdr_job::artwork::{Source, VaultUrls};
use shared::failure::Decision;
use shared::vault::ArchiveKey;

/// Checks that a key is the key of an artwork and never of an archive, and that a URL is an HTTP
/// URL.
pub fn check(input: &[u8]) {
    let Ok(art_url) = std::str::from_utf8(input) else { return };
    check_address(art_url, "");
    check_address(art_url, PREFIX);
    check_address(&format!("{PREFIX}{art_url}"), PREFIX);
}

/// A URL under which the site publishes the vault.
const PREFIX: &str = "https://v.example/";

fn check_address(art_url: &str, prefix: &str) {
    let vault_urls = VaultUrls::parse(prefix).unwrap_or_default();
    match Source::of(Some(art_url), &vault_urls) {
        Ok(Source::Vault(key)) => {
            let key = key.as_str();
            if prefix.is_empty() || !art_url.starts_with(prefix) {
                let paths = ["/vault/", "/api/vault/"];
                assert!(paths.iter().any(|path| format!("{path}{key}") == art_url), "{art_url}");
            }
            assert!((1..=1024).contains(&key.len()), "S3's limit: {}", key.len());
            assert!(!key.chars().any(char::is_control), "{key:?}");
            // A client or a proxy may normalize the path; the result must not be an archive.
            let segments: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
            assert!(!segments.iter().any(|part| matches!(*part, "." | "..")), "{key:?}");
            assert!(segments.len() < 2 || segments[0] != "bdr", "{key:?}");
            assert_eq!(ArchiveKey::parse(key), None);
        }
        Ok(Source::Remote(url)) => {
            assert!(matches!(url.scheme(), "http" | "https"), "{url}");
            assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{url}");
            assert!(art_url.len() <= 2048);
            assert!(!art_url.starts_with("/vault/") && !art_url.starts_with("/api/vault/"));
            assert!(prefix.is_empty() || !art_url.starts_with(prefix));
        }
        // A retry reads the same address.
        Err(missing) => assert_eq!(missing.decision, Decision::Fail),
    }
}
