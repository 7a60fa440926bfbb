//! Which network addresses an upstream may have. Judged after its name has been resolved, for every address in the
//! answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::service::Network;

/// Where an address lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// Reachable from anywhere.
    Public,
    /// This machine or a private network: for services that say `network: private`.
    Private(&'static str),
    /// Never an upstream: metadata services, multicast, unspecified, tunnels that hide another address.
    Never(&'static str),
}

/// Whether a service of this network setting may be dialled at `address`.
///
/// # Errors
/// What the address is, in words, when it may not.
pub fn judge(address: IpAddr, network: Network) -> Result<(), &'static str> {
    match (zone(address), network) {
        (Zone::Public, _) | (Zone::Private(_), Network::Private) => Ok(()),
        (Zone::Private(what), Network::Public) | (Zone::Never(what), _) => Err(what),
    }
}

/// Classifies an address (IANA special-purpose registries, RFC 6890 and its updates).
///
/// IPv6 forms that carry an IPv4 address are refused even when the inner address is public, as a resolver
/// has no business to answer them; only the mapped form is unwrapped and judged.
#[must_use]
pub fn zone(address: IpAddr) -> Zone {
    match address {
        IpAddr::V4(address) => zone_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => zone_v4(mapped),
            None => zone_v6(address),
        },
    }
}

/// Where a host lies that is written as an address, or as `localhost`. Other names are judged when they are dialled.
#[must_use]
pub fn literal_zone(host: &str) -> Option<Zone> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Some(Zone::Private("this machine"));
    }
    host.parse().ok().map(zone)
}

/// Whether a host, as a URL writes it, is this machine without anybody being asked: `localhost`, `127.0.0.0/8`, `::1`.
/// What is said to it in the clear is heard by nobody else.
#[must_use]
pub fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

fn zone_v4(address: Ipv4Addr) -> Zone {
    match address.octets() {
        // EC2 and most others; containers and pods of AWS; Alibaba; Azure.
        [169, 254, 169, 254] | [169, 254, 170, 2 | 23] | [100, 100, 100, 200] | [168, 63, 129, 16] => {
            Zone::Never("a cloud's metadata address")
        }
        [0, ..] => Zone::Never("the unspecified network"),
        [127, ..] => Zone::Private("a loopback address"),
        [10, ..] | [192, 168, ..] => Zone::Private("a private address"),
        [172, second, ..] if (16..32).contains(&second) => Zone::Private("a private address"),
        [169, 254, ..] => Zone::Private("a link-local address"),
        [100, second, ..] if (64..128).contains(&second) => Zone::Private("a carrier's shared address"),
        [192, 0, 0, _] => Zone::Never("a protocol assignment"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Zone::Never("a documentation address"),
        [192, 88, 99, _] => Zone::Never("a 6to4 relay"),
        [198, 18 | 19, ..] => Zone::Never("a benchmarking address"),
        [first, ..] if first >= 240 => Zone::Never("a reserved address"),
        [first, ..] if first >= 224 => Zone::Never("a multicast address"),
        _ => Zone::Public,
    }
}

fn zone_v6(address: Ipv6Addr) -> Zone {
    match address.segments() {
        // EC2, pods of AWS; Google; OpenStack.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23]
        | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
        | [0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe] => Zone::Never("a cloud's metadata address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Zone::Private("a loopback address"),
        [0, 0, 0, 0, 0, 0, ..] => Zone::Never("the unspecified or an IPv4-compatible address"),
        [0x64, 0xff9b, ..] => Zone::Never("a NAT64 address"),
        [0x100, 0, 0, 0, ..] => Zone::Never("a discard address"),
        [0x2001, 0, ..] => Zone::Never("a Teredo address"),
        [0x2001, 0xdb8, ..] | [0x3fff, ..] => Zone::Never("a documentation address"),
        [0x2001, second, ..] if second < 0x200 => Zone::Never("a protocol assignment"),
        [0x2002, ..] => Zone::Never("a 6to4 address"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Zone::Private("a private address"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Zone::Private("a link-local address"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Zone::Private("a site-local address"),
        [first, ..] if first & 0xff00 == 0xff00 => Zone::Never("a multicast address"),
        [first, ..] if first & 0xe000 == 0x2000 => Zone::Public,
        _ => Zone::Never("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_services_reach_public_addresses_only() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fc00::1",
            "fe80::1",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "2002:0808:0808::1",
            "2001:0:1::1",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "2001:db8::1",
            "192.0.2.1",
            "198.18.0.1",
            "fec0::1",
        ] {
            assert!(judge(text.parse().unwrap(), Network::Public).is_err(), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(judge(text.parse().unwrap(), Network::Public).is_ok(), "{text}");
        }
    }

    #[test]
    fn private_services_never_reach_metadata() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fe80::a9fe:a9fe",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
        ] {
            assert!(judge(text.parse().unwrap(), Network::Private).is_err(), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.1.2.3", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(judge(text.parse().unwrap(), Network::Private).is_ok(), "{text}");
        }
    }

    #[test]
    fn no_ipv6_form_hides_an_ipv4_address() {
        for hidden in ["127.0.0.1", "10.0.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0"] {
            let [a, b, c, d] = hidden.parse::<Ipv4Addr>().unwrap().octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            let forms = [
                ("mapped", [0, 0, 0, 0, 0, 0xffff, high, low]),
                ("compatible", [0, 0, 0, 0, 0, 0, high, low]),
                ("translated", [0, 0, 0, 0, 0xffff, 0, high, low]),
                ("NAT64", [0x64, 0xff9b, 0, 0, 0, 0, high, low]),
                ("local NAT64", [0x64, 0xff9b, 1, 0, 0, 0, high, low]),
                ("6to4", [0x2002, high, low, 0, 0, 0, 0, 1]),
                ("Teredo server", [0x2001, 0, high, low, 0, 0, 0, 1]),
                ("Teredo client", [0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low]),
            ];
            for (what, segments) in forms {
                let address = IpAddr::V6(segments.into());
                assert!(judge(address, Network::Public).is_err(), "{hidden} {what}");
                // Private services see through the mapped form and through no other.
                let seen = what == "mapped" && judge(hidden.parse().unwrap(), Network::Private).is_ok();
                let is_loopback = address == IpAddr::V6(Ipv6Addr::LOCALHOST);
                assert_eq!(judge(address, Network::Private).is_ok(), seen || is_loopback, "{hidden} {what}");
            }
        }
    }
}
