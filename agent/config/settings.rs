//! Valid settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::idle::{Patience, Terms};

/// What EC2 is asked for when the machine is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAction {
    /// `StopInstances`.
    Stop,
    /// `StopInstances` with `Hibernate`.
    Hibernate,
    /// `TerminateInstances`.
    Terminate,
}

impl StopAction {
    /// The IAM action that allows it.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            StopAction::Stop | StopAction::Hibernate => "ec2:StopInstances",
            StopAction::Terminate => "ec2:TerminateInstances",
        }
    }

    /// The word for it in a sentence: "asked EC2 to ... this instance".
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            StopAction::Stop => "stop",
            StopAction::Hibernate => "hibernate",
            StopAction::Terminate => "terminate",
        }
    }
}

/// Which sockets are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The ports that the server listens on; never empty.
    pub ports: BTreeSet<u16>,
    /// Peers that do not count.
    pub ignore_peers: Vec<IpNet>,
    /// Whether the players of containers count.
    pub containers: bool,
}

impl Scope {
    /// Whether a row with this local address is about a Minecraft port.
    #[must_use]
    pub fn covers(&self, local: SocketAddr) -> bool {
        self.ports.contains(&local.port())
    }

    /// Whether this peer does not count. `peer` is canonical: not IPv4-mapped.
    #[must_use]
    pub fn ignores(&self, peer: IpAddr) -> bool {
        self.ignore_peers.iter().any(|net| net.contains(&peer))
    }

    /// The ports as a person writes them: "port 25565", "ports 25565 and 25566".
    #[must_use]
    pub fn in_words(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        match ports.split_last() {
            Some((last, [])) => format!("port {last}"),
            Some((last, others)) => format!("ports {} and {last}", others.join(", ")),
            None => "no port".to_owned(),
        }
    }
}

/// The mount that the world lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfsSettings {
    /// Absolute, without a trailing slash.
    pub mount_point: PathBuf,
    /// How long the mount may take to answer.
    pub probe: Duration,
}

/// A parameter name that may hold `{instance_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterName(pub(super) String);

impl ParameterName {
    /// The name with `{instance_id}` in it.
    #[must_use]
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The name for this instance.
    #[must_use]
    pub fn of(&self, instance_id: &str) -> String {
        self.0.replace("{instance_id}", instance_id)
    }
}

/// What is written to SSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// Where the heartbeat goes; `None`: nowhere.
    pub parameter: Option<ParameterName>,
    /// Where the own instance id goes at start; `None`: nowhere.
    pub instance_id_parameter: Option<ParameterName>,
    /// The time between two heartbeats while nothing changes.
    pub interval: Duration,
}

/// Who may hold the instance beside `mc-idle hold` and inhibitor locks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldSettings {
    /// Whether a logged-in SSH session holds.
    pub ssh_sessions: bool,
    /// The parameter of a remote hold; `None`: none.
    pub parameter: Option<ParameterName>,
}

/// Who this instance is, as far as the operator says; the rest comes from instance metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsSettings {
    /// The region.
    pub region: Option<String>,
    /// The own instance id.
    pub instance_id: Option<String>,
}

/// All settings, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a server may stay empty.
    pub idle_window: Duration,
    /// How long a machine may run without a server.
    pub no_server_window: Duration,
    /// The time between two samples.
    pub sample_interval: Duration,
    /// What EC2 is asked for.
    pub action: StopAction,
    /// Which sockets are looked at.
    pub scope: Scope,
    /// The age at which a connection counts as a player.
    pub min_connection: Duration,
    /// The mount that the world lives on.
    pub efs: EfsSettings,
    /// How long a due stop may wait for EFS.
    pub efs_patience: Duration,
    /// What is written to SSM.
    pub heartbeat: HeartbeatSettings,
    /// Who may hold the instance.
    pub hold: HoldSettings,
    /// The file that gets the metrics; `None`: none.
    pub metrics_textfile: Option<PathBuf>,
    /// Who this instance is.
    pub aws: AwsSettings,
    /// The value of each key as it was written, or its default: to tell what a reload changes.
    pub written: BTreeMap<&'static str, String>,
}

impl Settings {
    /// The mount to watch; `None` if nothing is on EFS.
    #[must_use]
    pub fn efs(&self) -> Option<&EfsSettings> {
        (!self.efs.mount_point.as_os_str().is_empty()).then_some(&self.efs)
    }

    /// What `other` has changed, key by key: "idle_minutes: 15 -> 30".
    #[must_use]
    pub fn changes_to(&self, other: &Settings) -> Vec<String> {
        let names: BTreeSet<_> = self.written.keys().chain(other.written.keys()).collect();
        let value = |settings: &Settings, name: &str| {
            settings.written.get(name).cloned().unwrap_or_else(|| "from instance metadata".to_owned())
        };
        let change = |name: &&str| (value(self, name), value(other, name));
        names
            .into_iter()
            .map(|name| (name, change(name)))
            .filter(|(_, (before, after))| before != after)
            .map(|(name, (before, after))| format!("{name}: {before} -> {after}"))
            .collect()
    }

    /// The terms that the rule works with.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            idle_window: self.idle_window,
            no_server_window: self.no_server_window,
            interval: self.sample_interval,
            min_connection: self.min_connection,
            efs_patience: match self.action {
                StopAction::Terminate => Patience::WithoutEnd,
                StopAction::Stop | StopAction::Hibernate => Patience::AtMost(self.efs_patience),
            },
        }
    }
}
