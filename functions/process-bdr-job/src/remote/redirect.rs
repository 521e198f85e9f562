//! The target of a redirect.

use std::collections::HashSet;
use std::hash::BuildHasher;

use url::Url;

use super::guard::{Target, rejected};
use crate::missing::Missing;

/// Maximum length of a `Location`, in bytes. RFC 9110 recommends to support URIs of 8,000.
const MAX_LOCATION: usize = 8000;

/// Returns the checked URL to request after `from` returned this `Location`.
///
/// # Errors
/// When the `Location` is unusable, or its URL may not be requested.
pub fn next<S: BuildHasher>(
    from: &Url,
    location: &[u8],
    allow_hosts: &HashSet<String, S>,
) -> Result<Target, Missing> {
    let url = std::str::from_utf8(location)
        .ok()
        .filter(|location| !location.is_empty() && location.len() <= MAX_LOCATION)
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| rejected().with_detail("a redirect without a usable Location"))?;
    Target::check(url, allow_hosts)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::next;

    #[test]
    fn a_location_is_resolved_as_browsers_do() {
        let from = "https://x.org/a/b?c".parse().unwrap();
        for (location, to) in [
            ("d.png", "https://x.org/a/d.png"),
            ("/d.png", "https://x.org/d.png"),
            ("?d", "https://x.org/a/b?d"),
            ("//y.org/d", "https://y.org/d"),
            ("\\\\y.org\\d", "https://y.org/d"),
            ("http://Y.org:80/d", "http://y.org/d"),
            ("https://ü.org/ö", "https://xn--tda.org/%C3%B6"),
            ("http://127.0.0.1:8080/d", "http://127.0.0.1:8080/d"),
        ] {
            let allow = HashSet::from(["127.0.0.1:8080".to_owned()]);
            let target = next(&from, location.as_bytes(), &allow).unwrap();
            assert_eq!(target.url().as_str(), to, "{location}");
        }
    }

    #[test]
    fn a_redirect_to_a_rejected_or_unusable_url_fails() {
        let table = crate::remote::rejected_urls();
        let long = format!("https://x.org/{}", "a".repeat(10_000));
        let others = ["", "//127.0.0.1/", "\\/127.0.0.1/", "//user@x.org/", "//x.org:22/", &long];
        let table = table.values().flatten().map(String::as_str).chain(others);
        for location in table.map(str::as_bytes).chain([&b"http://\xff.org/"[..]]) {
            for from in ["https://x.org/a", "http://x.org/a/b", "http://127.0.0.1:8080/"] {
                let from = from.parse().unwrap();
                let result = next(&from, location, &HashSet::from(["127.0.0.1:8080".to_owned()]));
                assert_eq!(
                    result.map_err(|missing| missing.reason()),
                    Err("This artwork's file address is not usable."),
                    "{from} to {:?}",
                    String::from_utf8_lossy(location)
                );
            }
        }
    }
}
