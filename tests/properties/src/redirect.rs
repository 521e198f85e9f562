//! The target of a redirect: its `Location` header, resolved against the requested URL.

use std::collections::HashSet;
use std::net::IpAddr;

use http::Uri;
use process_bdr_job::remote::redirect;
use url::{Host, Url};

/// The one host that is exempt in these checks.
const EXEMPT: &str = "127.0.0.1:8080";

/// Checks that an accepted redirect leads to an HTTP URL with a standard port and no special
/// address, and that the HTTP client parses it as the guard does. The input is a URL, a line feed,
/// and a `Location` header.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (Some(base), Some(location)) = (parts.next(), parts.next()) else { return };
    let base = std::str::from_utf8(base).ok().and_then(|base| Url::parse(base).ok());
    let Some(base) = base.filter(|base| matches!(base.scheme(), "http" | "https")) else { return };
    let allow_hosts: HashSet<String> = [EXEMPT.to_owned()].into();
    let target = match redirect::next(&base, location, &allow_hosts) {
        Ok(target) => target,
        Err(missing) => {
            // The reason tells the artist nothing about the address.
            assert_eq!(missing.reason(), "This artwork's file address is not usable.");
            return;
        }
    };
    let url = target.url();
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert_eq!((url.username(), url.password()), ("", None), "{url}");
    let port = url.port_or_known_default().unwrap();
    let host = url.host().unwrap();
    if target.is_exempt() {
        assert_eq!(format!("{host}:{port}"), EXEMPT);
    } else {
        assert!(matches!(port, 80 | 443), "{url}");
        assert!(!is_special(&host), "{url}");
    }
    // Formatting and parsing the URL again gives the same target.
    assert_eq!(redirect::next(&base, url.as_str().as_bytes(), &allow_hosts), Ok(target.clone()));
    // The client gets this form. A URL that cannot be converted is not requested.
    let Ok(uri) = url.as_str().parse::<Uri>() else { return };
    assert_eq!(uri.host(), url.host_str(), "{url}");
    assert_eq!(uri.port_u16(), url.port(), "{url}");
    assert_eq!(uri.scheme_str(), Some(url.scheme()));
    assert!(!uri.authority().unwrap().as_str().contains('@'), "{url}");
}

/// Returns whether the standard library classifies the address as special: an independent check,
/// but not a complete one.
fn is_special(host: &Host<&str>) -> bool {
    let address = match host {
        // The system's resolver would treat such a name as an address.
        Host::Domain(name) => return name.trim_end_matches('.').parse::<IpAddr>().is_ok(),
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
    };
    match address {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}
