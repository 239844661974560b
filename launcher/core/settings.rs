//! The settings: environment variables, as Lambda gives them, parsed once into valid types.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::server::budget::Budget;
use crate::warden::dead_man::Limits;

/// Where the server's instances come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The instance that the parameter `instance-id` names is started.
    Start,
    /// One is launched from this launch template when none is living.
    Launch(LaunchTemplate),
}

/// What an instance is launched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTemplate {
    pub id: String,
    /// A number, or EC2's word for the default one.
    pub version: String,
    /// One of them is taken for each launch; none: the template's own.
    pub subnets: Vec<String>,
}

/// The record for the instance in a hosted zone of Route 53.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    pub zone_id: String,
    /// In lower case, without a dot at its end.
    pub name: String,
}

/// All settings, valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The server's name.
    pub server: String,
    /// Of its parameters, without a slash at its end.
    pub prefix: String,
    pub mode: Mode,
    pub budget: Budget,
    /// What players type; `None`: the address of the instance.
    pub address: Option<String>,
    pub port: u16,
    pub record: Option<DnsRecord>,
    /// In USD; 0: not known.
    pub price_per_hour: f64,
    pub limits: Limits,
}

/// A setting that is missing or not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    pub name: &'static str,
    /// `None`: it is not set.
    pub value: Option<String>,
    pub allowed: &'static str,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value:?} is not allowed; allowed: {}", self.name, self.allowed),
            None => write!(f, "{} is not set; allowed: {}", self.name, self.allowed),
        }
    }
}

impl std::error::Error for SettingsError {}

/// A variable of the environment, and what is allowed in it.
struct Variable {
    name: &'static str,
    value: Option<String>,
    allowed: &'static str,
}

impl Variable {
    fn error(&self) -> SettingsError {
        SettingsError { name: self.name, value: self.value.clone(), allowed: self.allowed }
    }

    /// What `parse` makes of it; `None`: it is not set, or empty.
    fn optional<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, SettingsError> {
        match self.value.as_deref().filter(|value| !value.is_empty()) {
            Some(value) => parse(value).map(Some).ok_or_else(|| self.error()),
            None => Ok(None),
        }
    }

    fn required<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, SettingsError> {
        self.optional(parse)?.ok_or_else(|| SettingsError { value: None, ..self.error() })
    }
}

fn number<T: FromStr + PartialOrd>(least: T, most: T) -> impl FnOnce(&str) -> Option<T> {
    move |text| text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn name(text: &str) -> Option<String> {
    let is_plain = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '-');
    ((1..=32).contains(&text.len()) && text.chars().all(is_plain)).then(|| text.to_owned())
}

fn prefix(text: &str) -> Option<String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || ".-_/".contains(char);
    let levels = text.strip_prefix('/')?;
    let allowed = text.len() <= 512
        && text.chars().all(is_plain)
        && levels.split('/').all(|level| !level.is_empty())
        && !levels.starts_with("aws")
        && !levels.starts_with("ssm");
    allowed.then(|| text.to_owned())
}

/// The id and the version of a launch template: a number, or its default one.
fn launch_template(text: &str) -> Option<(String, String)> {
    let (id, version) = text.split_once(':').unwrap_or((text, "$Default"));
    let is_version = version == "$Default" || version.parse::<u64>().is_ok_and(|number| number > 0);
    (is_id(id, "lt-") && is_version).then(|| (id.to_owned(), version.to_owned()))
}

fn subnet_ids(text: &str) -> Option<Vec<String>> {
    let ids: Vec<String> = text.split(',').map(|id| id.trim().to_owned()).collect();
    ids.iter().all(|id| is_id(id, "subnet-")).then_some(ids)
}

/// Whether `text` is an id of EC2's: `kind` and some hexadecimal digits.
fn is_id(text: &str, kind: &str) -> bool {
    let digits = text.strip_prefix(kind).unwrap_or_default();
    !digits.is_empty() && digits.len() <= 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn host(text: &str) -> Option<String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|char| char.is_ascii_alphanumeric() || char == '-' || char == '_')
    };
    let plain = text.trim_end_matches('.').to_ascii_lowercase();
    (plain.len() <= 253 && plain.split('.').all(label)).then_some(plain)
}

fn address(text: &str) -> Option<String> {
    text.parse::<std::net::IpAddr>().ok().map(|address| address.to_string()).or_else(|| host(text))
}

impl Settings {
    /// The settings of the variables that `get` knows.
    ///
    /// # Errors
    /// One is missing or not allowed.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name, allowed| Variable { name, value: get(name), allowed };
        let server = variable("MC_SERVER", "1 to 32 of a-z, 0-9 and -").required(name)?;
        let given = variable(
            "MC_PREFIX",
            "a path of SSM parameters: / in front, letters, digits and . - _ / in it, not beginning with aws or ssm",
        );
        let prefix = given.optional(prefix)?.unwrap_or_else(|| format!("/mc-idle/{server}"));
        let launches = variable("MC_MODE", "start or launch").optional(|mode| match mode {
            "start" => Some(false),
            "launch" => Some(true),
            _ => None,
        })?;
        let template =
            variable("MC_LAUNCH_TEMPLATE", "lt-ID or lt-ID:VERSION, a launch template, with MC_MODE = launch only");
        let subnets = variable("MC_SUBNETS", "ids of subnets, separated by commas, with MC_MODE = launch only");
        let (chosen, among) = (template.optional(launch_template)?, subnets.optional(subnet_ids)?);
        let mode = match (launches, chosen, among) {
            (Some(true), Some((id, version)), among) => {
                Mode::Launch(LaunchTemplate { id, version, subnets: among.unwrap_or_default() })
            }
            (Some(true), None, _) => return Err(SettingsError { value: None, ..template.error() }),
            (_, Some(_), _) => return Err(template.error()),
            (_, None, Some(_)) => return Err(subnets.error()),
            (_, None, None) => Mode::Start,
        };
        let starts = variable("MC_STARTS_PER_DAY", "a whole number from 0 to 1000; 0 is no limit");
        let hours = variable("MC_HOURS_PER_MONTH", "a number from 0 to 744, decimals allowed; 0 is no limit");
        let budget = Budget {
            starts_per_day: Some(starts.optional(number(0, 1000))?.unwrap_or(24)).filter(|starts| *starts > 0),
            per_month: hours.optional(number(0.0, 744.0))?.and_then(hours_of),
        };
        let zone_id = variable("MC_ZONE_ID", "the id of a hosted zone, together with MC_RECORD");
        let record = variable("MC_RECORD", "a name in that zone, together with MC_ZONE_ID");
        let is_zone = |id: &str| id.chars().all(|char| char.is_ascii_alphanumeric()).then(|| id.to_owned());
        let both = (zone_id.optional(is_zone)?, record.optional(host)?);
        let record = match both {
            (Some(zone_id), Some(name)) => Some(DnsRecord { zone_id, name }),
            (None, None) => None,
            (Some(_), None) => return Err(record.error()),
            (None, Some(_)) => return Err(zone_id.error()),
        };
        let alarm = variable("MC_DEAD_ALARM_MINUTES", "a number from 0 to 1440, decimals allowed; 0 is never");
        let stop = variable("MC_DEAD_STOP_HOURS", "a number from 0 to 168, decimals allowed; 0 is never");
        let grace = variable("MC_GRACE_MINUTES", "a number from 0 to 1440, decimals allowed");
        let minutes = |minutes: f64| hours_of(minutes / 60.0);
        Ok(Settings {
            prefix,
            mode,
            budget,
            address: variable("MC_ADDRESS", "a host name or an address").optional(address)?,
            port: variable("MC_PORT", "a port from 1 to 65535").optional(number(1, u16::MAX))?.unwrap_or(25565),
            record,
            price_per_hour: variable("MC_PRICE_PER_HOUR", "USD, a number from 0 to 1000, decimals allowed")
                .optional(number(0.0, 1000.0))?
                .unwrap_or(0.0),
            limits: Limits {
                grace: grace
                    .optional(number(0.0, 1440.0))?
                    .map_or(Some(Duration::from_mins(10)), minutes)
                    .unwrap_or_default(),
                alarm: alarm.optional(number(0.0, 1440.0))?.map_or(Some(Duration::from_mins(10)), minutes),
                stop: stop.optional(number(0.0, 168.0))?.map_or(Some(Duration::from_hours(6)), hours_of),
            },
            server,
        })
    }

    /// The name of one of the server's parameters: `heartbeat`, `launch/4`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

/// That many hours; `None`: zero.
fn hours_of(hours: f64) -> Option<Duration> {
    (hours > 0.0).then(|| Duration::from_secs_f64(hours * 3600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_name_is_enough() {
        let settings = read(&[("MC_SERVER", "survival")]).unwrap();
        assert_eq!(settings.parameter("heartbeat"), "/mc-idle/survival/heartbeat");
        assert_eq!((settings.mode, settings.port, settings.record), (Mode::Start, 25565, None));
        assert_eq!(settings.budget, Budget { starts_per_day: Some(24), per_month: None });
        let minutes = |minutes| Duration::from_mins(minutes);
        assert_eq!(settings.limits, Limits { grace: minutes(10), alarm: Some(minutes(10)), stop: Some(minutes(360)) });
    }

    #[test]
    fn everything_can_be_set_and_zero_is_never_or_no_limit() {
        let settings = read(&[
            ("MC_SERVER", "s-2"),
            ("MC_PREFIX", "/games/s2"),
            ("MC_MODE", "launch"),
            ("MC_LAUNCH_TEMPLATE", "lt-0123456789abcdef0:7"),
            ("MC_SUBNETS", "subnet-0a, subnet-0b"),
            ("MC_STARTS_PER_DAY", "0"),
            ("MC_HOURS_PER_MONTH", "40.5"),
            ("MC_ADDRESS", "Play.Example.org."),
            ("MC_PORT", "25566"),
            ("MC_ZONE_ID", "Z0123456789"),
            ("MC_RECORD", "play.example.org"),
            ("MC_PRICE_PER_HOUR", "0.0376"),
            ("MC_DEAD_ALARM_MINUTES", "0"),
            ("MC_DEAD_STOP_HOURS", "0"),
            ("MC_GRACE_MINUTES", "0.5"),
        ])
        .unwrap();
        let subnets = vec!["subnet-0a".to_owned(), "subnet-0b".to_owned()];
        let (id, version) = ("lt-0123456789abcdef0".to_owned(), "7".to_owned());
        assert_eq!(settings.mode, Mode::Launch(LaunchTemplate { id, version, subnets }));
        let per_month = Some(Duration::from_mins(2430));
        assert_eq!(settings.budget, Budget { starts_per_day: None, per_month });
        assert_eq!(settings.limits, Limits { grace: Duration::from_secs(30), alarm: None, stop: None });
        assert_eq!(settings.address.as_deref(), Some("play.example.org"));
        assert_eq!(settings.parameter("launch/4"), "/games/s2/launch/4");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value_and_what_is_allowed() {
        for (name, value) in [
            ("MC_SERVER", "Survival"),
            ("MC_SERVER", "a server"),
            ("MC_PREFIX", "games"),
            ("MC_PREFIX", "/aws/games"),
            ("MC_PREFIX", "/games/"),
            ("MC_MODE", "stop"),
            ("MC_LAUNCH_TEMPLATE", "lt-1"),
            ("MC_SUBNETS", "subnet-1"),
            ("MC_STARTS_PER_DAY", "-1"),
            ("MC_STARTS_PER_DAY", "2.5"),
            ("MC_HOURS_PER_MONTH", "NaN"),
            ("MC_ADDRESS", "a b"),
            ("MC_PORT", "0"),
            ("MC_PORT", "65536"),
            ("MC_ZONE_ID", "Z1"),
            ("MC_RECORD", "play.example.org"),
            ("MC_PRICE_PER_HOUR", "inf"),
            ("MC_DEAD_ALARM_MINUTES", "ten"),
            ("MC_DEAD_STOP_HOURS", "169"),
            ("MC_GRACE_MINUTES", "-1"),
        ] {
            let error = read(&[(name, value), ("MC_SERVER", "survival")]).unwrap_err();
            let (said, expected) = (error.to_string(), if name == "MC_ZONE_ID" { "MC_RECORD" } else { name });
            let expected = if name == "MC_RECORD" { "MC_ZONE_ID" } else { expected };
            assert!(said.starts_with(expected) && said.contains("; allowed: "), "{name}: {said}");
        }
        assert_eq!(read(&[]).unwrap_err().to_string(), "MC_SERVER is not set; allowed: 1 to 32 of a-z, 0-9 and -");
        let no_template = read(&[("MC_SERVER", "a"), ("MC_MODE", "launch")]).unwrap_err();
        assert_eq!(no_template.name, "MC_LAUNCH_TEMPLATE");
    }
}
