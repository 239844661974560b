//! How many bytes have come in over the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

use super::moment::Moment;

/// No caller asks about a longer period than this.
const LONGEST: Duration = Duration::from_mins(10);
/// Values are kept at most this often, apart from the newest.
const APART: Duration = Duration::from_secs(20);
/// A value older than this says nothing about now.
const FRESH: Duration = Duration::from_mins(2);

/// What a counter of received bytes showed, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    points: VecDeque<(Moment, u64)>,
}

impl Traffic {
    /// Records what the counter shows at `now`. If it has gone back, it is a different counter.
    pub fn note(&mut self, now: Moment, received: u64) {
        match self.points.back() {
            Some((_, last)) if received < *last => self.points.clear(),
            // Only the newest value is ever replaced, so that the others reach the age that is asked for.
            Some((at, _)) if self.points.len() > 1 && now.since(*at) < APART => {
                let before = self.points[self.points.len() - 2].0;
                if at.since(before) < APART {
                    self.points.pop_back();
                }
            }
            _ => {}
        }
        self.points.push_back((now, received));
        while self.points.get(1).is_some_and(|(at, _)| now.since(*at) >= LONGEST) {
            self.points.pop_front();
        }
    }

    fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// Whether fewer than `limit` bytes have come in during at least the last `stretch`; false if that is not known.
    #[must_use]
    pub fn is_below(&self, limit: u64, stretch: Duration, now: Moment) -> bool {
        let Some((latest, received)) = self.points.back().filter(|(at, _)| now.since(*at) <= FRESH) else {
            return false;
        };
        let before = self.points.iter().rev().find(|(at, _)| latest.since(*at) >= stretch);
        before.is_some_and(|(_, then)| received - then < limit)
    }
}

/// What the interfaces of a network have received, apart from the agent's own questions: those alone would keep a network
/// from ever being quiet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkTraffic {
    /// What the counter last showed.
    counter: u64,
    /// What the agent's own questions have brought, as far as no increase of the counter has been put down to it.
    own: u64,
    /// What others have.
    others: u64,
    traffic: Traffic,
}

impl NetworkTraffic {
    /// Records that so many bytes have arrived because of the agent itself.
    pub fn own(&mut self, bytes: u64) {
        self.own = self.own.saturating_add(bytes);
    }

    /// Records what the counter shows at `now`. If it has gone back, it is a different counter.
    pub fn note(&mut self, now: Moment, received: u64) {
        if self.traffic.is_empty() || received < self.counter {
            *self = NetworkTraffic { counter: received, ..NetworkTraffic::default() };
        }
        let more = received - self.counter;
        let own = self.own.min(more);
        self.counter = received;
        self.own -= own;
        self.others += more - own;
        self.traffic.note(now, self.others);
    }

    /// As [`Traffic::is_below`], for what others have brought.
    #[must_use]
    pub fn is_below(&self, limit: u64, stretch: Duration, now: Moment) -> bool {
        self.traffic.is_below(limit, stretch, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn what_is_not_known_is_not_little() {
        let mut traffic = Traffic::default();
        assert!(!traffic.is_below(600, Duration::ZERO, at(0)));
        traffic.note(at(0), 10);
        assert!(!traffic.is_below(600, Duration::from_mins(5), at(0)));
        traffic.note(at(300), 10);
        assert!(traffic.is_below(1, Duration::from_mins(5), at(300)));
        assert!(!traffic.is_below(1, Duration::from_mins(5), at(421)), "nobody has looked since");
    }

    #[test]
    fn another_counter_begins_anew() {
        let mut traffic = Traffic::default();
        traffic.note(at(0), 1000);
        traffic.note(at(300), 10);
        assert!(!traffic.is_below(600, Duration::from_mins(5), at(300)));
    }

    #[test]
    fn what_the_agent_has_asked_is_not_what_a_network_has_received() {
        let mut traffic = NetworkTraffic::default();
        traffic.own(1_000_000);
        // A question every minute, which a sample may show before it is over.
        for second in (0..600).step_by(5) {
            traffic.note(at(second), 5000 + 300 * (second + 57).div_ceil(60));
            if second % 60 == 5 {
                traffic.own(300);
            }
        }
        assert!(traffic.is_below(600, Duration::from_mins(5), at(595)));
        // A new network of this number.
        for second in (600..1200).step_by(5) {
            traffic.note(at(second), second);
        }
        assert!(!traffic.is_below(300, Duration::from_mins(5), at(1195)), "what was asked before is not taken off it");
    }

    proptest! {
        /// Never claims that fewer bytes came in than did, whatever is recorded and when.
        #[test]
        fn little_is_little(steps in prop::collection::vec((1_u64..90, 0_u64..300), 1..200), limit in 1_u64..900) {
            let mut traffic = Traffic::default();
            let (mut now, mut total) = (0, 0);
            let mut all = Vec::new();
            for (seconds, bytes) in steps {
                now += seconds;
                total += bytes;
                all.push((now, total));
                traffic.note(at(now), total);
                let stretch = 300;
                if traffic.is_below(limit, Duration::from_secs(stretch), at(now)) {
                    let before = all.iter().rev().find(|(then, _)| now - then >= stretch).unwrap();
                    prop_assert!(total - before.1 < limit);
                }
                prop_assert!(traffic.points.len() <= 32, "{}", traffic.points.len());
            }
        }
    }
}
