//! What may be asked on the web: public hosts at the usual ports, and nothing else.
//!
//! Literal addresses never reach a resolver and are judged with the URL; names are judged here by
//! what they are, and in [`resolver`](super::resolver) by what they lead to.

use std::collections::HashSet;
use std::hash::BuildHasher;

use url::{Host, Url};

use super::address::is_public;
use crate::artwork::Missing;

/// Domains that lead nowhere on the public internet, but may lead somewhere where we run: IANA's
/// Special-Use Domain Names, and `internal`, which ICANN reserves for private use.
const PRIVATE_DOMAINS: [&str; 9] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"];

/// A URL that may be asked. [`Target::judge`] is the only way to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    exempt: bool,
}

impl Target {
    /// Judges a URL: the one given, and every redirect.
    ///
    /// # Errors
    /// When it must not be asked.
    pub fn judge<S: BuildHasher>(
        url: Url,
        allow_hosts: &HashSet<String, S>,
    ) -> Result<Self, Missing> {
        let scheme_is_web = matches!(url.scheme(), "http" | "https");
        let has_userinfo = !url.username().is_empty() || url.password().is_some();
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(refused());
        };
        if !scheme_is_web || has_userinfo {
            return Err(refused());
        }
        let exempt = allow_hosts.contains(&format!("{host}:{port}").to_ascii_lowercase());
        let usual_port = matches!(port, 80 | 443);
        if exempt || (usual_port && may_be_public(&host)) {
            return Ok(Self { url, exempt });
        }
        Err(refused())
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the operator said so (`REMOTE_ALLOW_HOSTS`): then its addresses are not judged.
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

/// Whether a name can lead to a public host. One label alone would be looked up in the machine's
/// search domains.
fn is_public_name(name: &str) -> bool {
    let labels: Vec<_> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    let is_label = |label: &&str| {
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        !label.is_empty() && label.bytes().all(is_allowed)
    };
    labels.iter().all(is_label)
        && matches!(labels[..], [_, .., top] if !PRIVATE_DOMAINS.contains(&top))
}

/// What is said of an artwork at a refused URL. The same as of an unusable one: the artist learns
/// nothing about the network.
pub(super) fn refused() -> Missing {
    Missing::permanent("This artwork's file address is not usable.")
        .with_detail("the address is not a public one")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use url::Url;

    use super::Target;

    #[test]
    fn no_url_of_the_table_may_be_asked() {
        let table = crate::remote::refused_urls();
        let allow = HashSet::from(["127.0.0.1:8080".to_owned()]);
        let may_be_asked =
            |url: &&String| Url::parse(url).is_ok_and(|url| Target::judge(url, &allow).is_ok());
        let wrong: Vec<_> = table.values().flatten().filter(may_be_asked).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(table.values().flatten().count() > 200);
    }

    #[test]
    fn public_and_exempt_urls_may_be_asked() {
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
            let target = Target::judge(url.parse().unwrap(), &allow).unwrap();
            assert_eq!(target.is_exempt(), exempt, "{url}");
        }
        for url in ["http://127.0.0.1:8081/a", "http://127.0.0.1/a", "http://u@127.0.0.1:8080/a"] {
            assert!(Target::judge(url.parse().unwrap(), &allow).is_err(), "{url}");
        }
    }
}
