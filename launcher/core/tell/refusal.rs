//! What to do when a channel does not take a message. Pure.

use std::time::Duration;

use serde_json::Value;

/// A channel has not taken a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A clause, without any address.
    pub why: String,
    /// It will not take the next one either: the owner has to change something.
    pub lasting: bool,
    /// It wants to be left alone for so long.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One that may pass.
    #[must_use]
    pub fn passing(why: String) -> Self {
        Refusal { why, lasting: false, retry_after: None }
    }

    /// One that does not pass by itself.
    #[must_use]
    pub fn lasting(why: String) -> Self {
        Refusal { why, lasting: true, retry_after: None }
    }

    /// What an HTTP answer with `status` means; `None`: the message was taken. A redirect is not followed.
    #[must_use]
    pub fn of_answer(status: u16, retry_after: Option<&str>, body: &[u8]) -> Option<Self> {
        match status {
            200..=299 => None,
            429 => Some(Refusal {
                retry_after: wait(retry_after, body),
                ..Refusal::passing("it answered 429, too many messages".to_owned())
            }),
            404 | 410 => Some(Refusal::lasting(format!("it answered {status}: it was deleted"))),
            300..=399 => Some(Refusal::lasting(format!("it answered {status}, a redirect, which is not followed"))),
            400..=499 if status != 408 => Some(Refusal::lasting(format!("it answered {status}"))),
            _ => Some(Refusal::passing(format!("it answered {status}"))),
        }
    }
}

/// Longer than this is not meant in seconds: Discord has been seen to give milliseconds.
const LONGEST_IN_SECONDS: f64 = 600.0;

/// How long to wait after a 429: `retry_after` of the body, or the header, in seconds or milliseconds.
fn wait(header: Option<&str>, body: &[u8]) -> Option<Duration> {
    let of_body = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("retry_after")?.as_f64());
    let number =
        of_body.or_else(|| header?.trim().parse().ok()).filter(|number| number.is_finite() && *number >= 0.0)?;
    let seconds = if number > LONGEST_IN_SECONDS { number / 1000.0 } else { number };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_obeyed_whether_it_is_in_seconds_or_in_milliseconds() {
        let wait = |header, body: &str| Refusal::of_answer(429, header, body.as_bytes()).unwrap().retry_after;
        assert_eq!(wait(Some("2"), ""), Some(Duration::from_secs(2)));
        assert_eq!(wait(Some("5"), r#"{"retry_after": 1.5}"#), Some(Duration::from_millis(1500)));
        assert_eq!(wait(None, r#"{"retry_after": 2500}"#), Some(Duration::from_millis(2500)));
        for nothing in ["-1", "soon", "NaN", "inf"] {
            assert_eq!(wait(Some(nothing), ""), None, "{nothing}");
        }
        assert_eq!(wait(None, ""), None);
    }

    #[test]
    fn what_lasts_is_told_from_what_passes() {
        let lasting = |status| Refusal::of_answer(status, None, b"").map(|refusal| refusal.lasting);
        for status in [200, 204] {
            assert_eq!(lasting(status), None, "{status}");
        }
        for status in [301, 400, 401, 403, 404, 410] {
            assert_eq!(lasting(status), Some(true), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 100] {
            assert_eq!(lasting(status), Some(false), "{status}");
        }
    }
}
