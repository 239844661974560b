//! Validated settings.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mc_idle_rule::{Patience, RuleSettings, Windows};

use crate::cloud::StopAction;

/// Which sockets to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Never empty.
    pub ports: BTreeSet<u16>,
    pub ignore_peers: Vec<IpNet>,
    /// Whether to look at networks other than the host's.
    pub containers: bool,
    /// UDP; may be empty.
    pub bedrock_ports: BTreeSet<u16>,
}

/// Whether and how often to ask the servers who is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskSettings {
    pub enabled: bool,
    /// The time between two questions to the same server.
    pub interval: Duration,
}

impl Scope {
    /// Whether `local` is on a Minecraft port.
    #[must_use]
    pub fn covers(&self, local: SocketAddr) -> bool {
        self.ports.contains(&local.port())
    }

    /// Whether `peer` never counts. It must be canonical: not IPv4-mapped.
    #[must_use]
    pub fn ignores(&self, peer: IpAddr) -> bool {
        self.ignore_peers.iter().any(|net| net.contains(&peer))
    }

    /// The ports in a sentence: "port 25565", "ports 25565 and 25566".
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

/// Where EFS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountPoint {
    /// Nothing is on EFS.
    Nowhere,
    /// Wherever `/etc/fstab` mounts NFS at boot, and wherever NFS is mounted.
    Auto,
    /// A mount, a folder on one, or a symbolic link to either. Absolute, without `.`, `..`, NUL or a trailing slash.
    At(PathBuf),
}

/// The mount that the world is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfsSettings {
    pub mount_point: MountPoint,
    /// How long a mount may take to answer.
    pub probe: Duration,
}

/// The name of an SSM parameter; may contain `{instance_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterName(pub(super) String);

impl ParameterName {
    /// The name with `{instance_id}` not replaced.
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

/// What to write to SSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSettings {
    /// `None`: no heartbeat.
    pub parameter: Option<ParameterName>,
    /// The parameter to write the instance id to at start; `None`: none.
    pub instance_id_parameter: Option<ParameterName>,
    /// The time between two heartbeats while nothing changes.
    pub interval: Duration,
    /// Whether to include the names of players.
    pub names: bool,
}

/// The optional sources of holds; `mc-idle hold` and inhibitor locks always count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HoldSettings {
    /// Whether a logged-in SSH session holds the instance.
    pub ssh_sessions: bool,
    /// The parameter of the remote hold; `None`: none.
    pub parameter: Option<ParameterName>,
}

/// The configured identity of this instance. `None`: from instance metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsSettings {
    /// Before instance metadata comes `AWS_REGION`.
    pub region: Option<String>,
    pub instance_id: Option<String>,
}

/// All settings, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a server may stay empty.
    pub idle_window: Duration,
    /// How long the machine may run without a server.
    pub no_server_window: Duration,
    pub sample_interval: Duration,
    /// How long in total a due stop waits for connections that do not become players.
    pub joining_patience: Duration,
    pub action: StopAction,
    pub ask: AskSettings,
    pub scope: Scope,
    /// The age at which a connection counts as a player.
    pub min_connection: Duration,
    pub efs: EfsSettings,
    /// How long a due stop waits for EFS.
    pub efs_patience: Duration,
    pub heartbeat: HeartbeatSettings,
    pub hold: HoldSettings,
    /// `None`: no metrics.
    pub metrics_textfile: Option<PathBuf>,
    pub aws: AwsSettings,
    /// Each key's value as written, or its default, to list what a reload changes.
    pub written: BTreeMap<&'static str, String>,
}

impl Settings {
    /// The keys that `other` changes: "idle_minutes: 15 -> 30".
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

    /// The settings of the rule.
    #[must_use]
    pub fn rule_settings(&self) -> RuleSettings {
        RuleSettings {
            windows: Windows { idle: self.idle_window, no_server: self.no_server_window },
            interval: self.sample_interval,
            min_connection: self.min_connection,
            joining_patience: self.joining_patience,
            ports: self.scope.ports.clone(),
            efs_patience: match self.action {
                StopAction::Terminate => Patience::WithoutEnd,
                StopAction::Stop | StopAction::Hibernate => Patience::AtMost(self.efs_patience),
            },
        }
    }
}
