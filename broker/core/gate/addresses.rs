//! Limits for each address: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has (RFC 6177).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Connections of one address at once.
pub const MOST_CONNECTIONS: u32 = 256;
/// Logins of one address at once, and one more every two seconds.
pub const MOST_LOGINS: u32 = 30;
const LOGIN_EVERY: Duration = Duration::from_secs(2);

/// An IPv4 address, or the upper half of an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Origin::V6([a, b, c, d].iter().fold(0, |half, part| half << 16 | u64::from(*part)))
            }
        }
    }
}

#[derive(Debug, Default)]
struct Usage {
    connections: u32,
    /// When the last of its logins is forgotten: each adds [`LOGIN_EVERY`].
    logins_until: Duration,
}

/// Who has how many.
#[derive(Debug, Default)]
pub struct AddressLimits {
    usage: HashMap<Origin, Usage>,
}

impl AddressLimits {
    /// Takes a connection of `address`; whether it may have it. If so, [`AddressLimits::leave`] is called at its end.
    pub fn enter(&mut self, address: IpAddr) -> bool {
        let usage = self.usage.entry(Origin::of(address)).or_default();
        let may = usage.connections < MOST_CONNECTIONS;
        usage.connections += u32::from(may);
        may
    }

    /// A connection of `address` has ended.
    pub fn leave(&mut self, address: IpAddr, now: Duration) {
        let origin = Origin::of(address);
        if let Some(usage) = self.usage.get_mut(&origin) {
            usage.connections = usage.connections.saturating_sub(1);
            if usage.connections == 0 && usage.logins_until <= now {
                self.usage.remove(&origin);
            }
        }
    }

    /// Takes a login of `address`; whether it may have it.
    pub fn login(&mut self, address: IpAddr, now: Duration) -> bool {
        let usage = self.usage.entry(Origin::of(address)).or_default();
        let until = usage.logins_until.max(now) + LOGIN_EVERY;
        let may = until.saturating_sub(now) <= LOGIN_EVERY * MOST_LOGINS;
        if may {
            usage.logins_until = until;
        }
        may
    }

    /// Forgets addresses that have nothing left. To be called now and then.
    pub fn forget(&mut self, now: Duration) {
        self.usage.retain(|_, usage| usage.connections > 0 || usage.logins_until > now);
        self.usage.shrink_to(1024);
    }

    /// How many addresses are known.
    #[must_use]
    pub fn known(&self) -> usize {
        self.usage.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_customer_is_one_address_or_one_network() {
        let of = |address: &str| Origin::of(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn logins_come_back_one_by_one() {
        let (mut limits, address) = (AddressLimits::default(), "192.0.2.1".parse().unwrap());
        let mut at = |second| limits.login(address, SECOND * second);
        assert!((0..MOST_LOGINS).all(|_| at(0)) && !at(0) && !at(1));
        assert!(at(2) && !at(2) && at(4));
        assert!((0..MOST_LOGINS).all(|_| at(1000)) && !at(1000));
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_his_share_and_everybody_is_forgotten(visits in prop::collection::vec((0_u8..4, any::<bool>(), 0_u64..100), 0..600)) {
            let (mut limits, mut open, mut now) = (AddressLimits::default(), [0; 4], Duration::ZERO);
            for (who, comes, later) in visits {
                now += Duration::from_millis(later);
                let address = IpAddr::from([192, 0, 2, who]);
                let open = &mut open[usize::from(who)];
                if comes {
                    *open += u32::from(limits.enter(address));
                } else if *open > 0 {
                    limits.leave(address, now);
                    *open -= 1;
                }
                prop_assert!(*open <= MOST_CONNECTIONS);
            }
            for (who, open) in (0..).zip(open) {
                (0..open).for_each(|_| limits.leave(IpAddr::from([192, 0, 2, who]), now));
            }
            limits.forget(now);
            prop_assert_eq!(limits.known(), 0);
        }
    }
}
