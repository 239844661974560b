//! The state as a heartbeat reports it.

use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::text::NAMES_BETWEEN;
use mc_heartbeat::{AgentState, EfsState, Heartbeat, VERSION};
use mc_service::printable::printable;

use crate::holds::{self, Hold};
use crate::report::sentence::sentence;
use crate::report::snapshot::Snapshot;

/// The state as a heartbeat reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub state: AgentState,
    /// `None` when unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `None` when unknown.
    pub young: Option<usize>,
    /// Whether a server listens; `None` when unknown.
    pub listening: Option<bool>,
    /// Players online according to the servers; `None`: no server answers.
    pub online: Option<u32>,
    /// Their names, as far as the servers give them.
    pub names: Vec<String>,
    /// When a player was last seen; `None`: not since boot.
    pub last_player_at: Option<Timestamp>,
    /// Time on the running clock; `None`: no clock is running.
    pub idle: Option<Duration>,
    /// The window of that clock.
    pub window: Option<Duration>,
    /// When the stop is due, if nothing changes.
    pub stop_at: Option<Timestamp>,
    /// The hold that lasts longest.
    pub hold: Option<Hold>,
    /// The worst state of all EFS mounts.
    pub efs: EfsState,
    /// EC2 is about to reclaim the instance: not a field of the heartbeat, but a change makes one due at once.
    pub reclaimed: bool,
    pub why: String,
}

impl Report {
    /// The report of `snapshot`.
    #[must_use]
    pub fn new(snapshot: &Snapshot<'_>) -> Self {
        let Snapshot { view, conditions, .. } = snapshot;
        Report {
            state: state(&view.state),
            players: view.counts.map(|counts| counts.players),
            young: view.counts.map(|counts| counts.young),
            listening: view.listening,
            online: view.online,
            names: view.names.clone(),
            last_player_at: snapshot.last_player_at(),
            idle: view.running.map(|running| running.elapsed),
            window: view.window,
            stop_at: snapshot.stop_at(),
            hold: holds::longest(&conditions.holds).cloned(),
            efs: efs(view.efs),
            reclaimed: conditions.notice.is_some(),
            why: sentence(snapshot),
        }
    }

    /// The report at the start, before the first sample.
    #[must_use]
    pub fn starting(efs: EfsState, why: String) -> Self {
        Report {
            state: AgentState::Starting,
            players: None,
            young: None,
            listening: None,
            online: None,
            names: Vec::new(),
            last_player_at: None,
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

/// The writer of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub instance_id: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
}

impl Report {
    /// The heartbeat that `author` writes at `at`. After `next_by` a reader may call the agent dead.
    #[must_use]
    pub fn heartbeat(&self, author: &Writer, at: Timestamp, next_by: Timestamp) -> Heartbeat {
        let shown = |text: &str| printable(text).into_owned();
        let count = |count: Option<usize>| count.map(|count| count as u64);
        Heartbeat {
            v: VERSION,
            instance_id: shown(&author.instance_id),
            boot_id: shown(&author.boot_id),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            state: self.state,
            players: count(self.players),
            young: count(self.young),
            listening: self.listening,
            online: self.online,
            names: Some(shown(&self.names.join(NAMES_BETWEEN))).filter(|names| !names.is_empty()),
            last_player_at: self.last_player_at,
            idle_seconds: self.idle.map(|idle| idle.as_secs()),
            window_seconds: self.window.map(|window| window.as_secs()),
            stop_at: self.stop_at,
            held_until: self.hold.as_ref().and_then(|hold| at.checked_add(hold.left?).ok()),
            hold_reason: self.hold.as_ref().map(|hold| shown(&hold.reason)),
            efs: self.efs,
            why: shown(&self.why),
            at,
            next_by,
        }
    }
}

fn state(state: &mc_idle_rule::State) -> AgentState {
    use mc_idle_rule::State as Of;
    match state {
        Of::Starting => AgentState::Starting,
        Of::NoServer => AgentState::NoServer,
        Of::Occupied => AgentState::Occupied,
        Of::Idle => AgentState::Idle,
        Of::Due(_) => AgentState::Due,
        Of::Blind { .. } => AgentState::Blind,
        Of::Stopping { .. } => AgentState::Stopping,
        Of::StopFailed { .. } => AgentState::StopFailed,
        Of::Ended => AgentState::Ended,
    }
}

/// The state of EFS as the heartbeat reports it.
#[must_use]
pub fn efs(efs: mc_idle_rule::Efs) -> EfsState {
    use mc_idle_rule::Efs as Of;
    match efs {
        Of::Off => EfsState::Off,
        Of::Mounted | Of::Unproven => EfsState::Mounted,
        Of::Missing => EfsState::Missing,
        Of::Hung => EfsState::Hung,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holds::Source;

    fn author() -> Writer {
        Writer {
            instance_id: "i-0123456789abcdef0".to_owned(),
            boot_id: "5f0c1d0e-4e8e-4a51-b9c5-0a5a2c7d1f3b".to_owned(),
        }
    }

    fn report(why: String) -> Report {
        Report {
            players: Some(0),
            young: Some(2),
            listening: Some(true),
            online: Some(1),
            names: vec!["Alex".to_owned(), "Steve".to_owned()],
            last_player_at: Some("2026-11-22T21:25:00.7Z".parse().unwrap()),
            idle: Some(Duration::from_secs_f64(61.9)),
            window: Some(Duration::from_secs(900)),
            stop_at: Some("2026-11-22T21:40:00.4Z".parse().unwrap()),
            state: AgentState::Idle,
            ..Report::starting(EfsState::Mounted, why)
        }
    }

    fn held(reason: String) -> Hold {
        Hold { source: Source::Operator, reason, left: Some(Duration::from_hours(2)) }
    }

    fn parsed(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn has_every_field_and_is_flat() {
        let at = "2026-11-22T21:26:01.9Z".parse().unwrap();
        let text = report("Nobody plays.".to_owned()).heartbeat(&author(), at, at).text();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "v": 1, "instance_id": "i-0123456789abcdef0", "boot_id": "5f0c1d0e-4e8e-4a51-b9c5-0a5a2c7d1f3b",
                "agent": env!("CARGO_PKG_VERSION"), "state": "idle", "players": 0, "young": 2,
                "listening": true, "online": 1, "names": "Alex, Steve", "last_player_at": "2026-11-22T21:25:00Z", "idle_seconds": 61,
                "window_seconds": 900, "stop_at": "2026-11-22T21:40:00Z", "held_until": null, "hold_reason": null,
                "efs": "mounted", "why": "Nobody plays.", "at": "2026-11-22T21:26:01Z",
                "next_by": "2026-11-22T21:26:01Z"
            })
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let at = Timestamp::UNIX_EPOCH;
        let value = parsed(&Report::starting(EfsState::Off, String::new()).heartbeat(&author(), at, at).text());
        for field in ["players", "young", "listening", "online", "names", "last_player_at"] {
            assert!(value.get(field).is_some_and(serde_json::Value::is_null), "{field}: {value}");
        }
    }

    #[test]
    fn what_others_wrote_is_written_out() {
        let at = Timestamp::UNIX_EPOCH;
        let report = Report {
            names: vec!["evil\u{202e}\n".to_owned()],
            hold: Some(held("{{\u{1b}[2J}}".to_owned())),
            ..report(String::new())
        };
        let value = parsed(&report.heartbeat(&author(), at, at).text());
        assert_eq!(value["names"], "evil\\u202e\\n");
        assert_eq!(value["hold_reason"], "((\\u001b[2J))");
    }

    #[test]
    fn every_state_and_mount_has_the_word_of_the_rule() {
        use mc_idle_rule::{Blocker, Efs as Mount, State as Of};
        let word = |state: &Of| serde_json::to_value(super::state(state)).unwrap();
        let stop_error = mc_idle_rule::rule::StopError { permanent: true, text: String::new() };
        let blind = Of::Blind { why: String::new(), lasting: Duration::ZERO };
        let failed = Of::StopFailed { stop_error, again_in: Duration::ZERO };
        let stopping = Of::Stopping { accepted: true };
        for state in [
            Of::Starting,
            Of::NoServer,
            Of::Occupied,
            Of::Idle,
            Of::Due(Blocker::Moment),
            blind,
            stopping,
            failed,
            Of::Ended,
        ] {
            assert_eq!(word(&state), state.word());
        }
        for mount in [Mount::Off, Mount::Mounted, Mount::Unproven, Mount::Missing, Mount::Hung] {
            assert_eq!(serde_json::to_value(efs(mount)).unwrap(), mount.word());
        }
    }
}
