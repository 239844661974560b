//! Until when the writer of a heartbeat may be assumed to be alive.

use std::time::Duration;

use jiff::Timestamp;

use crate::Heartbeat;

/// A promise for longer than this is not believed: the longest interval between two heartbeats is an hour.
const LONGEST: Duration = Duration::from_hours(1);

impl Heartbeat {
    /// How long it is valid, at most an hour: until the next one follows.
    #[must_use]
    pub fn speaks_for(&self) -> Duration {
        Duration::try_from(self.next_by.duration_since(self.at)).unwrap_or_default().min(LONGEST)
    }

    /// When it lapses, if it arrived at `arrived_at`, the `LastModifiedDate` of its parameter. Both times are on the
    /// reader's side, so the instance's clock, which may be wrong, is not compared with any other.
    #[must_use]
    pub fn lapses_at(&self, arrived_at: Timestamp) -> Timestamp {
        arrived_at.checked_add(self.speaks_for()).unwrap_or(Timestamp::MAX)
    }

    /// Whether it has not lapsed at `now`.
    #[must_use]
    pub fn is_alive(&self, arrived_at: Timestamp, now: Timestamp) -> bool {
        now <= self.lapses_at(arrived_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(at: &str, next_by: &str) -> Heartbeat {
        let example: Heartbeat = serde_json::from_str(include_str!("examples/idle.json")).unwrap();
        Heartbeat { at: at.parse().unwrap(), next_by: next_by.parse().unwrap(), ..example }
    }

    #[test]
    fn it_lives_for_as_long_as_it_says_whatever_the_instances_clock_shows() {
        let arrived: Timestamp = "2026-11-22T21:40:00Z".parse().unwrap();
        for (at, next_by, seconds) in [
            ("2026-11-22T21:40:00Z", "2026-11-22T21:43:00Z", 180),
            // Its clock is days ahead, or years behind.
            ("2026-11-25T21:40:00Z", "2026-11-25T21:43:00Z", 180),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:03:00Z", 180),
            // It promises too much, or nothing.
            ("2026-11-22T21:40:00Z", "2036-11-22T21:43:00Z", 3600),
            ("2026-11-22T21:40:00Z", "2026-11-22T21:39:00Z", 0),
        ] {
            let heartbeat = heartbeat(at, next_by);
            let after = |seconds: i64| arrived + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(heartbeat.lapses_at(arrived), after(seconds), "{at} {next_by}");
            assert!(heartbeat.is_alive(arrived, after(seconds)) && !heartbeat.is_alive(arrived, after(seconds + 1)));
        }
        assert_eq!(heartbeat("2026-11-22T21:40:00Z", "2026-11-22T21:43:00Z").lapses_at(Timestamp::MAX), Timestamp::MAX);
    }
}
