//! Times as people and other programs read them.

use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

/// RFC 3339, UTC, whole seconds, never in the future.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let floor = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor);
    time.round(floor).unwrap_or(time).to_string()
}

/// Milliseconds, the unit of times in files.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
