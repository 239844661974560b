//! Where nobody may be sent: the broker itself.

use std::net::{IpAddr, SocketAddr};

/// The addresses that the broker listens at.
#[derive(Debug, Clone, Default)]
pub struct OwnAddresses {
    listening: Vec<SocketAddr>,
}

impl OwnAddresses {
    #[must_use]
    pub fn new(listening: Vec<SocketAddr>) -> Self {
        OwnAddresses { listening }
    }

    /// Whether a connection to `target` would come back to this broker; `is_local` says whether an address is this
    /// machine's. One that is behind a translation of addresses does not know all of its own: that is found out by the mark
    /// in its answers.
    #[must_use]
    pub fn has(&self, target: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let address = target.ip().to_canonical();
        self.listening.iter().any(|own| {
            let own_address = own.ip().to_canonical();
            let everywhere = own_address.is_unspecified() && is_local(address);
            own.port() == target.port() && (own_address == address || everywhere)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_of_the_same_machine_is_not_the_broker() {
        let own = OwnAddresses::new(vec!["[::]:25565".parse().unwrap(), "127.0.0.1:25570".parse().unwrap()]);
        let has = |target: &str| own.has(target.parse().unwrap(), |address| address.is_loopback());
        assert!(
            has("127.0.0.1:25565") && has("[::1]:25565") && has("127.0.0.1:25570") && has("[::ffff:127.0.0.1]:25570")
        );
        assert!(!has("127.0.0.1:25566") && !has("203.0.113.5:25565") && !has("127.0.0.2:25570"));
    }
}
