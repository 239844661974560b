//! The addresses of a network, from `fib_trie` (IPv4) and `if_inet6` in `/proc/PID/net`.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// The limit for either file, in bytes: a route takes about a hundred.
const LONGEST: u64 = 16 << 20;
/// The scope of addresses that are valid on one link only (RFC 4291, section 2.5.6), as `if_inet6` writes it.
const LINK_LOCAL: &str = "20";
/// `IPV6_ADDR_LOOPBACK` (include/net/ipv6.h).
const LOOPBACK: &str = "10";

/// Reads the addresses in `net`, the folder `/proc/PID/net`, except loopback and link-local ones. A protocol that is
/// turned off has no file and so no addresses.
///
/// # Errors
/// A file exists but cannot be read.
pub fn read(net: &Path) -> io::Result<BTreeSet<IpAddr>> {
    let v4 = text(&net.join("fib_trie"))?;
    let v6 = text(&net.join("if_inet6"))?;
    Ok(ipv4(&v4).into_iter().map(IpAddr::V4).chain(ipv6(&v6).into_iter().map(IpAddr::V6)).collect())
}

fn text(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(LONGEST).read_to_string(&mut text).map(|_| text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(text),
        Err(error) => Err(error),
    }
}

/// The network's own addresses in a `fib_trie`: a leaf (`|-- 172.17.0.2`) with a host route to itself below it (`/32
/// host LOCAL`).
#[must_use]
pub fn ipv4(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    let mut leaf = None;
    for line in trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.trim_end().parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            addresses.extend(leaf.filter(|address| !address.is_loopback()));
        }
    }
    addresses
}

/// The network's own addresses in an `if_inet6`. A line has 32 digits, the interface number, the prefix, the scope,
/// flags and the interface name.
#[must_use]
pub fn ipv6(table: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let hexadecimal = |digits: &&str| digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let digits = words.next().filter(hexadecimal)?;
        let scope = words.nth(2)?;
        let number = u128::from_str_radix(digits, 16).ok()?;
        (![LINK_LOCAL, LOOPBACK].contains(&scope)).then(|| Ipv6Addr::from(number))
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn own_addresses_are_told_from_broadcasts_and_networks() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 172.17.0.0/16 2 0 2\n        \
             |-- 172.17.0.0\n           /16 link UNICAST\n        |-- 172.17.0.2\n           /32 host LOCAL\n        \
             |-- 172.17.255.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), ["172.17.0.2".parse().unwrap()].into());
    }

    #[test]
    fn addresses_of_a_link_alone_lead_nowhere() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
             fe80000000000000a8bb51fffe0d2f12 02 40 20 80     eth0\n\
             20010db8000000000000000000000007 02 40 00 80     eth0\n";
        assert_eq!(ipv6(table), ["2001:db8::7".parse().unwrap()].into());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = (ipv4(&text), ipv6(&text));
        }
    }
}
