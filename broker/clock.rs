//! The clock. Only this file reads one; everything else is given the time.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use std::time::Duration;

use tokio::time::Instant;

/// The time since the broker started: monotonic.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that runs from now on.
    #[must_use]
    pub fn start() -> Self {
        Clock { origin: Instant::now() }
    }

    #[must_use]
    pub fn now(self) -> Duration {
        self.origin.elapsed()
    }

    /// The instant at which it shows `time`, for timers; one that is too far away is in a year.
    #[must_use]
    pub fn instant(self, time: Duration) -> Instant {
        self.origin + time.min(Duration::from_hours(24 * 365))
    }
}
