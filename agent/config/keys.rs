//! Every key: its name, what it means, its default, what is allowed, and how a value of it is taken.
//!
//! The defaults stand here once, as text, and are taken by the same code as an operator's value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::settings::{
    AwsSettings, EfsSettings, HeartbeatSettings, HoldSettings, ParameterName, Scope, Settings, StopAction,
};

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// The dotted name.
    pub name: &'static str,
    /// What it means, in whole sentences; code stands between backticks. The man page, the README's table and the shipped
    /// file are made of it.
    pub meaning: &'static str,
    /// The default, as it would be written in the file; `None`: not set.
    pub default: Option<&'static str>,
    /// What is allowed, for a person. What stands before a colon is enough where there is little room.
    pub allowed: &'static str,
    /// Takes a value into the settings; `None` if it is not allowed.
    pub(super) set: fn(&mut Settings, &DeValue<'_>) -> Option<()>,
}

impl Key {
    /// What is allowed, in short.
    #[must_use]
    pub fn allowed_in_short(&self) -> &'static str {
        self.allowed.split_once(": ").map_or(self.allowed, |(short, _)| short)
    }
}

/// Every key that is accepted, in the order in which they are written down for people.
pub const KEYS: &[Key] = &[
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
        meaning: "The time between two looks at the sockets, in seconds.",
        default: Some("5"),
        allowed: "a number from 0.2 to 60, decimals allowed",
        set: |settings, value| put(&mut settings.sample_interval, seconds(value, 0.2, 60.0)),
    },
    Key {
        name: "action",
        meaning: "What EC2 is asked for. Hibernation has to be set up when the instance is launched.",
        default: Some("\"stop\""),
        allowed: "\"stop\", \"hibernate\" or \"terminate\"",
        set: |settings, value| put(&mut settings.action, action(value)),
    },
    Key {
        name: "minecraft.ports",
        meaning: "The ports that the server listens on; for a server in a container, those inside it.",
        default: Some("[25565]"),
        allowed: "a list of 1 to 16 ports, each from 1 to 65535",
        set: |settings, value| put(&mut settings.scope.ports, ports(value)),
    },
    Key {
        name: "minecraft.min_connection_seconds",
        meaning: "A connection this old, in seconds, is a player. Scanners and server lists hold theirs for up to 30.",
        default: Some("70"),
        allowed: "a number from 0 to 600, decimals allowed",
        set: |settings, value| put(&mut settings.min_connection, seconds(value, 0.0, 600.0)),
    },
    Key {
        name: "minecraft.containers",
        meaning: "Whether the players of a server in a Docker, Podman or containerd container count.",
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
        name: "efs.mount_point",
        meaning: "Where EFS is mounted.",
        default: Some("\"/mnt/efs\""),
        allowed: "an absolute path, or \"\" if nothing is on EFS",
        set: |settings, value| put(&mut settings.efs.mount_point, absolute(value)),
    },
    Key {
        name: "efs.probe_seconds",
        meaning: "How long the mount may take to answer, in seconds.",
        default: Some("5"),
        allowed: "a number from 0.2 to 60, decimals allowed",
        set: |settings, value| put(&mut settings.efs.probe, seconds(value, 0.2, 60.0)),
    },
    Key {
        name: "efs.patience_minutes",
        meaning: "How long a due stop waits for a missing or hung mount, in minutes. A termination waits without end.",
        default: Some("30"),
        allowed: "a number from 0 to 1440, decimals allowed",
        set: |settings, value| put(&mut settings.efs_patience, number(value, 0.0, 1440.0).map(minutes)),
    },
    Key {
        name: "heartbeat.parameter",
        meaning: "The SSM parameter that says how this instance is. `{instance_id}` stands for the own id.",
        default: Some("\"/mc-idle/{instance_id}/heartbeat\""),
        allowed: PARAMETER_ALLOWED,
        set: |settings, value| put(&mut settings.heartbeat.parameter, parameter(value)),
    },
    Key {
        name: "heartbeat.instance_id_parameter",
        meaning: "An SSM parameter that gets the own instance id at start.",
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
        name: "hold.ssh_sessions",
        meaning: "Whether a logged-in SSH session keeps the instance up. `mc-idle hold` and inhibitor locks always do.",
        default: Some("false"),
        allowed: "true or false",
        set: |settings, value| put(&mut settings.hold.ssh_sessions, value.as_bool()),
    },
    Key {
        name: "hold.parameter",
        meaning: "An SSM parameter whose value, an RFC 3339 time and a reason, keeps the instance up from afar.",
        default: Some("\"\""),
        allowed: PARAMETER_ALLOWED,
        set: |settings, value| put(&mut settings.hold.parameter, parameter(value)),
    },
    Key {
        name: "metrics.textfile",
        meaning: "The file that gets the metrics for Prometheus; its node_exporter takes names that end with .prom. The unit \
            has to be allowed to write there: `ReadWritePaths=` with the file's folder in a drop-in of `systemctl edit mc-idle`.",
        default: Some("\"\""),
        allowed: "the absolute path of a file, or \"\" for none",
        set: |settings, value| put(&mut settings.metrics_textfile, file(value)),
    },
    Key {
        name: "aws.region",
        meaning: "The region, where instance metadata does not tell.",
        default: None,
        allowed: "the code of a region, such as \"eu-central-1\"; set it only off EC2",
        set: |settings, value| put(&mut settings.aws.region, region(value).map(Some)),
    },
    Key {
        name: "aws.instance_id",
        meaning: "The own instance id, where instance metadata does not tell.",
        default: None,
        allowed: "an instance id, such as \"i-0123456789abcdef0\"; set it only off EC2",
        set: |settings, value| put(&mut settings.aws.instance_id, instance_id(value).map(Some)),
    },
];

const PARAMETER_ALLOWED: &str = "the name of an SSM parameter, or \"\" for none: letters, digits, and . - _ /, at most \
     15 levels, not beginning with aws or ssm, with a / in front if it has levels; {instance_id} stands for the own id";

/// The longest name that SSM takes, its ARN included, is 1011 characters (PutParameter, API reference).
const PARAMETER_LONGEST: usize = 900;

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Settings {
            idle_window: Duration::ZERO,
            no_server_window: Duration::ZERO,
            sample_interval: Duration::ZERO,
            action: StopAction::Stop,
            scope: Scope { ports: [].into(), ignore_peers: Vec::new(), containers: true },
            min_connection: Duration::ZERO,
            efs: EfsSettings { mount_point: PathBuf::new(), probe: Duration::ZERO },
            efs_patience: Duration::ZERO,
            heartbeat: HeartbeatSettings { parameter: None, instance_id_parameter: None, interval: Duration::ZERO },
            hold: HoldSettings::default(),
            metrics_textfile: None,
            aws: AwsSettings::default(),
            written: BTreeMap::new(),
        };
        for key in KEYS {
            if let Some(default) = key.default {
                let taken = DeValue::parse(default).ok().and_then(|value| (key.set)(&mut settings, value.get_ref()));
                assert!(taken.is_some(), "the default of {} is allowed", key.name);
                settings.written.insert(key.name, default.to_owned());
            }
        }
        settings
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn number(value: &DeValue<'_>, least: f64, most: f64) -> Option<f64> {
    let number = match value {
        // No limit is near the end of an i32, and every i32 is exact as an f64.
        DeValue::Integer(integer) => i32::from_str_radix(integer.as_str(), integer.radix()).ok()?.into(),
        DeValue::Float(float) => float.as_str().parse().ok()?,
        _ => return None,
    };
    (least..=most).contains(&number).then_some(number)
}

fn seconds(value: &DeValue<'_>, least: f64, most: f64) -> Option<Duration> {
    number(value, least, most).map(Duration::from_secs_f64)
}

fn minutes(number: f64) -> Duration {
    Duration::from_secs_f64(number * 60.0)
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

fn ports<C: FromIterator<u16>>(value: &DeValue<'_>) -> Option<C> {
    let ports = value.as_array()?;
    if ports.is_empty() || ports.len() > 16 {
        return None;
    }
    ports
        .iter()
        .map(|port| match port.get_ref() {
            DeValue::Integer(integer) => {
                u16::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|port| *port != 0)
            }
            _ => None,
        })
        .collect()
}

fn networks(value: &DeValue<'_>) -> Option<Vec<IpNet>> {
    value.as_array()?.iter().map(|net| network(net.get_ref().as_str()?)).collect()
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(canonical)
}

/// Peers are looked up in their canonical form, so an IPv4-mapped block is written as the IPv4 block that it means.
fn canonical(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => mapped
            .addr()
            .to_ipv4_mapped()
            .and_then(|v4| IpNet::new(v4.into(), mapped.prefix_len() - 96).ok())
            .unwrap_or(net),
        _ => net,
    }
}

/// An absolute path without `.` and `..`, or an empty one.
fn absolute(value: &DeValue<'_>) -> Option<PathBuf> {
    // No path has a NUL in it (path_resolution(7)).
    let path = Path::new(value.as_str().filter(|text| !text.contains('\0'))?);
    let plain = |part: &Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let allowed = path.as_os_str().is_empty() || (path.is_absolute() && path.components().all(|part| plain(&part)));
    // Collecting the components drops a trailing or a doubled slash, which the kernel's table of mounts does not have.
    allowed.then(|| path.components().collect())
}

#[expect(clippy::option_option, reason = "outer: allowed or not; inner: a file or none")]
fn file(value: &DeValue<'_>) -> Option<Option<PathBuf>> {
    let path = absolute(value)?;
    match (path.as_os_str().is_empty(), path.file_name()) {
        (true, _) => Some(None),
        (false, Some(_)) if !value.as_str()?.ends_with('/') => Some(Some(path)),
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

/// Whether `text` has the form of an instance id: `i-` and 8 or 17 hexadecimal digits (EC2 user guide, resource ids).
#[must_use]
pub fn is_instance_id(text: &str) -> bool {
    text.strip_prefix("i-").is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.chars().all(|char| matches!(char, '0'..='9' | 'a'..='f'))
    })
}

fn instance_id(value: &DeValue<'_>) -> Option<String> {
    value.as_str().filter(|text| is_instance_id(text)).map(str::to_owned)
}
