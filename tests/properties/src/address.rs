//! `posts.art_url`: typed by somebody, it leads to an object of the vault, to the web, or nowhere.

use process_bdr_job::artwork::Source;
use shared::failure::Decision;
use shared::vault::ArchiveKey;

/// What names a key names an artwork and never an archive; what names a host names it on the web.
pub fn check(input: &[u8]) {
    let Ok(art_url) = std::str::from_utf8(input) else { return };
    match Source::of(Some(art_url)) {
        Ok(Source::Vault(key)) => {
            let key = key.as_str();
            assert_eq!(format!("/vault/{key}"), art_url);
            assert!((1..=1024).contains(&key.len()), "S3's limit: {}", key.len());
            assert!(!key.chars().any(char::is_control), "{key:?}");
            // However a client or a proxy may shorten the path, it leads to no archive.
            let segments: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
            assert!(!segments.iter().any(|part| matches!(*part, "." | "..")), "{key:?}");
            assert!(segments.len() < 2 || segments[0] != "bdr", "{key:?}");
            assert_eq!(ArchiveKey::parse(key), None);
        }
        Ok(Source::Remote(url)) => {
            assert!(matches!(url.scheme(), "http" | "https"), "{url}");
            assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{url}");
            assert!(art_url.len() <= 2048);
            assert!(!art_url.starts_with("/vault/"));
        }
        // No other attempt finds another address.
        Err(missing) => assert_eq!(missing.decision, Decision::Fail),
    }
}
