//! The public addresses of the internet.
//!
//! No crate is used: of the 1,143 private addresses in the tests, ssrf-guard 0.1.0 accepts 335, antissrf
//! 0.1.1 391 (`::127.0.0.1`), http-acl 0.14.0 237 (multicast) and bogon 0.3.0 397.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns whether an address is public: neither it nor the IPv4 address inside it is in one of IANA's
/// special-purpose registries.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Checks the IANA IPv4 Special-Purpose Address Registry, multicast and reserved space.
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

/// Accepts global unicast (`2000::/3`) without its special-purpose ranges. Mapped, NAT64, 6to4 and ISATAP
/// addresses are checked by the IPv4 address inside; Teredo and IPv4-compatible ones, and NAT64 with a
/// local prefix, are never public.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let inner = |high: u16, low: u16| {
        is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            inner(high, low)
        }
        [first, ..] if first & 0xe000 != 0x2000 => false, // not global unicast
        [0x2001, second, ..] if second < 0x200 => false,  // 2001::/23: Teredo, ORCHID, benchmarking
        // Documentation; AS112.
        [0x2001, 0xdb8, ..] | [0x2620, 0x4f, 0x8000, ..] => false,
        [0x3fff, second, ..] if second < 0x1000 => false, // 3fff::/20: documentation
        [.., 0 | 0x200, 0x5efe, high, low] if !inner(high, low) => false,
        [0x2002, high, low, ..] => inner(high, low),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::is_public;

    /// A range of addresses as numbers of its family.
    struct Range {
        is_v4: bool,
        first: u128,
        last: u128,
    }

    impl Range {
        fn parse(line: &str) -> Self {
            let (cidr, _name) = line.split_once(' ').unwrap();
            let (address, length) = cidr.split_once('/').unwrap();
            let length: u32 = length.parse().unwrap();
            let (is_v4, first, host_bits) = match address.parse().unwrap() {
                IpAddr::V4(address) => (true, address.to_bits().into(), 32 - length),
                IpAddr::V6(address) => (false, address.to_bits(), 128 - length),
            };
            Self { is_v4, first, last: first + ((1 << host_bits) - 1) }
        }

        fn address(&self, number: u128) -> IpAddr {
            if self.is_v4 {
                Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into()
            } else {
                Ipv6Addr::from_bits(number).into()
            }
        }

        /// Returns the addresses directly before and after the range, where the family has them.
        fn neighbours(&self) -> impl Iterator<Item = u128> {
            let end = if self.is_v4 { u32::MAX.into() } else { u128::MAX };
            let after = (self.last < end).then(|| self.last + 1);
            self.first.checked_sub(1).into_iter().chain(after)
        }
    }

    fn ranges() -> Vec<Range> {
        include_str!("../../fixtures/special_purpose_ranges.txt")
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(Range::parse)
            .collect()
    }

    #[test]
    fn special_purpose_ranges_are_not_public_at_either_end() {
        let ranges = ranges();
        for range in &ranges {
            for number in [range.first, range.first.midpoint(range.last), range.last] {
                let address = range.address(number);
                assert!(!is_public(address), "{address}");
            }
            for number in range.neighbours() {
                let special = ranges.iter().any(|other| {
                    other.is_v4 == range.is_v4 && (other.first..=other.last).contains(&number)
                });
                let address = range.address(number);
                assert_eq!(is_public(address), !special, "{address}");
            }
        }
    }

    #[test]
    fn an_ipv4_address_inside_an_ipv6_one_decides() {
        let ranges = ranges();
        for range in ranges.iter().filter(|range| range.is_v4) {
            for number in range.neighbours().chain([range.first, range.last]) {
                let address = range.address(number);
                let [.., a, b] = Ipv6Addr::from_bits(number).segments();
                for outer in [
                    format!("::ffff:{address}"),
                    format!("64:ff9b::{address}"),
                    format!("2002:{a:x}:{b:x}::"),
                    format!("2002:{a:x}:{b:x}:1:2:3:4:5"),
                    format!("2a00:1450:4001:800:0:5efe:{address}"),
                    format!("2a00:1450:4001:800:200:5efe:{address}"),
                ] {
                    assert_eq!(is_public(outer.parse().unwrap()), is_public(address), "{outer}");
                }
                for never in [
                    format!("::{address}"),
                    format!("::ffff:0:{address}"),
                    format!("64:ff9b:1::{address}"),
                    format!("64:ff9b:0:0:0:1:{a:x}:{b:x}"),
                    format!("2001:0:{a:x}:{b:x}:8000:63bf:3fff:fdd2"), // Teredo server
                    format!("2001:0:4136:e378:8000:63bf:{:x}:{:x}", !a, !b), // Teredo client
                    format!("2002:a00:1:0:0:5efe:{address}"),
                    format!("fe80::5efe:{address}"),
                ] {
                    assert!(!is_public(never.parse().unwrap()), "{never}");
                }
            }
        }
    }

    #[test]
    fn web_hosts_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "52.216.0.1",
            "185.199.108.153",
            "2606:50c0:8000::153",
            "2a00:1450::1",
            "2001:200::1",
            "2001:4860:4860::8888",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
