//! The artist's address as SES accepts it.

use email_address::{EmailAddress, Options};
use url::Host;

/// Returns the address to send to: trimmed, with the domain in its ASCII form (punycode).
///
/// # Errors
/// With the reason, when there is none or SES does not accept it. SES requires an ASCII local part
/// (Amazon SES Developer Guide, "Email address format").
pub(super) fn normalized(address: Option<&str>) -> Result<String, &'static str> {
    let address = address.map(str::trim).filter(|address| !address.is_empty());
    let (local, domain) = address
        .ok_or("the artist has no address")?
        .rsplit_once('@')
        .ok_or("the artist's address is invalid")?;
    if !local.is_ascii() {
        return Err("the artist's address has a non-ASCII local part, which SES does not accept");
    }
    let Ok(Host::Domain(domain)) = Host::parse(domain) else {
        return Err("the artist's address has an invalid domain");
    };
    let address = format!("{local}@{domain}");
    let options = Options::default().with_required_tld().without_display_text();
    match EmailAddress::parse_with_options(&address, options) {
        Ok(_) => Ok(address),
        Err(_) => Err("the artist's address is invalid"),
    }
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn addresses_are_trimmed_and_domains_become_ascii() {
        for (address, expected) in [
            ("noa@x.org", "noa@x.org"),
            ("  noa@x.org \n", "noa@x.org"),
            ("noa+zip@X.ORG", "noa+zip@x.org"),
            ("noa@bücher.example", "noa@xn--bcher-kva.example"),
        ] {
            assert_eq!(normalized(Some(address)).as_deref(), Ok(expected), "{address:?}");
        }
    }

    #[test]
    fn unusable_addresses_have_a_reason() {
        for address in [
            "",
            "   ",
            "noa",
            "@x.org",
            "noa@",
            "noa@localhost",
            "noa@127.0.0.1",
            "noa@[::1]",
            "noä@x.org",
            "Noa <noa@x.org>",
            "noa@x.org, mia@x.org",
            "noa@x.org\r\nBcc: mia@x.org",
            "noa mia@x.org",
        ] {
            assert!(normalized(Some(address)).is_err(), "{address:?}");
        }
        assert_eq!(normalized(None), Err("the artist has no address"));
    }
}
