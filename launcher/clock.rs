//! The time. Everything that decides takes it as an argument; only what carries out decisions asks here.
#![expect(clippy::disallowed_methods, reason = "this is where the time comes from")]

use jiff::Timestamp;
use tokio::time::Instant;

/// The time of day.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// For waiting: not set back by anybody.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}
