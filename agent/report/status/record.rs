//! `status.json`: the whole state, for `mc-idle status` and scripts. Its schema is `agent/report/status/schema.json`.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::tracker::ConnectionClass;
use mc_idle_rule::view::ConnectionView;
use mc_idle_rule::{Blocker, Efs, Socket, State, View};
use serde::{Deserialize, Serialize};

use crate::clock::millis;
use crate::holds::{Hold, Source};
use crate::host::mounts::efs::JudgedMount;
use crate::report::conditions::Conditions;
use crate::report::sentence;
use crate::report::snapshot::Snapshot;
use crate::report::status::interval::longest_rest;
use mc_heartbeat::time::rfc3339;

/// The file's name.
pub const NAME: &str = "status.json";
/// The version of the format.
pub const VERSION: u8 = 1;
/// A file is stale after this many missed writes.
const MISSED: u32 = 3;

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// [`VERSION`].
    pub v: u8,
    /// The version of the agent.
    pub agent: String,
    pub pid: u32,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// `null` until it is known.
    pub instance_id: Option<String>,
    /// `null` until it is known.
    pub region: Option<String>,
    /// `stop`, `hibernate` or `terminate`.
    pub action: String,
    /// No requests go to AWS.
    pub dry_run: bool,
    /// When this was written, RFC 3339.
    pub at: String,
    /// The same on the kernel's monotonic clock, in ms since boot.
    pub at_ms: u64,
    /// After this moment on that clock the agent is dead or stuck.
    pub next_by_ms: u64,
    /// The state word.
    pub state: String,
    /// The whole sentence.
    pub why: String,
    /// The part of `why` that no other field has. An agent before an upgrade may not have written it.
    #[serde(default)]
    pub summary: String,
    pub ports: Vec<u16>,
    /// `null` when unknown.
    pub players: Option<usize>,
    /// Connections too young to count; `null` when unknown.
    pub young: Option<usize>,
    /// Whether a server listens; `null` when unknown.
    #[serde(default)]
    pub listening: Option<bool>,
    /// Players online according to the servers; `null`: no server answers.
    #[serde(default)]
    pub online: Option<u32>,
    /// Their names, as far as the servers give them.
    #[serde(default)]
    pub names: Vec<String>,
    /// When a player was last seen, RFC 3339; `null`: not since boot.
    #[serde(default)]
    pub last_player_at: Option<String>,
    /// `null` when unknown.
    pub connections: Option<Vec<ConnectionRecord>>,
    /// The clock that ends first: `idle`, `no-server` or `no-player`.
    pub clock: Option<String>,
    /// Time on that clock.
    pub idle_seconds: Option<u64>,
    /// The window of that clock.
    pub window_seconds: Option<u64>,
    /// When the stop is due, RFC 3339.
    pub stop_at: Option<String>,
    /// What delays a stop beyond its window: `hold`, `efs`, `connection`, `reclaim`, `refusal` or `blind`.
    pub delayed_by: Option<String>,
    pub holds: Vec<HoldRecord>,
    pub efs: EfsRecord,
    pub heartbeat: HeartbeatRecord,
    /// Why a stop has a different effect on this instance.
    pub cautions: Vec<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// The client's address and port.
    pub peer: String,
    /// The server's address and port.
    pub local: String,
    /// How long it has been seen; `null` for an ignored peer.
    pub age_seconds: Option<u64>,
    /// `player`, `young`, `joining`, `backlog`, `ghost`, `no-listener` or `ignored`.
    pub counts_as: String,
    pub why: String,
    /// The server is not in the host's own network.
    pub container: bool,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    pub source: Source,
    /// When it ends, RFC 3339; `null`: when its holder releases it.
    pub until: Option<String>,
    pub reason: String,
}

/// The EFS mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfsRecord {
    /// `mounted`, `missing`, `hung` or `off`: the worst of all mounts.
    pub state: String,
    /// The first path in that state; `null`: nothing is on EFS, or that is unknown.
    pub mount_point: Option<String>,
    /// Every path that should be on EFS.
    #[serde(default)]
    pub mounts: Vec<MountRecord>,
}

/// A path that should be on EFS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// As in the configuration, `/etc/fstab` or else the mount table; `null`: unknown whether there is any.
    pub path: Option<String>,
    /// The mount point of the mount that it is on; `null`: it is on none.
    pub mount_point: Option<String>,
    /// `mounted`, `missing` or `hung`.
    pub state: String,
    /// Where it is mounted, or what is wrong.
    pub why: String,
}

/// The heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRecord {
    /// `null`: none is configured.
    pub parameter: Option<String>,
    /// When it was last written, RFC 3339.
    pub written_at: Option<String>,
    /// Why it cannot be written.
    pub error: Option<String>,
}

impl Status {
    /// The status of `snapshot`.
    #[must_use]
    pub fn new(snapshot: &Snapshot<'_>) -> Self {
        let Snapshot { now, wall, view, settings, conditions, .. } = snapshot;
        let (wall, identity) = (*wall, conditions.identity.as_ref());
        Status {
            v: VERSION,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            boot_id: conditions.boot_id.clone(),
            instance_id: identity.map(|identity| identity.instance_id.clone()),
            region: identity.map(|identity| identity.region.clone()),
            action: settings.action.verb().to_owned(),
            dry_run: conditions.dry_run,
            at: rfc3339(wall),
            at_ms: millis(now.0),
            next_by_ms: millis(now.0 + longest_rest(settings.sample_interval) * MISSED + Duration::from_secs(1)),
            state: view.state.word().to_owned(),
            why: sentence::sentence(snapshot),
            summary: sentence::summary(snapshot),
            ports: settings.scope.ports.iter().copied().collect(),
            players: view.counts.map(|counts| counts.players),
            young: view.counts.map(|counts| counts.young),
            connections: snapshot.connections.as_ref().map(|known| connections(known, snapshot)),
            listening: view.listening,
            online: view.online,
            names: view.names.clone(),
            last_player_at: snapshot.last_player_at().map(rfc3339),
            clock: view.running.map(|running| running.clock.word().to_owned()),
            idle_seconds: view.running.map(|running| running.elapsed.as_secs()),
            window_seconds: view.window.map(|window| window.as_secs()),
            stop_at: snapshot.stop_at().map(rfc3339),
            delayed_by: delayed_by(view, conditions),
            holds: conditions.holds.iter().map(|hold| hold_record(hold, wall)).collect(),
            efs: efs_record(view.efs, &conditions.mounts),
            heartbeat: HeartbeatRecord {
                parameter: match (&settings.heartbeat.parameter, identity) {
                    (Some(name), Some(identity)) => Some(name.of(&identity.instance_id)),
                    (Some(name), None) => Some(name.as_written().to_owned()),
                    (None, _) => None,
                },
                written_at: conditions.heartbeat_written.map(rfc3339),
                error: conditions.heartbeat_trouble.clone(),
            },
            cautions: conditions.caveats.iter().filter_map(|caveat| caveat.text(settings.action)).collect(),
        }
    }

    /// Whether this differs from `before` only in what changes as time passes.
    #[must_use]
    pub fn only_goes_on_from(&self, before: &Status) -> bool {
        let mut then = before.clone();
        then.at.clone_from(&self.at);
        then.next_by_ms = (then.next_by_ms + self.at_ms).saturating_sub(then.at_ms);
        then.at_ms = self.at_ms;
        // While a player is online this is the current time.
        if self.last_player_at.is_some() == then.last_player_at.is_some() && self.state == "occupied" {
            then.last_player_at.clone_from(&self.last_player_at);
        }
        // A clock that has gone back was reset, which is a change.
        if then.idle_seconds.is_some() && then.idle_seconds <= self.idle_seconds {
            then.idle_seconds = self.idle_seconds;
        }
        let (ours, theirs) = (self.connections.iter().flatten(), then.connections.iter_mut().flatten());
        for (now, then) in ours.zip(theirs) {
            then.age_seconds = now.age_seconds;
        }
        then == *self
    }

    /// The status after `age` if nothing has changed since: the agent does not write merely because time passes.
    #[must_use]
    pub fn after(&self, age: Duration) -> Status {
        let mut later = self.clone();
        let older = |seconds: Option<u64>| seconds.map(|seconds| seconds + age.as_secs());
        // In all other states the clock is paused or has reached its window.
        if matches!(self.state.as_str(), "idle" | "no-server") {
            later.idle_seconds = older(later.idle_seconds).min(later.window_seconds);
        }
        for connection in later.connections.iter_mut().flatten() {
            connection.age_seconds = older(connection.age_seconds);
        }
        later
    }
}

fn connections(known: &[ConnectionView], snapshot: &Snapshot<'_>) -> Vec<ConnectionRecord> {
    let record = |socket: &Socket, age: Option<Duration>, counts_as: &str, why: String| ConnectionRecord {
        peer: socket.peer.to_string(),
        local: socket.local.to_string(),
        age_seconds: age.map(|age| age.as_secs()),
        counts_as: counts_as.to_owned(),
        why,
        container: !socket.network.is_host(),
    };
    let counted = known.iter().map(|ConnectionView { socket, age, class }| {
        let (word, why) = match class {
            ConnectionClass::Player => ("player", "a player".to_owned()),
            ConnectionClass::Young => {
                let left = sentence::in_words(snapshot.settings.min_connection.saturating_sub(*age));
                ("young", format!("too young; counts as a player in {left}"))
            }
            ConnectionClass::Joining => ("joining", "not yet accepted by the server".to_owned()),
            ConnectionClass::Backlog => ("backlog", "never accepted; the server may be hung".to_owned()),
            ConnectionClass::Ghost => ("ghost", "does not count: the other end seems to be gone".to_owned()),
            ConnectionClass::NoListener => {
                ("no-listener", "does not count: nothing is listening on that port".to_owned())
            }
        };
        record(socket, Some(*age), word, why)
    });
    let ignored = snapshot.ignored.iter().map(|socket| record(socket, None, "ignored", "in ignore_peers".to_owned()));
    counted.chain(ignored).collect()
}

fn delayed_by(view: &View, conditions: &Conditions) -> Option<String> {
    match &view.state {
        State::Due(wait) => Some(
            match wait {
                Blocker::Efs { .. } => "efs",
                Blocker::Reclaim => "reclaim",
                Blocker::Hold => "hold",
                Blocker::Joining { .. } => "connection",
                Blocker::Moment => return None,
            }
            .to_owned(),
        ),
        State::StopFailed { .. } => Some("refusal".to_owned()),
        State::Blind { .. } => Some("blind".to_owned()),
        State::Idle | State::NoServer if conditions.will_be_refused() => Some("refusal".to_owned()),
        State::Idle | State::NoServer if !conditions.holds.is_empty() => Some("hold".to_owned()),
        _ => None,
    }
}

fn efs_record(efs: Efs, mounts: &[JudgedMount]) -> EfsRecord {
    let shown = |path: &Path| path.display().to_string();
    let worst = mounts.iter().find(|mount| mount.state == efs);
    let record = |mount: &JudgedMount| MountRecord {
        path: mount.watched.named().map(shown),
        mount_point: mount.watched.mount().map(|mount| shown(&mount.at)),
        state: mount.state.word().to_owned(),
        why: mount.in_words(),
    };
    EfsRecord {
        state: efs.word().to_owned(),
        mount_point: worst.and_then(|mount| mount.watched.named()).map(shown),
        mounts: mounts.iter().map(record).collect(),
    }
}

fn hold_record(hold: &Hold, wall: Timestamp) -> HoldRecord {
    let until = hold.left.and_then(|left| wall.checked_add(left).ok());
    HoldRecord { source: hold.source, until: until.map(rfc3339), reason: hold.reason.clone() }
}
