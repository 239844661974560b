//! What the launcher says about the server: `/status`, as far as the broker needs it. Fields that it does not know are
//! ignored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::time::optional;
use serde::Deserialize;

/// The longest answer that is read, in bytes.
pub const LONGEST: usize = 16 * 1024;
/// Whoever asks the server for its own status leaves a connection behind that a due stop would wait for; so it is not asked
/// when a stop is due within this time.
const BEFORE_A_STOP: Duration = Duration::from_mins(1);

/// How the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    Asleep,
    Starting,
    Up,
    Stopping,
    Trouble,
    #[serde(other)]
    Unknown,
}

/// Addresses of the running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Host {
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
}

/// What the launcher says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LauncherStatus {
    pub state: ServerState,
    /// What players type; the broker's own name, if the launcher is set up for one.
    #[serde(default)]
    pub address: Option<String>,
    #[serde(default = "default_port")]
    pub port: u16,
    #[serde(default)]
    pub host: Option<Host>,
    #[serde(default)]
    pub players: Option<u64>,
    #[serde(default, deserialize_with = "optional::deserialize")]
    pub stop_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "optional::deserialize")]
    pub at: Option<Timestamp>,
    /// One sentence for a person.
    #[serde(default)]
    pub why: String,
}

fn default_port() -> u16 {
    25565
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of `address`; an IPv4 address in the form of IPv6 is IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl LauncherStatus {
    /// The status in `body`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// Where the running server is, for players of this family.
    #[must_use]
    pub fn target(&self, family: Family) -> Option<SocketAddr> {
        let host = self.host?;
        let address = match family {
            Family::V4 => host.v4.map(IpAddr::V4),
            Family::V6 => host.v6.map(IpAddr::V6),
        };
        address.map(|address| SocketAddr::new(address, self.port))
    }

    /// Whether the server may be asked for what it shows in the list: not while its stop is due, or about to be. The times
    /// are compared with each other only.
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        let far = match (self.stop_at, self.at) {
            (Some(stop_at), Some(at)) => {
                Duration::try_from(stop_at.duration_since(at)).is_ok_and(|left| left > BEFORE_A_STOP)
            }
            _ => false,
        };
        self.state == ServerState::Up && (far || self.players.is_some_and(|players| players > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> LauncherStatus {
        LauncherStatus::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_launchers_answer_is_read_and_nothing_more_is_asked_of_it() {
        let status = parse(
            r#"{"state":"up","address":"mc.example.org","port":25570,"host":{"v4":"203.0.113.5","v6":null},"players":2,
                "online":2,"names":"a, b","last_player_at":null,"stop_at":null,"why":"The server is up.","since":null,
                "cost_usd":0.1,"at":"2026-11-30T06:00:00Z","new":[1]}"#,
        );
        assert_eq!(status.target(Family::V4), Some("203.0.113.5:25570".parse().unwrap()));
        assert_eq!(status.target(Family::V6), None);
        assert_eq!(parse(r#"{"state":"sideways"}"#).state, ServerState::Unknown);
        for garbage in [
            "",
            "[]",
            "{}",
            "<html>",
            r#"{"state":"up","host":{"v4":"mc.example.org"}}"#,
            r#"{"state":"up","port":70000}"#,
        ] {
            assert!(LauncherStatus::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn a_server_about_to_stop_is_not_asked() {
        let of =
            |fields: &str| parse(&format!(r#"{{"state":"up","at":"2026-11-30T06:00:00Z",{fields}}}"#)).may_be_asked();
        assert!(of(r#""players":1,"stop_at":null"#) && of(r#""players":0,"stop_at":"2026-11-30T06:05:00Z""#));
        assert!(!of(r#""players":0,"stop_at":null"#) && !of(r#""players":0,"stop_at":"2026-11-30T05:59:00Z""#));
        assert!(!of(r#""players":0,"stop_at":"2026-11-30T06:00:30Z""#) && !of(r#""players":null"#));
        assert!(!parse(r#"{"state":"stopping","players":1}"#).may_be_asked());
    }
}
