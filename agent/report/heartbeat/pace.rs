//! When the next heartbeat is written. Pure: the time is an argument.

use std::time::Duration;

use mc_idle_rule::Moment;
use mc_idle_rule::backoff::{Jitter, wait_between};

/// The shortest time between two heartbeats.
pub const CLOSEST: Duration = Duration::from_secs(1);
/// The longest interval under throttling.
const SLOWEST: Duration = Duration::from_mins(15);
/// The shortest wait after a failure other than throttling.
const RETRY: Duration = Duration::from_secs(5);
/// The shortest wait after throttling.
const THROTTLED_RETRY: Duration = Duration::from_secs(2);
/// A reader calls the agent dead after this many missed heartbeats.
const MISSED: u32 = 3;

/// The result of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteResult {
    Written,
    /// SSM asked for fewer requests.
    Throttled,
    /// Any other failure.
    Failed,
}

/// Decides when to write heartbeats.
#[derive(Debug)]
pub struct HeartbeatPace {
    base: Duration,
    interval: Duration,
    failures: u32,
    regular: Moment,
    earliest: Moment,
}

impl HeartbeatPace {
    /// A pace of one heartbeat every `base`, the first at `now`.
    #[must_use]
    pub fn new(base: Duration, now: Moment) -> Self {
        HeartbeatPace { base, interval: base, failures: 0, regular: now, earliest: now }
    }

    /// Changes the base interval.
    pub fn set_base(&mut self, base: Duration) {
        if base != self.base {
            self.base = base;
            self.interval = base;
        }
    }

    /// When to write next; `changed`: there is news to write.
    #[must_use]
    pub fn next(&self, changed: bool) -> Moment {
        if changed { self.earliest } else { self.regular.max(self.earliest) }
    }

    /// Records the result of an attempt. Throttling doubles the interval, and each success shortens it by an eighth
    /// until it is back at the base. If it shortened faster, a fleet too large for the account would be throttled again
    /// at every other attempt.
    ///
    /// A refused heartbeat is retried long before the interval is over. News is rare enough to get through once regular
    /// heartbeats have become rarer, and a retried regular one still arrives before readers of the last one give up.
    pub fn attempted(&mut self, now: Moment, outcome: WriteResult, jitter: Jitter) {
        self.failures = if outcome == WriteResult::Written { 0 } else { self.failures.saturating_add(1) };
        self.interval = match outcome {
            WriteResult::Written => (self.interval * 7 / 8).max(self.base),
            WriteResult::Throttled => (self.interval * 2).min(SLOWEST.max(self.base)),
            WriteResult::Failed => self.interval,
        };
        let again = |shortest| wait_between(shortest, self.interval.max(RETRY), self.failures, jitter);
        let (earliest, regular) = match outcome {
            // Spread by a tenth either way, so that servers started together do not write together.
            WriteResult::Written => (CLOSEST, jitter.between(self.interval * 9 / 10, self.interval * 11 / 10)),
            WriteResult::Throttled => {
                let soon = again(THROTTLED_RETRY);
                (soon, soon.max(jitter.between(self.interval / 4, self.interval / 3)))
            }
            WriteResult::Failed => (again(RETRY), again(RETRY)),
        };
        (self.earliest, self.regular) = (now.plus(earliest), now.plus(regular));
    }

    /// How long a reader must wait for the next heartbeat before it may call the agent dead.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval * MISSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn interval_after(pace: &mut HeartbeatPace, outcome: WriteResult) -> u64 {
        pace.attempted(at(0), outcome, Jitter::new(0.5));
        (pace.patience() / MISSED).as_secs()
    }

    fn wait_after(pace: &mut HeartbeatPace, outcome: WriteResult, share: f64) -> u64 {
        pace.attempted(at(0), outcome, Jitter::new(share));
        pace.next(false).0.as_secs()
    }

    #[test]
    fn throttling_doubles_the_interval_up_to_a_quarter_of_an_hour_and_it_comes_back() {
        let mut pace = HeartbeatPace::new(BASE, at(0));
        let slower: Vec<u64> = (0..6).map(|_| interval_after(&mut pace, WriteResult::Throttled)).collect();
        assert_eq!(slower, [120, 240, 480, 900, 900, 900]);
        let faster: Vec<u64> = (0..24).map(|_| interval_after(&mut pace, WriteResult::Written)).collect();
        assert_eq!(faster[..5], [787, 689, 602, 527, 461]);
        assert_eq!(faster[19..], [62, 60, 60, 60, 60]);
        assert_eq!(pace.next(false), at(60));
    }

    #[test]
    fn throttling_without_end_is_tried_again_every_quarter_of_an_hour_at_most() {
        let mut pace = HeartbeatPace::new(BASE, at(0));
        let waits: Vec<u64> = (0..20).map(|_| wait_after(&mut pace, WriteResult::Throttled, 0.999)).collect();
        assert!(waits.is_sorted() && waits[19] > 890 && waits[19] <= 900, "{waits:?}");
        assert!(pace.next(true) == pace.next(false));
    }

    #[test]
    fn a_heartbeat_refused_once_still_comes_while_readers_wait() {
        for share in [0.0, 0.5, 0.999] {
            let mut pace = HeartbeatPace::new(BASE, at(0));
            let promised = pace.patience().as_secs();
            let waited = wait_after(&mut pace, WriteResult::Written, share)
                + wait_after(&mut pace, WriteResult::Throttled, share);
            assert!(waited < promised * 2 / 3, "{waited} s, {promised} s promised");
        }
    }

    #[test]
    fn news_are_told_at_once_but_never_twice_a_second() {
        let mut pace = HeartbeatPace::new(BASE, at(0));
        assert_eq!(pace.next(false), at(0));
        pace.attempted(at(10), WriteResult::Written, Jitter::new(0.5));
        assert_eq!(pace.next(true), at(11));
        assert_eq!(pace.next(false), at(70));
    }

    #[test]
    fn a_failure_is_tried_again_soon_and_then_less_often() {
        let mut pace = HeartbeatPace::new(BASE, at(0));
        let waits: Vec<u64> = (0..6).map(|_| wait_after(&mut pace, WriteResult::Failed, 0.5)).collect();
        assert!(waits[0] < 10 && waits.is_sorted() && waits[5] <= 60, "{waits:?}");
    }

    #[test]
    fn throttled_news_are_tried_again_soon_and_then_less_often() {
        let mut pace = HeartbeatPace::new(BASE, at(0));
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.attempted(at(0), WriteResult::Throttled, Jitter::new(0.5));
            waits.push(pace.next(true).0.as_secs());
        }
        assert!((2..4).contains(&waits[0]) && waits.is_sorted() && waits[11] > 600, "{waits:?}");
    }
}
