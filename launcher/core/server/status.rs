//! `/status`: how the server is, as JSON and for the page. Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::time::optional;
use serde::Serialize;

use crate::server::budget::{self, OverBudget};
use crate::server::heartbeat::Received;
use crate::server::instance::Instance;
use crate::server::state::{ServerState, Trouble};
use crate::server::usage::Usage;
use crate::settings::Settings;

/// The word of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    Asleep,
    Starting,
    Up,
    Stopping,
    Trouble,
    Unknown,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Word::Asleep => "asleep",
            Word::Starting => "starting",
            Word::Up => "up",
            Word::Stopping => "stopping",
            Word::Trouble => "trouble",
            Word::Unknown => "unknown",
        })
    }
}

/// The literals of the running instance, from EC2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Host {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// How the server is. `None` is unknown or does not apply; it is never zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub state: Word,
    /// What players type.
    pub address: Option<String>,
    pub port: u16,
    pub host: Option<Host>,
    /// Connections that count as players.
    pub players: Option<u64>,
    /// What the server itself says.
    pub online: Option<u32>,
    pub names: Option<String>,
    #[serde(serialize_with = "optional::serialize")]
    pub last_player_at: Option<Timestamp>,
    #[serde(serialize_with = "optional::serialize")]
    pub stop_at: Option<Timestamp>,
    /// One sentence for a person.
    pub why: String,
    /// When the instance was started.
    #[serde(serialize_with = "optional::serialize")]
    pub since: Option<Timestamp>,
    /// Of this evening, in USD; `None`: the price is not set, or nothing runs.
    pub cost_usd: Option<f64>,
    /// Of this month, the evening included.
    pub month_usd: Option<f64>,
    #[serde(serialize_with = "optional::serialize")]
    pub at: Option<Timestamp>,
    /// [`why`](Self::why) without anything that the agent or AWS said: both can name addresses.
    #[serde(skip)]
    pub public_why: String,
    /// In USD; `None`: it is not set.
    #[serde(skip)]
    pub price_per_hour: Option<f64>,
    /// A start waits until the instance has stopped.
    #[serde(skip)]
    pub wished: bool,
    /// A start would be refused.
    #[serde(skip)]
    pub over_budget: Option<OverBudget>,
}

/// What the status is made of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub settings: &'a Settings,
    pub state: &'a ServerState,
    pub heartbeat: Option<&'a Received>,
    /// `None`: it cannot be read.
    pub usage: Option<&'a Usage>,
    /// A start waits until the instance has stopped.
    pub wished: bool,
    /// EC2 has taken back the last start, with its reason.
    pub taken_back: Option<&'a str>,
    pub now: Timestamp,
}

impl Status {
    /// Everything that is known.
    #[must_use]
    pub fn new(subject: &Subject<'_>) -> Self {
        let Subject { settings, state, usage, wished, taken_back, now, .. } = *subject;
        let instance = instance(state);
        let heartbeat = subject
            .heartbeat
            .filter(|received| instance.is_some_and(|instance| received.is_of(instance)) && !received.has_lapsed(now));
        let heartbeat = heartbeat.map(|received| &received.heartbeat);
        let running = matches!(state, ServerState::Up(_) | ServerState::Starting(_) | ServerState::Trouble(_));
        let host = instance.filter(|_| running).map(|instance| Host { v4: instance.v4, v6: instance.v6 });
        let literal = || {
            let host = host.as_ref()?;
            host.v4.map(|v4| v4.to_string()).or_else(|| host.v6.map(|v6| v6.to_string()))
        };
        let price = Some(settings.price_per_hour).filter(|price| *price > 0.0);
        let cost = |ran: Duration| price.map(|price| (price * ran.as_secs_f64() / 36.0).round() / 100.0);
        let since = instance.map(|instance| instance.launch_time);
        let ran = since.map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default());
        let over_budget = usage.and_then(|usage| budget::allows(&settings.budget, usage, now).err());
        let own = match (state, over_budget, taken_back) {
            _ if wished => Some(wish(state)),
            (ServerState::Asleep, Some(over), _) => Some(format!("The server is asleep, and {over}.")),
            (ServerState::Asleep, None, Some(reason)) => {
                Some(format!("The server is asleep: EC2 took its last start back ({reason}). You may try again."))
            }
            _ => None,
        };
        Status {
            state: word(state),
            address: settings.address.clone().or_else(literal),
            port: settings.port,
            players: heartbeat.and_then(|heartbeat| heartbeat.players),
            online: heartbeat.and_then(|heartbeat| heartbeat.online),
            names: heartbeat.and_then(|heartbeat| heartbeat.names.clone()),
            last_player_at: heartbeat.and_then(|heartbeat| heartbeat.last_player_at),
            stop_at: heartbeat.and_then(|heartbeat| heartbeat.stop_at),
            why: own.clone().unwrap_or_else(|| {
                // An agent that has not seen the server yet would contradict what was just found.
                why(state, heartbeat.filter(|it| it.listening == Some(true)).map(|it| it.why.as_str()))
            }),
            public_why: own.unwrap_or_else(|| match state {
                ServerState::Unknown(_) => "Cannot see how the server is.".to_owned(),
                state => why(state, None),
            }),
            price_per_hour: price,
            over_budget,
            wished,
            since,
            cost_usd: ran.and_then(cost),
            month_usd: usage.and_then(|usage| cost(usage.ran_this_month(now))),
            at: Some(now),
            host,
        }
    }

    /// What players type, with the port if it is not the usual one.
    #[must_use]
    pub fn address_in_words(&self) -> Option<String> {
        let address = self.address.as_ref()?;
        Some(match self.port {
            25565 => address.clone(),
            port if address.contains(':') => format!("[{address}]:{port}"),
            port => format!("{address}:{port}"),
        })
    }

    /// What somebody without a key may see: no names, and no addresses.
    #[must_use]
    pub fn without_secrets(self) -> Self {
        Status { address: None, host: None, names: None, why: self.public_why.clone(), ..self }
    }
}

fn word(state: &ServerState) -> Word {
    match state {
        ServerState::Asleep => Word::Asleep,
        ServerState::Starting(_) => Word::Starting,
        ServerState::Up(_) => Word::Up,
        ServerState::Stopping(_) => Word::Stopping,
        ServerState::Trouble(_) => Word::Trouble,
        ServerState::Unknown(_) => Word::Unknown,
    }
}

fn instance(state: &ServerState) -> Option<&Instance> {
    match state {
        ServerState::Starting(instance)
        | ServerState::Up(instance)
        | ServerState::Stopping(instance)
        | ServerState::Trouble(
            Trouble::AgentSilent { instance, .. }
            | Trouble::AgentEnded(instance)
            | Trouble::NoAgent(instance)
            | Trouble::NoServer(instance),
        ) => Some(instance),
        ServerState::Asleep | ServerState::Unknown(_) | ServerState::Trouble(Trouble::Several(_)) => None,
    }
}

/// The sentence while a start waits.
fn wish(state: &ServerState) -> String {
    match state {
        ServerState::Stopping(_) => {
            "The server is shutting down. It starts again as soon as it has stopped.".to_owned()
        }
        _ => "The server is asleep, and is about to start.".to_owned(),
    }
}

/// The sentence; `agent` is what the agent says of itself.
fn why(state: &ServerState, agent: Option<&str>) -> String {
    match (state, agent) {
        (ServerState::Asleep, _) => "The server is asleep. Starting it takes two or three minutes.".to_owned(),
        (ServerState::Starting(_), _) => {
            "The server is starting. It is usually up within two or three minutes.".to_owned()
        }
        (ServerState::Up(_), Some(agent)) => format!("The server is up. {agent}"),
        (ServerState::Up(_), None) => "The server is up.".to_owned(),
        (ServerState::Stopping(_), _) => {
            "The server is shutting down. Press start, and it starts again as soon as it has stopped.".to_owned()
        }
        (ServerState::Unknown(why), _) => format!("Cannot see how the server is: {why}."),
        (ServerState::Trouble(trouble), _) => match trouble {
            Trouble::Several(ids) => {
                format!("{} instances carry this server's tag; nothing is started until only one does.", ids.len())
            }
            Trouble::AgentSilent { since, .. } => format!(
                "The server runs, and has not reported since {}. Nobody stops it when it is empty.",
                since.strftime("%H:%M UTC")
            ),
            Trouble::AgentEnded(_) => {
                "The server runs, and its watcher, mc-idle, has exited. Nobody stops it when it is empty.".to_owned()
            }
            Trouble::NoAgent(_) => {
                "The server's machine runs, and its watcher, mc-idle, has not reported since it was started.".to_owned()
            }
            Trouble::NoServer(_) => "The server's machine runs, and no Minecraft server answers on it.".to_owned(),
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::server::instance::InstanceState;
    use mc_heartbeat::{AgentState, Heartbeat};

    pub(crate) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    pub(crate) fn instance() -> Instance {
        let id = "i-0123456789abcdef0".to_owned();
        let v4 = Some(Ipv4Addr::new(203, 0, 113, 7));
        let state = InstanceState::Running;
        Instance { id, state, launch_time: at(0), v4, v6: None, stopped_at: None, reason: None }
    }

    pub(crate) fn settings(variables: &[(&str, &str)]) -> Settings {
        let get = |name: &str| match name {
            "MC_SERVER" => Some("survival".to_owned()),
            name => variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()),
        };
        Settings::read(get).unwrap()
    }

    pub(crate) fn occupied() -> Received {
        let example = Heartbeat::parse(include_str!("../../../shared/heartbeat/examples/occupied.json")).unwrap();
        let (at_instance, next_by) = (at(7100), at(7280));
        Received {
            heartbeat: Heartbeat { state: AgentState::Occupied, at: at_instance, next_by, ..example },
            at: at(7100),
        }
    }

    fn status(state: &ServerState, heartbeat: Option<&Received>, variables: &[(&str, &str)]) -> Status {
        let settings = settings(variables);
        let mut usage = Usage::default();
        usage.see(&[instance()], at(7200));
        let subject = Subject {
            settings: &settings,
            state,
            heartbeat,
            usage: Some(&usage),
            wished: false,
            taken_back: None,
            now: at(7200),
        };
        Status::new(&subject)
    }

    #[test]
    fn an_evening_of_two_players() {
        let status = status(&ServerState::Up(instance()), Some(&occupied()), &[("MC_PRICE_PER_HOUR", "0.0832")]);
        assert_eq!((status.state, status.players, status.online), (Word::Up, Some(2), Some(2)));
        assert_eq!(status.names.as_deref(), Some("Alex, Steve"));
        assert_eq!((status.address.as_deref(), status.port), (Some("203.0.113.7"), 25565));
        assert_eq!((status.since, status.cost_usd), (Some(at(0)), Some(0.17)));
        assert!(status.why.starts_with("The server is up. 2 players"), "{}", status.why);
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["host"], serde_json::json!({"v4": "203.0.113.7", "v6": null}));
        assert_eq!((json["state"].as_str(), json["at"].as_str()), (Some("up"), Some("2023-11-15T00:13:20Z")));
    }

    #[test]
    fn somebody_without_a_key_sees_no_name_and_no_address() {
        for variables in [&[][..], &[("MC_ADDRESS", "play.example.org")]] {
            let mut heartbeat = occupied();
            heartbeat.heartbeat.why = "Waiting for Alex at 203.0.113.7.".to_owned();
            let status = status(&ServerState::Up(instance()), Some(&heartbeat), variables).without_secrets();
            let json = serde_json::to_string(&status).unwrap();
            for secret in ["Alex", "Steve", "203.0.113.7", "play.example.org", "i-0123456789abcdef0"] {
                assert!(!json.contains(secret), "{secret}: {json}");
            }
        }
    }

    #[test]
    fn players_type_the_address_that_is_set_and_the_broker_gets_the_literal() {
        let status =
            status(&ServerState::Up(instance()), None, &[("MC_ADDRESS", "play.example.org"), ("MC_PORT", "25570")]);
        assert_eq!((status.address.as_deref(), status.port), (Some("play.example.org"), 25570));
        assert_eq!(status.host.unwrap().v4, Some(Ipv4Addr::new(203, 0, 113, 7)));
    }

    #[test]
    fn an_old_heartbeat_says_nothing_and_nothing_is_said_for_it() {
        let old = Received { at: at(-10), ..occupied() };
        for heartbeat in [None, Some(&old)] {
            let status = status(&ServerState::Up(instance()), heartbeat, &[]);
            assert_eq!((status.players, status.online, status.names, status.stop_at), (None, None, None, None));
            assert_eq!((status.why.as_str(), status.cost_usd), ("The server is up.", None));
        }
    }

    #[test]
    fn somebody_without_a_key_is_not_told_what_aws_said() {
        let unknown = ServerState::Unknown("EC2 answered X: arn:aws:sts::123456789012:assumed-role/x".to_owned());
        assert!(status(&unknown, None, &[]).why.contains("123456789012"));
        assert_eq!(status(&unknown, None, &[]).without_secrets().why, "Cannot see how the server is.");
    }

    #[test]
    fn an_agent_that_has_not_seen_the_server_yet_does_not_contradict_the_page() {
        let mut early = occupied();
        (early.heartbeat.listening, early.heartbeat.why) = (Some(false), "No server on port 25565.".to_owned());
        assert_eq!(status(&ServerState::Up(instance()), Some(&early), &[]).why, "The server is up.");
    }

    #[test]
    fn each_state_has_a_word_and_a_sentence_of_its_own() {
        let mut told = std::collections::BTreeSet::new();
        let several = Trouble::Several(vec!["i-1".to_owned(), "i-2".to_owned()]);
        for (state, word) in [
            (ServerState::Asleep, "asleep"),
            (ServerState::Starting(instance()), "starting"),
            (ServerState::Up(instance()), "up"),
            (ServerState::Stopping(instance()), "stopping"),
            (ServerState::Unknown("EC2 does not answer".to_owned()), "unknown"),
            (ServerState::Trouble(several), "trouble"),
            (ServerState::Trouble(Trouble::AgentSilent { instance: instance(), since: at(0) }), "trouble"),
            (ServerState::Trouble(Trouble::AgentEnded(instance())), "trouble"),
            (ServerState::Trouble(Trouble::NoAgent(instance())), "trouble"),
            (ServerState::Trouble(Trouble::NoServer(instance())), "trouble"),
        ] {
            let status = status(&state, None, &[]);
            assert_eq!(status.state.to_string(), word);
            assert!(told.insert(status.why.clone()), "{}", status.why);
            let runs = !matches!(state, ServerState::Trouble(Trouble::Several(_)))
                && matches!(word, "starting" | "up" | "trouble");
            assert_eq!(status.host.is_some(), runs, "{state:?}");
        }
    }
}
