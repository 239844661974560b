//! The server's records in Route 53: set when its instance runs, removed when it is stopping. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// How long a resolver may keep an answer, in seconds.
pub const TTL_SECONDS: i64 = 30;

/// The addresses that the records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Records {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// A change of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Create it, or overwrite it.
    Set(IpAddr),
    /// Route 53 removes a record only if it is told its value.
    Remove(IpAddr),
}

/// What to change so that the records that are `noted` become the ones that are `wanted`.
#[must_use]
pub fn changes(noted: Records, wanted: Records) -> Vec<Change> {
    let change = |noted: Option<IpAddr>, wanted: Option<IpAddr>| match (noted, wanted) {
        (noted, wanted) if noted == wanted => None,
        (_, Some(address)) => Some(Change::Set(address)),
        (Some(address), None) => Some(Change::Remove(address)),
        (None, None) => None,
    };
    let v4 = change(noted.v4.map(IpAddr::V4), wanted.v4.map(IpAddr::V4));
    let v6 = change(noted.v6.map(IpAddr::V6), wanted.v6.map(IpAddr::V6));
    v4.into_iter().chain(v6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_changed() {
        let (one, two, six) = (Ipv4Addr::new(203, 0, 113, 7), Ipv4Addr::new(203, 0, 113, 8), Ipv6Addr::LOCALHOST);
        let with = |v4, v6| Records { v4, v6 };
        let none = Records::default();
        assert_eq!(changes(none, none), []);
        assert_eq!(changes(none, with(Some(one), Some(six))), [Change::Set(one.into()), Change::Set(six.into())]);
        assert_eq!(changes(with(Some(one), None), with(Some(two), None)), [Change::Set(two.into())]);
        assert_eq!(changes(with(Some(one), Some(six)), with(Some(one), None)), [Change::Remove(six.into())]);
        assert_eq!(changes(with(Some(one), Some(six)), none), [Change::Remove(one.into()), Change::Remove(six.into())]);
    }
}
