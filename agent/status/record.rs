//! `status.json`: everything that is so, for `mc-idle status` and for scripts. Its schema is `agent/status/schema.json`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::hold::{Hold, Source};
use crate::host::Sample;
use crate::idle::view::{Connection, Standing};
use crate::idle::window::Clock;
use crate::idle::{Moment, Rule, Socket, State, View, Wait};
use crate::keeper::longest_rest;
use crate::sentence::{self, Circumstances};
use crate::wall_time::{millis, rfc3339};

/// The file's name.
pub const NAME: &str = "status.json";
/// The version of its form.
pub const VERSION: u8 = 1;
/// A file is old when it has not been renewed for this many times.
const MISSED: u32 = 3;

/// Everything that is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub v: u8,
    /// The version of the agent.
    pub agent: String,
    /// Its process.
    pub pid: u32,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The own instance id, once it is known.
    pub instance_id: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// What EC2 is asked for: `stop`, `hibernate`, `terminate`.
    pub action: String,
    /// Nothing is asked of AWS.
    pub dry_run: bool,
    /// When this was written, RFC 3339.
    pub at: String,
    /// The same on the kernel's monotonic clock, in ms since boot.
    pub at_ms: u64,
    /// After this moment on that clock, the agent is dead or stuck.
    pub next_by_ms: u64,
    /// The word of the state.
    pub state: String,
    /// The sentence.
    pub why: String,
    /// The part of it that nothing else here says.
    #[serde(default)]
    pub summary: String,
    /// The Minecraft ports.
    pub ports: Vec<u16>,
    /// Players; `null` when unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `null` when unknown.
    pub young: Option<usize>,
    /// Every connection; `null` when unknown.
    pub connections: Option<Vec<ConnectionRecord>>,
    /// The clock that runs: `idle` or `no-server`.
    pub clock: Option<String>,
    /// How far it has come.
    pub idle_seconds: Option<u64>,
    /// Its window.
    pub window_seconds: Option<u64>,
    /// When the stop is due, RFC 3339.
    pub stop_at: Option<String>,
    /// What a stop waits for beyond the end of its window.
    pub delayed_by: Option<String>,
    /// Who holds the instance.
    pub holds: Vec<HoldRecord>,
    /// The EFS mount.
    pub efs: EfsRecord,
    /// The heartbeat.
    pub heartbeat: HeartbeatRecord,
    /// What makes a stop another thing on this instance.
    pub cautions: Vec<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// The client's address and port.
    pub peer: String,
    /// The server's.
    pub local: String,
    /// For how long it has been seen; `null` for a peer that is ignored.
    pub age_seconds: Option<u64>,
    /// `player`, `young`, `joining`, `backlog` or `ignored`.
    pub counts_as: String,
    /// Why, in words.
    pub why: String,
    /// The server is in a container.
    pub container: bool,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// Where it comes from.
    pub source: Source,
    /// When it ends, RFC 3339; `null`: when whoever holds it lets go.
    pub until: Option<String>,
    /// Why.
    pub reason: String,
}

/// The EFS mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfsRecord {
    /// `mounted`, `missing`, `hung` or `off`.
    pub state: String,
    /// Where it is to be mounted; `null`: nothing is on EFS.
    pub mount_point: Option<String>,
}

/// The heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRecord {
    /// The parameter; `null`: none.
    pub parameter: Option<String>,
    /// When it was last written, RFC 3339.
    pub written_at: Option<String>,
    /// Why it is not written.
    pub error: Option<String>,
}

/// What the picture is drawn from.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// What the sentence knows.
    pub circumstances: &'a Circumstances,
    /// The rule.
    pub rule: &'a Rule,
    /// The last look at the sockets.
    pub sample: &'a Sample,
    /// When the heartbeat was last written.
    pub heartbeat_written: Option<Timestamp>,
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
}

impl Status {
    /// The picture at `now`, which is `wall` for people.
    #[must_use]
    pub fn new(subject: &Subject<'_>, now: Moment, wall: Timestamp) -> Self {
        let Subject { settings, circumstances, rule, sample, heartbeat_written, boot_id } = *subject;
        let view = rule.view(now);
        let identity = circumstances.identity.as_ref();
        Status {
            v: VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            boot_id: boot_id.to_owned(),
            instance_id: identity.map(|identity| identity.instance_id.clone()),
            region: identity.map(|identity| identity.region.clone()),
            action: settings.action.verb().to_owned(),
            dry_run: circumstances.dry_run,
            at: rfc3339(wall),
            at_ms: millis(now.0),
            next_by_ms: millis(now.0 + longest_rest(settings.sample_interval) * MISSED + Duration::from_secs(1)),
            state: view.state.word().to_owned(),
            why: sentence::sentence(&view, circumstances, wall),
            summary: sentence::summary(&view, circumstances, wall),
            ports: settings.scope.ports.iter().copied().collect(),
            players: view.counts.map(|counts| counts.players),
            young: view.counts.map(|counts| counts.young),
            connections: rule.connections(now).map(|known| connections(&known, sample, settings.min_connection)),
            clock: view.running.map(|running| clock_word(running.clock).to_owned()),
            idle_seconds: view.running.map(|running| running.elapsed.as_secs()),
            window_seconds: view.window.map(|window| window.as_secs()),
            stop_at: stop_at(&view, &circumstances.holds, wall).map(rfc3339),
            delayed_by: delayed_by(&view, circumstances),
            holds: circumstances.holds.iter().map(|hold| hold_record(hold, wall)).collect(),
            efs: EfsRecord {
                state: view.efs.word().to_owned(),
                mount_point: settings.efs().map(|efs| efs.mount_point.display().to_string()),
            },
            heartbeat: HeartbeatRecord {
                parameter: match (&settings.heartbeat.parameter, identity) {
                    (Some(name), Some(identity)) => Some(name.of(&identity.instance_id)),
                    (Some(name), None) => Some(name.as_written().to_owned()),
                    (None, _) => None,
                },
                written_at: heartbeat_written.map(rfc3339),
                error: circumstances.heartbeat_trouble.clone(),
            },
            cautions: circumstances.cautions.iter().filter_map(|caution| caution.text(settings.action)).collect(),
        }
    }

    /// Whether this is `before` with nothing changed but what changes as time passes.
    #[must_use]
    pub fn only_goes_on_from(&self, before: &Status) -> bool {
        let mut then = before.clone();
        then.at.clone_from(&self.at);
        then.next_by_ms = (then.next_by_ms + self.at_ms).saturating_sub(then.at_ms);
        then.at_ms = self.at_ms;
        // A clock that goes back was set back.
        if then.idle_seconds.is_some() && then.idle_seconds <= self.idle_seconds {
            then.idle_seconds = self.idle_seconds;
        }
        let (ours, theirs) = (self.connections.iter().flatten(), then.connections.iter_mut().flatten());
        for (now, then) in ours.zip(theirs) {
            then.age_seconds = now.age_seconds;
        }
        then == *self
    }

    /// The picture as it is after `age`, if nothing has changed since: an agent at rest does not write that time passes.
    #[must_use]
    pub fn after(&self, age: Duration) -> Status {
        let mut later = self.clone();
        let older = |seconds: Option<u64>| seconds.map(|seconds| seconds + age.as_secs());
        // The states in which a clock runs; in others it stands still, or has come to its end.
        if matches!(self.state.as_str(), "idle" | "no-server") {
            later.idle_seconds = older(later.idle_seconds).min(later.window_seconds);
        }
        for connection in later.connections.iter_mut().flatten() {
            connection.age_seconds = older(connection.age_seconds);
        }
        later
    }
}

fn connections(known: &[Connection], sample: &Sample, min_connection: Duration) -> Vec<ConnectionRecord> {
    let record = |socket: &Socket, age: Option<Duration>, counts_as: &str, why: String| ConnectionRecord {
        peer: socket.peer.to_string(),
        local: socket.local.to_string(),
        age_seconds: age.map(|age| age.as_secs()),
        counts_as: counts_as.to_owned(),
        why,
        container: sample.in_containers.contains(socket),
    };
    let counted = known.iter().map(|Connection { socket, age, standing }| {
        let (word, why) = match standing {
            Standing::Player => ("player", "a player".to_owned()),
            Standing::Young => {
                let left = sentence::in_words(min_connection.saturating_sub(*age));
                ("young", format!("too young: a player in {left}"))
            }
            Standing::Joining => ("joining", "not yet accepted by the server".to_owned()),
            Standing::Backlog => ("backlog", "never accepted: the server may hang".to_owned()),
        };
        record(socket, Some(*age), word, why)
    });
    let ignored = sample.ignored.iter().map(|socket| record(socket, None, "ignored", "in ignore_peers".to_owned()));
    counted.chain(ignored).collect()
}

/// When the stop is due, if the clock goes on as it does; unknown while somebody holds without an end.
#[must_use]
pub fn stop_at(view: &View, holds: &[Hold], wall: Timestamp) -> Option<Timestamp> {
    let held =
        holds.iter().map(|hold| hold.left).try_fold(Duration::ZERO, |most, left| left.map(|left| most.max(left)))?;
    wall.checked_add(view.stop_in?.max(held)).ok()
}

fn delayed_by(view: &View, circumstances: &Circumstances) -> Option<String> {
    match &view.state {
        State::Due(wait) => Some(
            match wait {
                Wait::Efs { .. } => "efs",
                Wait::Reclaim => "reclaim",
                Wait::Hold => "hold",
                Wait::Joining => "connection",
                Wait::Moment => return None,
            }
            .to_owned(),
        ),
        State::StopFailed { .. } => Some("refusal".to_owned()),
        State::Blind { .. } => Some("blind".to_owned()),
        State::Idle | State::NoServer if sentence::will_be_refused(circumstances) => Some("refusal".to_owned()),
        State::Idle | State::NoServer if !circumstances.holds.is_empty() => Some("hold".to_owned()),
        _ => None,
    }
}

fn hold_record(hold: &Hold, wall: Timestamp) -> HoldRecord {
    let until = hold.left.and_then(|left| wall.checked_add(left).ok());
    HoldRecord { source: hold.source, until: until.map(rfc3339), reason: hold.reason.clone() }
}

fn clock_word(clock: Clock) -> &'static str {
    match clock {
        Clock::Idle => "idle",
        Clock::NoServer => "no-server",
    }
}
