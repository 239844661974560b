//! How long an account has to wait whose starts nobody joined after: twice as long each time. A machine that runs for
//! nobody costs its idle window.

use std::collections::HashMap;
use std::time::Duration;

/// After the first start in vain, and at most.
const FIRST: Duration = Duration::from_mins(10);
const LONGEST: Duration = Duration::from_hours(6);
/// What nobody has asked for in this time is forgotten.
const REMEMBERED: Duration = Duration::from_hours(24);
/// More accounts are not remembered: those whose last start is the longest ago are dropped.
const MOST: usize = 1024;

#[derive(Debug)]
struct Starts {
    last: Duration,
    /// Somebody was handed over after the last one.
    joined: bool,
    /// How many in a row nobody joined after, the last one aside.
    in_vain: u32,
}

/// Who has started the server, by the account's id.
#[derive(Debug, Default)]
pub struct Accounts {
    starts: HashMap<String, Starts>,
}

impl Accounts {
    /// How long `account` has to wait before it may start the server; zero: it may now.
    #[must_use]
    pub fn wait(&self, account: &str, now: Duration) -> Duration {
        let Some(starts) = self.starts.get(account).filter(|starts| !starts.joined) else { return Duration::ZERO };
        (starts.last + pause(starts.in_vain)).saturating_sub(now)
    }

    /// `account` has started the server.
    pub fn started(&mut self, account: &str, now: Duration) {
        self.starts.retain(|_, starts| now.saturating_sub(starts.last) < REMEMBERED);
        if self.starts.len() >= MOST
            && let Some(oldest) =
                self.starts.iter().min_by_key(|(_, starts)| starts.last).map(|(account, _)| account.clone())
        {
            self.starts.remove(&oldest);
        }
        let before = self.starts.get(account).filter(|starts| !starts.joined);
        let in_vain = before.map_or(0, |starts| starts.in_vain.saturating_add(1));
        self.starts.insert(account.to_owned(), Starts { last: now, joined: false, in_vain });
    }

    /// The last start of `account` came to nothing, for a reason that is not his.
    pub fn forgive(&mut self, account: &str) {
        if let Some(starts) = self.starts.get_mut(account) {
            starts.joined = true;
        }
    }

    /// Somebody was handed over, or plays: the last start of everybody was not in vain.
    pub fn joined(&mut self) {
        self.starts.clear();
    }
}

fn pause(in_vain: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(in_vain)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_start_in_vain_doubles_the_wait_and_a_player_ends_it() {
        let (mut accounts, mut now) = (Accounts::default(), MINUTE);
        assert_eq!(accounts.wait("a", now), Duration::ZERO);
        for minutes in [10, 20, 40, 80] {
            accounts.started("a", now);
            assert_eq!(accounts.wait("a", now), MINUTE * minutes);
            now += MINUTE * minutes;
            assert_eq!(accounts.wait("a", now), Duration::ZERO);
        }
        assert_eq!(accounts.wait("b", now), Duration::ZERO);
        accounts.started("a", now);
        accounts.joined();
        assert_eq!(accounts.wait("a", now), Duration::ZERO);
        accounts.started("a", now);
        assert_eq!(accounts.wait("a", now), 10 * MINUTE);
        accounts.forgive("a");
        assert_eq!(accounts.wait("a", now), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn nobody_waits_for_longer_than_six_hours(starts in prop::collection::vec(0_u64..100_000, 0..80)) {
            let (mut accounts, mut now) = (Accounts::default(), Duration::ZERO);
            for later in starts {
                now += Duration::from_secs(later);
                accounts.started("a", now);
                prop_assert!(accounts.wait("a", now) >= FIRST && accounts.wait("a", now) <= LONGEST);
            }
        }
    }
}
