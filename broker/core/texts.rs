//! Everything that a player reads.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::server::status::Family;

/// How a login ends, if not by a hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The server is up, and this version of the game cannot be handed over.
    Up(SocketAddr),
    /// The start has been asked for, and this version of the game cannot wait; with the address that players type.
    ComeBack(Option<String>),
    /// The server is up, and cannot be reached from where the player is.
    NoAddress(Family),
    /// He came back right after he was handed over, and the server takes nobody who is handed over.
    TransfersRefused(SocketAddr),
    NotListed,
    /// His network is not among those that may log in.
    Network,
    /// The session server does not know about this login.
    NotAuthenticated,
    /// The session server cannot be asked.
    SessionServerDown(String),
    /// Too many logins of his address.
    TooOften,
    /// Too many logins of everybody.
    Busy,
    /// His last starts were in vain.
    Wait(Duration),
    /// Too many hours or starts; in the launcher's words.
    OverBudget(String),
    /// The server was not started; in the launcher's words.
    NotStarted(String),
    /// The launcher cannot be asked.
    LauncherDown(String),
    /// The launcher does not take the broker's key.
    KeyRefused,
    TookTooLong(Duration),
    /// The broker ends.
    Closing,
}

impl Ending {
    /// A word for it, in the journal and in the metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Ending::Up(_) => "up",
            Ending::ComeBack(_) => "come-back",
            Ending::NoAddress(_) => "no-address",
            Ending::TransfersRefused(_) => "transfers-refused",
            Ending::NotListed => "not-listed",
            Ending::Network => "network",
            Ending::NotAuthenticated => "not-authenticated",
            Ending::SessionServerDown(_) => "session-server-down",
            Ending::TooOften => "too-often",
            Ending::Busy => "busy",
            Ending::Wait(_) => "wait",
            Ending::OverBudget(_) => "over-budget",
            Ending::NotStarted(_) => "not-started",
            Ending::LauncherDown(_) => "launcher-down",
            Ending::KeyRefused => "key-refused",
            Ending::TookTooLong(_) => "took-too-long",
            Ending::Closing => "closing",
        }
    }
}

/// What the player reads.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Up(address) => write!(f, "The server is up. Join it directly at {}", in_words(*address)),
            Ending::ComeBack(None) => f.write_str(
                "The server is starting. Join here again in two or three minutes, and you will be told its address.",
            ),
            Ending::ComeBack(Some(address)) => write!(f, "The server is starting. Join {address} again in two or three minutes."),
            Ending::NoAddress(Family::V4) => f.write_str("The server is up, but it has no IPv4 address, and you play over IPv4."),
            Ending::NoAddress(Family::V6) => f.write_str("The server is up, but it has no IPv6 address, and you play over IPv6."),
            Ending::TransfersRefused(address) => write!(
                f,
                "The server does not take players who are handed over: its owner has to set accepts-transfers=true in \
                 server.properties. Until then, join it directly at {}",
                in_words(*address)
            ),
            Ending::NotListed => f.write_str("The server is asleep, and you are not on the list of players who may start it."),
            Ending::Network => f.write_str("Nobody may log in from your network."),
            Ending::NotAuthenticated => f.write_str(
                "Your account could not be verified, so the server was not started. Restart the game and try again.",
            ),
            Ending::SessionServerDown(why) => {
                write!(f, "The server is asleep, and your account cannot be verified right now ({why}). Try again in a minute.")
            }
            Ending::TooOften => f.write_str("You have joined too often. Try again in a minute."),
            Ending::Busy => f.write_str("Too many players are joining. Try again in a minute."),
            Ending::Wait(left) => write!(
                f,
                "The server is asleep. The last time that you started it, nobody came in; you may start it again in {}.",
                minutes(*left)
            ),
            Ending::OverBudget(why) | Ending::NotStarted(why) => f.write_str(why),
            Ending::LauncherDown(why) => {
                write!(f, "Nobody can tell whether the server is up: {why}. Try again in a minute.")
            }
            Ending::KeyRefused => f.write_str(
                "The server cannot be started from here: its launcher does not accept this broker's key. Tell its owner.",
            ),
            Ending::TookTooLong(held) => {
                write!(f, "The server has not come up within {}. Try again, or ask its owner.", minutes(*held))
            }
            Ending::Closing => f.write_str("This address is being restarted. Join again in a minute."),
        }
    }
}

/// As players type it.
#[must_use]
pub fn in_words(address: SocketAddr) -> String {
    match (address.ip().to_canonical(), address.port()) {
        (ip, 25565) => ip.to_string(),
        (ip, port) => SocketAddr::new(ip, port).to_string(),
    }
}

/// The same of a name, or of an address in words.
#[must_use]
pub fn typed(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(ip) => in_words(SocketAddr::new(ip, port)),
        Err(_) if port == 25565 => host.to_owned(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// Rounded up.
fn minutes(duration: Duration) -> String {
    match duration.as_secs().div_ceil(60) {
        0 | 1 => "a minute".to_owned(),
        minutes @ ..120 => format!("{minutes} minutes"),
        minutes => format!("{} hours", minutes.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_said_as_it_is_typed() {
        for (host, port, said) in [
            ("play.example.org", 25565, "play.example.org"),
            ("play.example.org", 25570, "play.example.org:25570"),
            ("203.0.113.7", 25570, "203.0.113.7:25570"),
            ("2001:db8::7", 25565, "2001:db8::7"),
            ("2001:db8::7", 25570, "[2001:db8::7]:25570"),
        ] {
            assert_eq!(typed(host, port), said);
        }
    }
}
