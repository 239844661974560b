//! The remote hold: what a person writes into a parameter so that an instance stays up.

use jiff::Timestamp;

/// Until when `value` holds, and the rest of it, which is the reason and may be empty; `None` if it does not begin with an
/// RFC 3339 time.
#[must_use]
pub fn parse(value: &str) -> Option<(Timestamp, &str)> {
    let value = value.trim();
    let (until, reason) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    Some((until.parse().ok()?, reason.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_time_and_perhaps_a_reason() {
        let until: Timestamp = "2026-11-22T22:00:00Z".parse().unwrap();
        assert_eq!(parse("2026-11-22T22:00:00Z  big build\n"), Some((until, "big build")));
        assert_eq!(parse("2026-11-22T23:00:00+01:00"), Some((until, "")));
        for wrong in ["", "none", "2026-11-22", "2h because", "22:00 late"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
