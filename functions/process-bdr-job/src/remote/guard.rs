//! What may be asked on the web: public hosts at the usual ports, and nothing else.
//!
//! A name is resolved once, and refused if *any* of its addresses is not public; the connection
//! goes to the addresses that were checked, so that a resolver that changes its answer gains
//! nothing. Literal addresses never reach a resolver and are judged with the URL.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::artwork::Missing;

/// Whether a URL may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Through the client that reaches public addresses only.
    Public,
    /// As the operator said (`REMOTE_ALLOW_HOSTS`).
    Exempt,
    /// Not at all.
    Refused,
}

/// What is said of an artwork at a refused URL. The same as of an unusable one: the artist learns
/// nothing about the network.
pub(super) fn refused() -> Missing {
    Missing::for_good("This artwork's file address is not usable.")
        .because("the address is not a public one")
}

/// Judges a URL: the one given and every redirect.
pub(super) fn judge(url: &Url, allow_hosts: &HashSet<String>) -> Verdict {
    let scheme_is_web = matches!(url.scheme(), "http" | "https");
    let has_userinfo = !url.username().is_empty() || url.password().is_some();
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Verdict::Refused;
    };
    if !scheme_is_web || has_userinfo {
        return Verdict::Refused;
    }
    if allow_hosts.contains(&format!("{host}:{port}").to_ascii_lowercase()) {
        return Verdict::Exempt;
    }
    let usual_port = matches!(port, 80 | 443);
    let address_may_be_public = match host {
        Host::Domain(_) => true,
        Host::Ipv4(address) => is_public(address.into()),
        Host::Ipv6(address) => is_public(address.into()),
    };
    if usual_port && address_may_be_public { Verdict::Public } else { Verdict::Refused }
}

/// Resolves names to public addresses, or not at all.
pub(super) struct PublicResolver;

/// A name that leads to an address that is not public.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name does not lead to public addresses only")
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !addresses.iter().all(|address| is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether a transport error is our own refusal.
pub(super) fn was_refused(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether an address belongs to the public internet: it lies in none of IANA's special-purpose
/// registries, nor does the IPv4 address inside it.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA IPv4 Special-Purpose Address Registry, multicast and reserved space included.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u32); 17] = [
        (Ipv4Addr::UNSPECIFIED, 8),           // this network
        (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
        (Ipv4Addr::new(100, 64, 0, 0), 10),   // shared, carrier-grade NAT
        (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
        (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, instance metadata
        (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
        (Ipv4Addr::new(192, 0, 0, 0), 24),    // IETF protocol assignments
        (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
        (Ipv4Addr::new(192, 31, 196, 0), 24), // AS112
        (Ipv4Addr::new(192, 52, 193, 0), 24), // AMT
        (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relay anycast
        (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
        (Ipv4Addr::new(192, 175, 48, 0), 24), // AS112
        (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarking
        (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
        (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
        (Ipv4Addr::new(224, 0, 0, 0), 3),     // multicast, reserved, broadcast
    ];
    let bits = address.to_bits();
    !SPECIAL.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (32 - length) == 0)
}

/// Global unicast (`2000::/3`) less its special-purpose ranges; mapped, NAT64 and 6to4 addresses are
/// judged by the IPv4 address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let inner = |high: u16, low: u16| {
        is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            inner(high, low)
        }
        [0x2002, high, low, ..] => inner(high, low),
        [0x2001, second, ..] if second < 0x200 => false, // 2001::/23: Teredo, ORCHID, benchmarking
        // Documentation; AS112.
        [0x2001, 0xdb8, ..] | [0x2620, 0x4f, 0x8000, ..] => false,
        [first, ..] if first & 0xfff0 == 0x3ff0 => false, // 3fff::/20: documentation
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Verdict, is_public, judge};

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.255.255",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "185.199.108.153",
            "223.255.255.255",
            "2606:50c0:8000::153",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn urls_are_judged_whole() {
        let allow: HashSet<_> = ["127.0.0.1:8080".to_owned()].into();
        for (url, verdict) in [
            ("https://x.github.io/a.png", Verdict::Public),
            ("http://x.org:443/", Verdict::Public),
            ("http://127.0.0.1:8080/a", Verdict::Exempt),
            ("http://127.0.0.1:8081/a", Verdict::Refused),
            ("http://127.0.0.1/a", Verdict::Refused),
            ("http://2130706433/a", Verdict::Refused),
            ("http://0x7f.1/a", Verdict::Refused),
            ("http://0177.0.0.1/a", Verdict::Refused),
            ("http://[::1]/a", Verdict::Refused),
            ("http://[::ffff:7f00:1]/a", Verdict::Refused),
            ("https://x.org:8443/a", Verdict::Refused),
            ("https://user@x.org/a", Verdict::Refused),
            ("https://:pw@x.org/a", Verdict::Refused),
            ("http://user@127.0.0.1:8080/a", Verdict::Refused),
            ("ftp://x.org/a", Verdict::Refused),
            ("https://1.1.1.1/a", Verdict::Public),
        ] {
            assert_eq!(judge(&url.parse().unwrap(), &allow), verdict, "{url}");
        }
    }
}
