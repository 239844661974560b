//! The text of a heartbeat: under 1 KB, whatever it contains.

use crate::Heartbeat;

/// The longest text, in bytes.
pub const LONGEST: usize = 1023;
/// The longest instance or boot id that is written, in bytes. Real ones have 19 and 36.
const ID_LONGEST: usize = 64;
/// The separator between two names.
pub const NAMES_BETWEEN: &str = ", ";

impl Heartbeat {
    /// The JSON text, at most [`LONGEST`] bytes: first `why` is shortened, then `names`, then `hold_reason`. Braces in
    /// texts become parentheses, because SSM refuses a value with `{{` (PutParameter, API reference).
    #[must_use]
    pub fn text(&self) -> String {
        let mut short = self.clone();
        for id in [&mut short.instance_id, &mut short.boot_id] {
            *id = without_braces(id);
            let excess = id.len().saturating_sub(ID_LONGEST);
            shorten(id, excess);
        }
        for text in [Some(&mut short.why), short.names.as_mut(), short.hold_reason.as_mut()].into_iter().flatten() {
            *text = without_braces(text);
        }
        let mut text = json(&short);
        let steps: [fn(&mut Heartbeat, usize); 3] = [
            |heartbeat, excess| shorten(&mut heartbeat.why, excess),
            |heartbeat, excess| {
                heartbeat.names.iter_mut().for_each(|names| shorten_list(names, excess));
                heartbeat.names.take_if(|names| names.is_empty());
            },
            |heartbeat, excess| heartbeat.hold_reason.iter_mut().for_each(|reason| shorten(reason, excess)),
        ];
        for step in steps {
            let excess = text.len().saturating_sub(LONGEST);
            if excess > 0 {
                step(&mut short, excess);
                text = json(&short);
            }
        }
        text
    }

    /// Parses `text`.
    ///
    /// # Errors
    /// It is not a heartbeat.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

fn json(heartbeat: &Heartbeat) -> String {
    // Fails only for maps with non-string keys and for failing Serialize impls; there are none here.
    serde_json::to_string(heartbeat).unwrap_or_default()
}

/// Removes characters from the end until `excess` bytes are gone. No character has fewer bytes in JSON.
fn shorten(text: &mut String, excess: usize) {
    let longest = text.len().saturating_sub(excess);
    while text.len() > longest {
        text.pop();
    }
}

/// The same with whole names.
fn shorten_list(names: &mut String, excess: usize) {
    let longest = names.len().saturating_sub(excess);
    while names.len() > longest {
        names.truncate(names.rfind(NAMES_BETWEEN).unwrap_or(0));
    }
}

fn without_braces(text: &str) -> String {
    text.chars()
        .map(|char| {
            if char == '{' {
                '('
            } else if char == '}' {
                ')'
            } else {
                char
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentState, EfsState, VERSION};
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn heartbeat(why: String) -> Heartbeat {
        let example: Heartbeat = serde_json::from_str(include_str!("examples/idle.json")).unwrap();
        Heartbeat { why, ..example }
    }

    fn parsed(text: &str) -> Heartbeat {
        assert!(text.len() <= LONGEST, "{} bytes: {text}", text.len());
        Heartbeat::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_as_it_was() {
        for (name, example) in [
            ("starting", include_str!("examples/starting.json")),
            ("no-server", include_str!("examples/no-server.json")),
            ("occupied", include_str!("examples/occupied.json")),
            ("idle", include_str!("examples/idle.json")),
            ("due", include_str!("examples/due.json")),
            ("blind", include_str!("examples/blind.json")),
            ("stopping", include_str!("examples/stopping.json")),
            ("stop-failed", include_str!("examples/stop-failed.json")),
            ("ended", include_str!("examples/ended.json")),
        ] {
            let heartbeat = Heartbeat::parse(example).unwrap();
            assert_eq!(heartbeat.v, VERSION);
            assert_eq!(serde_json::to_value(heartbeat.state).unwrap(), name);
            let value: serde_json::Value = serde_json::from_str(example).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&heartbeat.text()).unwrap(), value, "{name}");
        }
    }

    #[test]
    fn readers_ignore_what_they_do_not_know() {
        let mut value: serde_json::Value = serde_json::from_str(include_str!("examples/idle.json")).unwrap();
        value["mood"] = "good".into();
        value["state"] = "hibernating".into();
        value["efs"] = "slow".into();
        let heartbeat: Heartbeat = serde_json::from_value(value).unwrap();
        assert_eq!((heartbeat.state, heartbeat.efs), (AgentState::Unknown, EfsState::Unknown));
    }

    #[test]
    fn times_are_in_whole_seconds() {
        let at: Timestamp = "2026-11-22T21:26:01.9Z".parse().unwrap();
        let text = Heartbeat { at, stop_at: Some(at), ..heartbeat(String::new()) }.text();
        assert!(text.contains(r#""at":"2026-11-22T21:26:01Z""#), "{text}");
        assert!(text.contains(r#""stop_at":"2026-11-22T21:26:01Z""#), "{text}");
    }

    #[test]
    fn a_reason_of_two_hundred_emoji_fits_and_so_does_it_beside_long_names() {
        let why = "No players on port 25565; this instance stops when the hold ends. ".repeat(4);
        let written = |names: usize, reason: &str| {
            let names: Vec<String> = (0..names).map(|name| format!("Player{name:010}")).collect();
            let names = Some(names.join(NAMES_BETWEEN));
            parsed(&Heartbeat { names, hold_reason: Some(reason.to_owned()), ..heartbeat(why.clone()) }.text())
        };
        let (short, long) = ("nightly backup", "🎮".repeat(200));
        // What comes first is shortened first, and no further than necessary.
        let first = written(2, short);
        assert!(why.starts_with(&first.why) && first.hold_reason.as_deref() == Some(short), "{first:?}");
        let second = written(40, short);
        assert!(second.why.is_empty() && second.hold_reason.as_deref() == Some(short), "{second:?}");
        let names = second.names.unwrap();
        assert!(names.len() > 100 && names.split(", ").all(|name| name.len() == 16), "{names}");
        let third = written(40, &long);
        let reason = third.hold_reason.unwrap();
        assert!(third.names.is_none() && long.starts_with(&reason) && reason.len() > 300, "{reason}");
    }

    proptest! {
        #[test]
        fn is_always_under_a_kilobyte_and_never_a_template(
            texts in prop::array::uniform3("\\PC{0,40}|[\u{0}-\u{1f}\"{}\u{202e}🎮]{0,40}"),
            times in prop::array::uniform3(0_usize..60),
            ids in prop::array::uniform2("[a-z\"\u{0}{}]{0,200}"),
            numbers in any::<(Option<u64>, Option<u64>, Option<u32>, Option<u64>)>(),
            first in -377_705_116_800_i64..253_402_207_200,
        ) {
            let [why, reason, names] = std::array::from_fn(|index| texts[index].repeat(times[index]));
            let at = Timestamp::from_second(first).unwrap();
            let (players, young, online, seconds) = numbers;
            let [instance_id, boot_id] = ids;
            let heartbeat = Heartbeat {
                v: VERSION, instance_id, boot_id, agent: "10.20.30".to_owned(), state: AgentState::StopFailed,
                players, young, listening: Some(false), online, names: Some(names),
                last_player_at: Some(at), idle_seconds: seconds, window_seconds: seconds, stop_at: Some(at),
                held_until: Some(at), hold_reason: Some(reason), efs: EfsState::Mounted, why, at, next_by: at,
            };
            let text = heartbeat.text();
            prop_assert!(text.len() <= LONGEST, "{} bytes: {text}", text.len());
            prop_assert!(!text.contains("{{") && !text.contains("}}"));
            prop_assert!(Heartbeat::parse(&text).is_ok());
        }
    }
}
