//! The JSON object of a heartbeat: flat, and under 1 KB.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::hold::{self, Hold};
use crate::idle::View;
use crate::status::record::stop_at;
use crate::wall_time::rfc3339;

/// The longest record, in bytes.
pub const LONGEST: usize = 1023;

/// What is so, as a heartbeat says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The word of the state.
    pub state: &'static str,
    /// Players; `None` when unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `None` when unknown.
    pub young: Option<usize>,
    /// What the running clock shows.
    pub idle: Option<Duration>,
    /// The window of that clock.
    pub window: Option<Duration>,
    /// When the stop is due.
    pub stop_at: Option<Timestamp>,
    /// Who holds the instance for longest.
    pub hold: Option<Hold>,
    /// The word for the EFS mount.
    pub efs: &'static str,
    /// EC2 takes the instance back: not a field of its own, but a reader has to know at once.
    pub reclaimed: bool,
    /// The sentence.
    pub why: String,
}

impl Report {
    /// The report of `view`, with its sentence.
    #[must_use]
    pub fn new(view: &View, holds: &[Hold], why: String, reclaimed: bool, wall: Timestamp) -> Self {
        Report {
            state: view.state.word(),
            players: view.counts.map(|counts| counts.players),
            young: view.counts.map(|counts| counts.young),
            idle: view.running.map(|running| running.elapsed),
            window: view.window,
            stop_at: stop_at(view, holds, wall),
            hold: hold::longest(holds).cloned(),
            efs: view.efs.word(),
            reclaimed,
            why,
        }
    }

    /// The report of the start, before anything was seen.
    #[must_use]
    pub fn starting(efs: &'static str, why: String) -> Self {
        Report {
            state: "starting",
            players: None,
            young: None,
            idle: None,
            window: None,
            stop_at: None,
            hold: None,
            efs,
            reclaimed: false,
            why,
        }
    }
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// The own instance id.
    pub instance_id: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
}

#[derive(Serialize)]
struct Record<'a> {
    v: u8,
    instance_id: &'a str,
    boot_id: &'a str,
    agent: &'static str,
    state: &'static str,
    players: Option<usize>,
    young: Option<usize>,
    idle_seconds: Option<u64>,
    window_seconds: Option<u64>,
    stop_at: Option<String>,
    held_until: Option<String>,
    hold_reason: Option<String>,
    efs: &'static str,
    why: &'a str,
    at: String,
    next_by: String,
}

/// The text that is written: `report` by `author` at the time `at`, to be called dead after `next_by`.
///
/// `why` is shortened until the whole fits. Braces in it become parentheses: SSM refuses a value with `{{`.
#[must_use]
pub fn text(report: &Report, author: &Author, at: Timestamp, next_by: Timestamp) -> String {
    let mut why = harmless(&report.why);
    loop {
        let record = Record {
            v: 1,
            instance_id: &author.instance_id,
            boot_id: &author.boot_id,
            agent: env!("CARGO_PKG_VERSION"),
            state: report.state,
            players: report.players,
            young: report.young,
            idle_seconds: report.idle.map(|idle| idle.as_secs()),
            window_seconds: report.window.map(|window| window.as_secs()),
            stop_at: report.stop_at.map(rfc3339),
            held_until: report.hold.as_ref().and_then(|hold| at.checked_add(hold.left?).ok()).map(rfc3339),
            hold_reason: report.hold.as_ref().map(|hold| harmless(&hold.reason)),
            efs: report.efs,
            why: &why,
            at: rfc3339(at),
            next_by: rfc3339(next_by),
        };
        // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
        let text = serde_json::to_string(&record).unwrap_or_default();
        if text.len() <= LONGEST || why.is_empty() {
            return text;
        }
        let excess = (text.len() - LONGEST).div_ceil(4).max(1);
        let kept = why.chars().count().saturating_sub(excess);
        why = why.chars().take(kept).collect();
    }
}

fn harmless(text: &str) -> String {
    let harmless = |char: char| match char {
        '{' => '(',
        '}' => ')',
        _ if char.is_control() => ' ',
        _ => char,
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn author() -> Author {
        Author {
            instance_id: "i-0123456789abcdef0".to_owned(),
            boot_id: "5f0c1d0e-4e8e-4a51-b9c5-0a5a2c7d1f3b".to_owned(),
        }
    }

    fn report(why: String) -> Report {
        Report {
            state: "idle",
            players: Some(0),
            young: Some(2),
            idle: Some(Duration::from_secs_f64(61.9)),
            window: Some(Duration::from_secs(900)),
            stop_at: Some("2026-11-22T21:40:00.4Z".parse().unwrap()),
            hold: None,
            efs: "mounted",
            reclaimed: false,
            why,
        }
    }

    #[test]
    fn has_every_field_and_is_flat() {
        let at = "2026-11-22T21:26:01.9Z".parse().unwrap();
        let text = text(&report("Nobody plays.".to_owned()), &author(), at, at);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "v": 1, "instance_id": "i-0123456789abcdef0", "boot_id": "5f0c1d0e-4e8e-4a51-b9c5-0a5a2c7d1f3b",
                "agent": env!("CARGO_PKG_VERSION"), "state": "idle", "players": 0, "young": 2, "idle_seconds": 61,
                "window_seconds": 900, "stop_at": "2026-11-22T21:40:00Z", "held_until": null, "hold_reason": null,
                "efs": "mounted", "why": "Nobody plays.", "at": "2026-11-22T21:26:01Z",
                "next_by": "2026-11-22T21:26:01Z"
            })
        );
    }

    proptest! {
        #[test]
        fn is_always_under_a_kilobyte_and_never_a_template(why in any::<String>(), times in 1_usize..80) {
            let at = Timestamp::UNIX_EPOCH;
            let text = text(&report(why.repeat(times)), &author(), at, at);
            prop_assert!(text.len() <= LONGEST);
            prop_assert!(!text.contains("{{") && !text.contains("}}"));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }
}
