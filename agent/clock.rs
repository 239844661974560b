//! The clocks. This is the only file that reads one; everything else is given the time.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::idle::Moment;

/// The time since the machine was booted, on tokio's clock: monotonic, still while the machine sleeps, and paused in
/// tests. It shows the same to every agent that runs in one boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    at_origin: Duration,
}

impl Clock {
    /// A clock that runs from now on (`CLOCK_MONOTONIC`, clock_gettime(2)).
    #[must_use]
    pub fn start() -> Self {
        let at_origin = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        Clock { origin: Instant::now(), at_origin }
    }

    /// The time on it.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.at_origin + self.origin.elapsed())
    }

    /// The instant at which it shows `moment`, for tokio's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.0.saturating_sub(self.at_origin)
    }
}

/// The wall clock, for people and for SSM. Nothing is decided by it.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// A sleep shorter than this is the difference between two readings of a clock.
pub const SLEEP: Duration = Duration::from_secs(1);

/// How long the machine has slept since it was booted: what `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does not
/// (clock_gettime(2)).
#[must_use]
pub fn slept() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let in_all = clock_gettime(ClockId::Boottime);
    Duration::try_from(in_all).unwrap_or_default().saturating_sub(Duration::try_from(awake).unwrap_or_default())
}
