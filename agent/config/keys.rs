//! Every key: its name, meaning, default and allowed values, and how to set it.
//!
//! The defaults are text, parsed by the same code as an operator's values.

use std::collections::BTreeMap;
use std::time::Duration;

use mc_service::config::values::{minutes, networks, number, ports, put, put_or, seconds, text};
use mc_service::config::{Key, Loaded, Refused, paths};
use toml::de::DeValue;

use crate::cloud::StopAction;
use crate::cloud::metadata::is_instance_id;
use crate::config::settings::{
    AskSettings, AwsSettings, EfsSettings, HeartbeatSettings, HoldSettings, MountPoint, ParameterName, Scope, Settings,
};

/// Every key, in the order of the documentation.
pub const KEYS: &[Key<Settings>] = &[
    Key {
        name: "idle_minutes",
        meaning: "How long a server may stay empty before the instance is stopped, in minutes.",
        default: Some("15"),
        allowed: "a number over 0 and up to 10080, decimals allowed",
        set: |settings, value| put(&mut settings.idle_window, window_minutes(value)),
    },
    Key {
        name: "no_server_minutes",
        meaning: "How long the instance may run with no server listening (never started, or died), in minutes.",
        default: Some("30"),
        allowed: "a number over 0 and up to 10080, decimals allowed",
        set: |settings, value| put(&mut settings.no_server_window, window_minutes(value)),
    },
    Key {
        name: "sample_seconds",
        meaning: "The time between two samples of the sockets, in seconds; in the last minutes before a stop at most 30.",
        default: Some("5"),
        allowed: "a number from 0.2 to 60, decimals allowed",
        set: |settings, value| put(&mut settings.sample_interval, seconds(value, 0.2, 60.0)),
    },
    Key {
        name: "joining_patience_minutes",
        meaning: "How long in total, in minutes, a due stop waits for connections that never become players. After \
            that only a newcomer delays it, provided that the server itself says that nobody is online.",
        default: Some("30"),
        allowed: "a number from 0.1 to 1440, decimals allowed, and not less than minecraft.min_connection_seconds",
        set: |settings, value| put(&mut settings.joining_patience, number(value, 0.1, 1440.0).map(minutes)),
    },
    Key {
        name: "action",
        meaning: "What to ask EC2 for. Hibernation must be set up when the instance is launched.",
        default: Some("\"stop\""),
        allowed: "\"stop\", \"hibernate\" or \"terminate\"",
        set: |settings, value| put(&mut settings.action, action(value)),
    },
    Key {
        name: "minecraft.ports",
        meaning: "The ports that the server itself listens on, or that Docker publishes.",
        default: Some("[25565]"),
        allowed: "a list of 1 to 16 ports, each from 1 to 65535",
        set: |settings, value| put(&mut settings.scope.ports, ports(value, 1)),
    },
    Key {
        name: "minecraft.min_connection_seconds",
        meaning: "A connection this old, in seconds, is a player. Scanners and server lists keep theirs for up to 30.",
        default: Some("70"),
        allowed: "a number from 0 to 600, decimals allowed",
        set: |settings, value| put(&mut settings.min_connection, seconds(value, 0.0, 600.0)),
    },
    Key {
        name: "minecraft.containers",
        meaning: "Whether to look at networks other than the host's: those of containers and of every other process \
            that has its own network namespace.",
        default: Some("true"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.scope.containers, value.as_bool()),
    },
    Key {
        name: "minecraft.ignore_peers",
        meaning: "Peers that never count.",
        default: Some("[]"),
        allowed: "a list of IPv4 and IPv6 addresses and CIDR blocks, such as \"192.0.2.7\" or \"2001:db8::/32\"",
        set: |settings, value| put(&mut settings.scope.ignore_peers, networks(value)),
    },
    Key {
        name: "minecraft.bedrock_ports",
        meaning: "The UDP ports that a Bedrock server or Geyser listens on. No table shows its players, so the server \
            is asked.",
        default: Some("[19132, 19133]"),
        allowed: "a list of 0 to 16 ports, each from 1 to 65535",
        set: |settings, value| put(&mut settings.scope.bedrock_ports, ports(value, 0)),
    },
    Key {
        name: "minecraft.ask",
        meaning: "Whether to ask the servers who is online, as the game's server list does.",
        default: Some("true"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.ask.enabled, value.as_bool()),
    },
    Key {
        name: "minecraft.ask_seconds",
        meaning: "The time between two such questions, in seconds.",
        default: Some("60"),
        allowed: "a number from 10 to 120, decimals allowed",
        set: |settings, value| put(&mut settings.ask.interval, seconds(value, 10.0, 120.0)),
    },
    Key {
        name: "efs.mount_point",
        meaning: "The mount that the world is on: EFS or other NFS. `\"auto\"` means every NFS mount there is, and \
            every one that `/etc/fstab` mounts at boot: each line of type `efs`, `nfs` or `nfs4` without `noauto` or \
            `x-systemd.automount`. If there are several, the worst one counts. A folder on a mount stands for the \
            mount, and so does a symbolic link.",
        default: Some("\"auto\""),
        allowed: "\"auto\", an absolute path, or \"\" if nothing is on EFS: without . or .. in the path",
        set: |settings, value| put_or(&mut settings.efs.mount_point, text(value).and_then(mount_point)),
    },
    Key {
        name: "efs.probe_seconds",
        meaning: "How long a mount may take to answer, in seconds.",
        default: Some("5"),
        allowed: "a number from 0.2 to 60, decimals allowed",
        set: |settings, value| put(&mut settings.efs.probe, seconds(value, 0.2, 60.0)),
    },
    Key {
        name: "efs.patience_minutes",
        meaning: "How long a due stop waits for a missing or hung mount, in minutes. A termination waits indefinitely.",
        default: Some("30"),
        allowed: "a number from 0 to 1440, decimals allowed",
        set: |settings, value| put(&mut settings.efs_patience, number(value, 0.0, 1440.0).map(minutes)),
    },
    Key {
        name: "heartbeat.parameter",
        meaning: "The SSM parameter for the heartbeat, the status of this instance. `{instance_id}` stands for its id.",
        default: Some("\"/mc-idle/{instance_id}/heartbeat\""),
        allowed: PARAMETER_ALLOWED,
        set: |settings, value| put(&mut settings.heartbeat.parameter, parameter(value)),
    },
    Key {
        name: "heartbeat.instance_id_parameter",
        meaning: "An SSM parameter to write the id of this instance to at start.",
        default: Some("\"\""),
        allowed: PARAMETER_ALLOWED,
        set: |settings, value| put(&mut settings.heartbeat.instance_id_parameter, parameter(value)),
    },
    Key {
        name: "heartbeat.seconds",
        meaning: "The time between two heartbeats while nothing changes, in seconds.",
        default: Some("60"),
        allowed: "a number from 10 to 3600, decimals allowed",
        set: |settings, value| put(&mut settings.heartbeat.interval, seconds(value, 10.0, 3600.0)),
    },
    Key {
        name: "heartbeat.names",
        meaning: "Whether the heartbeat includes the names of players, as far as the server gives them.",
        default: Some("true"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.heartbeat.names, value.as_bool()),
    },
    Key {
        name: "hold.ssh_sessions",
        meaning: "Whether a logged-in SSH session keeps the instance up. `mc-idle hold` and inhibitor locks always do.",
        default: Some("false"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.hold.ssh_sessions, value.as_bool()),
    },
    Key {
        name: "hold.parameter",
        meaning: "An SSM parameter whose value, an RFC 3339 time and a reason, keeps the instance up.",
        default: Some("\"\""),
        allowed: PARAMETER_ALLOWED,
        set: |settings, value| put(&mut settings.hold.parameter, parameter(value)),
    },
    Key {
        name: "metrics.textfile",
        meaning: "The file to write metrics for Prometheus to; node_exporter reads files whose names end in .prom. The \
            unit must be allowed to write there: set `ReadWritePaths=` to the file's folder with `systemctl edit \
            mc-idle`.",
        default: Some("\"\""),
        allowed: "the absolute path of a file, or \"\" for none",
        set: |settings, value| put_or(&mut settings.metrics_textfile, text(value).and_then(paths::file)),
    },
    Key {
        name: "aws.region",
        meaning: "The region. If not set, it comes from the environment variable `AWS_REGION`, or else from instance \
            metadata.",
        default: None,
        allowed: "a region code, such as \"eu-central-1\"; set it only off EC2",
        set: |settings, value| put(&mut settings.aws.region, region(value).map(Some)),
    },
    Key {
        name: "aws.instance_id",
        meaning: "The id of this instance, where instance metadata does not give it.",
        default: None,
        allowed: "an instance id, such as \"i-0123456789abcdef0\"; set it only off EC2",
        set: |settings, value| put(&mut settings.aws.instance_id, instance_id(value).map(Some)),
    },
];

const PARAMETER_ALLOWED: &str = "the name of an SSM parameter, or \"\" for none: letters, digits and . - _ /, at most \
     15 levels, not starting with aws or ssm, with a leading / if it has levels; {instance_id} stands for the id of \
     the instance";

/// SSM's limit is 1011 characters, including the ARN (PutParameter, API reference).
const PARAMETER_LONGEST: usize = 900;

/// Settings with the default of every key.
#[must_use]
pub fn defaults() -> Loaded<Settings> {
    let blank = Settings {
        idle_window: Duration::ZERO,
        no_server_window: Duration::ZERO,
        sample_interval: Duration::ZERO,
        joining_patience: Duration::ZERO,
        action: StopAction::Stop,
        scope: Scope { ports: [].into(), bedrock_ports: [].into(), ignore_peers: Vec::new(), containers: true },
        ask: AskSettings { enabled: true, interval: Duration::ZERO },
        min_connection: Duration::ZERO,
        efs: EfsSettings { mount_point: MountPoint::Nowhere, probe: Duration::ZERO },
        efs_patience: Duration::ZERO,
        heartbeat: HeartbeatSettings {
            parameter: None,
            instance_id_parameter: None,
            interval: Duration::ZERO,
            names: true,
        },
        hold: HoldSettings::default(),
        metrics_textfile: None,
        aws: AwsSettings::default(),
        written: BTreeMap::new(),
    };
    Loaded::defaults(KEYS, blank)
}

fn mount_point(text: &str) -> Result<MountPoint, Refused> {
    match text {
        "" => Ok(MountPoint::Nowhere),
        "auto" => Ok(MountPoint::Auto),
        path => paths::absolute(path).map(MountPoint::At),
    }
}

fn window_minutes(value: &DeValue<'_>) -> Option<Duration> {
    number(value, 0.0, 10080.0).map(minutes).filter(|window| !window.is_zero())
}

fn action(value: &DeValue<'_>) -> Option<StopAction> {
    match value.as_str()? {
        "stop" => Some(StopAction::Stop),
        "hibernate" => Some(StopAction::Hibernate),
        "terminate" => Some(StopAction::Terminate),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "outer: allowed or not; inner: a name or none")]
fn parameter(value: &DeValue<'_>) -> Option<Option<ParameterName>> {
    let text = value.as_str()?;
    if text.is_empty() {
        return Some(None);
    }
    let plain = text.replace("{instance_id}", "i-0123456789abcdef0");
    let first_level = plain.trim_start_matches('/').to_ascii_lowercase();
    let levels = plain.split('/').skip(usize::from(plain.starts_with('/')));
    let allowed = plain.len() <= PARAMETER_LONGEST
        && plain.chars().all(|char| char.is_ascii_alphanumeric() || ".-_/".contains(char))
        && (plain.starts_with('/') || !plain.contains('/'))
        && levels.clone().all(|level| !level.is_empty())
        && levels.count() <= 15
        && !first_level.starts_with("aws")
        && !first_level.starts_with("ssm");
    allowed.then(|| Some(ParameterName(text.to_owned())))
}

fn region(value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str()?;
    let parts: Vec<&str> = text.split('-').collect();
    let allowed = parts.len() >= 3
        && parts.iter().all(|part| !part.is_empty())
        && text.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-');
    allowed.then(|| text.to_owned())
}

fn instance_id(value: &DeValue<'_>) -> Option<String> {
    value.as_str().filter(|text| is_instance_id(text)).map(str::to_owned)
}
