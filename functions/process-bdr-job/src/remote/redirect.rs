//! Where a redirect leads.

use std::collections::HashSet;
use std::hash::BuildHasher;

use url::Url;

use super::guard::{Target, refused};
use crate::artwork::Missing;

/// Longest `Location` followed, in bytes: RFC 9110 wants URIs of 8,000 to be understood.
const MAX_LOCATION: usize = 8000;

/// The URL to ask after `from` answered with this `Location`, judged like the first one.
///
/// # Errors
/// When there is none, or it must not be asked.
pub fn next<S: BuildHasher>(
    from: &Url,
    location: &[u8],
    allow_hosts: &HashSet<String, S>,
) -> Result<Target, Missing> {
    let url = std::str::from_utf8(location)
        .ok()
        .filter(|location| !location.is_empty() && location.len() <= MAX_LOCATION)
        .and_then(|location| from.join(location).ok())
        .ok_or_else(|| refused().with_detail("a redirect to nowhere"))?;
    Target::judge(url, allow_hosts)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::next;

    #[test]
    fn a_location_is_read_as_a_browser_reads_it() {
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
    fn a_redirect_leads_to_no_url_of_the_table_and_not_to_nowhere() {
        let table = crate::remote::refused_urls();
        let long = format!("https://x.org/{}", "a".repeat(10_000));
        let others = ["", "//127.0.0.1/", "\\/127.0.0.1/", "//user@x.org/", "//x.org:22/", &long];
        let table = table.values().flatten().map(String::as_str).chain(others);
        for location in table.map(str::as_bytes).chain([&b"http://\xff.org/"[..]]) {
            for from in ["https://x.org/a", "http://x.org/a/b", "http://127.0.0.1:8080/"] {
                let from = from.parse().unwrap();
                let refused = next(&from, location, &HashSet::from(["127.0.0.1:8080".to_owned()]));
                assert_eq!(
                    refused.map_err(|missing| missing.reason),
                    Err("This artwork's file address is not usable."),
                    "{from} to {:?}",
                    String::from_utf8_lossy(location)
                );
            }
        }
    }
}
