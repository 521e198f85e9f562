//! The URLs that may be requested: public hosts at ports 80 and 443, and exempt hosts.
//!
//! A literal address never reaches a resolver, so it is checked with the URL. A name is checked here by
//! its form, and in [`resolver`](super::resolver) by its addresses.

use std::collections::HashSet;
use std::hash::BuildHasher;

use url::{Host, Url};

use super::address::is_public;
use crate::missing::{Missing, MissingCode};

/// Top-level domains that do not exist on the public internet but may resolve in a private network:
/// IANA's Special-Use Domain Names, and `internal`, which ICANN reserves for private use.
const PRIVATE_DOMAINS: [&str; 9] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"];

/// A URL that may be requested. Only [`Target::check`] constructs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    exempt: bool,
}

impl Target {
    /// Checks a URL: that of an artwork, and that of every redirect.
    ///
    /// # Errors
    /// When it may not be requested.
    pub fn check<S: BuildHasher>(
        url: Url,
        allow_hosts: &HashSet<String, S>,
    ) -> Result<Self, Missing> {
        let scheme_is_web = matches!(url.scheme(), "http" | "https");
        let has_userinfo = !url.username().is_empty() || url.password().is_some();
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(rejected());
        };
        if !scheme_is_web || has_userinfo {
            return Err(rejected());
        }
        let exempt = allow_hosts.contains(&format!("{host}:{port}").to_ascii_lowercase());
        let usual_port = matches!(port, 80 | 443);
        if exempt || (usual_port && may_be_public(&host)) {
            return Ok(Self { url, exempt });
        }
        Err(rejected())
    }

    /// Returns the URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns whether the operator exempts the host (`REMOTE_ALLOW_HOSTS`). Its addresses are not checked.
    #[must_use]
    pub fn is_exempt(&self) -> bool {
        self.exempt
    }
}

fn may_be_public(host: &Host<&str>) -> bool {
    match *host {
        Host::Domain(name) => is_public_name(name),
        Host::Ipv4(address) => is_public(address.into()),
        Host::Ipv6(address) => is_public(address.into()),
    }
}

/// Returns whether a name can be that of a public host. The resolver would look a single label up in the
/// machine's search domains.
fn is_public_name(name: &str) -> bool {
    let labels: Vec<_> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let is_label = |label: &&str| {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_allowed)
    };
    labels.iter().all(is_label)
        && matches!(labels[..], [_, .., top] if !PRIVATE_DOMAINS.contains(&top))
}

/// Returns the reason for a rejected URL. It equals that of an unusable one: the artist learns nothing
/// about the network.
pub(super) fn rejected() -> Missing {
    Missing::permanent(MissingCode::UnusableAddress).with_detail("the address is not public")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use url::Url;

    use super::Target;

    #[test]
    fn every_url_of_the_table_is_rejected() {
        let table = crate::remote::rejected_urls();
        let allow = HashSet::from(["127.0.0.1:8080".to_owned()]);
        let is_accepted =
            |url: &&String| Url::parse(url).is_ok_and(|url| Target::check(url, &allow).is_ok());
        let wrong: Vec<_> = table.values().flatten().filter(is_accepted).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(table.values().flatten().count() > 200);
    }

    #[test]
    fn public_and_exempt_urls_are_accepted() {
        let allow: HashSet<_> = ["127.0.0.1:8080".to_owned(), "[::1]:8080".to_owned()].into();
        for (url, exempt) in [
            ("https://x.github.io/a.png", false),
            ("http://x.org:443/", false),
            ("https://1.1.1.1/a", false),
            ("http://[2606:50c0:8000::153]/a", false),
            ("http://localhost.org/a", false),
            ("http://a_b-c.X.ORG/a", false),
            ("http://test.example.com/a", false),
            ("http://ümläut.de./a", false),
            ("http://127.0.0.1:8080/a", true),
            ("http://x.org\\@127.0.0.1:22/a", false), // the backslash ends the host
            ("http://2130706433:8080/a", true),
            ("https://[::1]:8080/a", true),
        ] {
            let target = Target::check(url.parse().unwrap(), &allow).unwrap();
            assert_eq!(target.is_exempt(), exempt, "{url}");
        }
        for url in ["http://127.0.0.1:8081/a", "http://127.0.0.1/a", "http://u@127.0.0.1:8080/a"] {
            assert!(Target::check(url.parse().unwrap(), &allow).is_err(), "{url}");
        }
    }
}
