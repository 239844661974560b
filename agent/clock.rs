//! The clocks. This is the only file that reads one; everything else is given the time.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::idle::Moment;

/// Counts from its making, on tokio's clock: monotonic, still while the machine sleeps, and paused in tests.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Clock { origin: Instant::now() }
    }

    /// The time on it.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.origin.elapsed())
    }

    /// The instant at which it shows `moment`, for tokio's timers.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.0
    }
}

/// The wall clock, for people and for SSM. Nothing is decided by it.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// How long the machine has slept since it was booted: what `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does not
/// (clock_gettime(2)).
#[must_use]
pub fn slept() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let in_all = clock_gettime(ClockId::Boottime);
    Duration::try_from(in_all).unwrap_or_default().saturating_sub(Duration::try_from(awake).unwrap_or_default())
}
