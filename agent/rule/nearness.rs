//! Which of several addresses of another network the host is likely to reach: that of a VPN or an ipvlan it does not, and that of
//! a bridge it does.

use std::net::IpAddr;

use super::facts::Facts;

/// The greater, the likelier: whether root's docker-proxy leads to `own`, and how much of it is as in an address of the host's.
pub(crate) fn nearness(facts: &Facts, own: IpAddr) -> (bool, u32) {
    let roots = facts.publishers.iter().filter(|publisher| publisher.network.is_host() && publisher.uid == Some(0));
    let is_led_to = roots.filter_map(|publisher| publisher.publication).any(|publication| publication.to.ip() == own);
    let host = facts.networks.iter().filter(|network| network.id.is_host());
    let shared = host.flat_map(|network| &network.addresses).map(|host| shared_bits(*host, own)).max();
    (is_led_to, shared.unwrap_or(0))
}

/// How many leading bits two addresses of one family share, where an IPv4 bit counts as much as four of IPv6.
fn shared_bits(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => 4 * (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}
