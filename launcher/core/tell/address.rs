//! Where messages may go. Pure. The channels are the owner's to set, yet an address inside the network, or instance metadata,
//! must not be reached by way of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a channel may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To public addresses.
    Public,
    /// Also to this machine itself, and there without TLS.
    PublicAndLoopback,
}

impl Reach {
    /// Whether a message may go to `address`.
    #[must_use]
    pub fn permits(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Reach::PublicAndLoopback if address.is_loopback() => true,
            Reach::Public | Reach::PublicAndLoopback => match address {
                IpAddr::V4(address) => is_public_v4(address),
                IpAddr::V6(address) => is_public_v6(address),
            },
        }
    }

    /// Whether a message may go to `host` without TLS.
    #[must_use]
    pub fn permits_plain(self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host == "localhost" || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self == Reach::PublicAndLoopback && is_loopback
    }
}

/// By the IANA IPv4 Special-Purpose Address Registry (RFC 6890): everything that is not globally reachable, and multicast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b));
    !special
}

/// Only global unicast, 2000::/3 (RFC 4291, 2.4), without documentation, and without what leads to an IPv4 address that is not
/// public (6to4, RFC 3056).
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, ..] = address.segments();
    let documentation = first == 0x2001 && second == 0x0db8;
    let [a, b] = second.to_be_bytes();
    let [c, d] = third.to_be_bytes();
    let six_to_four = first == 0x2002 && !is_public_v4(Ipv4Addr::new(a, b, c, d));
    (0x2000..0x4000).contains(&first) && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_inside_is_reached() {
        for inside in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "2002:0a00:0001::1",
            "2002:a9fe:a9fe::",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(!Reach::Public.permits(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["162.159.135.232", "8.8.8.8", "2606:4700::6810:84e5", "2002:0808:0808::1"] {
            assert!(Reach::Public.permits(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn this_machine_is_reached_only_where_it_is_allowed() {
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(Reach::PublicAndLoopback.permits(loopback.parse().unwrap()), "{loopback}");
        }
        assert!(!Reach::PublicAndLoopback.permits("10.0.0.1".parse().unwrap()));
        assert!(Reach::PublicAndLoopback.permits_plain("[::1]") && Reach::PublicAndLoopback.permits_plain("localhost"));
        assert!(!Reach::Public.permits_plain("127.0.0.1") && !Reach::PublicAndLoopback.permits_plain("example.org"));
    }
}
