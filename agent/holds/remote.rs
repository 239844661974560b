//! A hold by SSM parameter: the value of `hold.parameter` is an RFC 3339 time and, after a space, a reason.

use crate::holds::ledger::{Claim, HoldEnd};
use crate::holds::tidy;

/// The hold that `value` asks for; `None` if it does not begin with an RFC 3339 time.
#[must_use]
pub fn parse(value: &str) -> Option<Claim> {
    let (until, reason) = mc_heartbeat::hold::parse(value)?;
    let reason = tidy(reason);
    let reason = if reason.is_empty() { "no reason given".to_owned() } else { reason };
    Some(Claim { reason, end: HoldEnd::Wall(until) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_hold_is_a_time_and_a_reason() {
        let claim = |until: &str, reason: &str| {
            Some(Claim { reason: reason.to_owned(), end: HoldEnd::Wall(until.parse().unwrap()) })
        };
        assert_eq!(parse("2026-11-22T22:00:00Z big build\n"), claim("2026-11-22T22:00:00Z", "big build"));
        assert_eq!(parse("2026-11-22T22:00:00+01:00"), claim("2026-11-22T21:00:00Z", "no reason given"));
        for wrong in ["", "none", "2026-11-22", "2h because", "22:00 late"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
