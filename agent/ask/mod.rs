//! Asks Minecraft servers who is online. An answer is a third witness, next to the socket tables and netlink; no answer
//! does not mean zero.
//!
//! ```text
//!   Asker ──► schedule ──────► round ────────► exchange ───► mc-ping, raknet
//!   (task)    who is due       3 s, and no     sockets,      bytes in,
//!             (pure)           more at once    own, form     answers out (pure)
//! ```
//!
//! * [`task`]: **what the rest of the agent uses**, [`Asker`]: asks regularly, and everybody at once before a stop.
//! * [`schedule`]: which server is asked when. Pure.
//! * [`round`]: one question to one server, with its deadline.
//! * [`exchange`]: the sockets of one question.
//! * [`form`]: whether a server wants a PROXY header first, going by what it has answered. Pure.
//! * `mc-ping`, a crate: the status ping of the Java edition as bytes, and what is trusted of an answer. Pure.
//! * [`raknet`]: the ping of the Bedrock edition as bytes. Pure.
//! * [`own`]: which rows of the socket tables belong to the agent's own questions.
//!
//! Servers are not trusted: no length that they claim is allocated, a question ends after [`DEADLINE`] however slowly
//! bytes drip in, and the names that they give are made harmless.

pub mod exchange;
pub mod form;
pub mod own;
pub mod raknet;
pub mod round;
pub mod schedule;
pub mod task;

use std::net::SocketAddr;
use std::time::Duration;

pub use mc_ping::answer::Answer;
pub use own::OwnSockets;
pub use task::Asker;

use mc_idle_rule::Moment;

/// How long a server may take to answer, from the first packet of the connection to the last byte of the answer.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// The edition of a server, and with it how it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A status ping over TCP.
    Java,
    /// A RakNet ping over UDP.
    Bedrock,
}

/// A server to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskTarget<K> {
    /// The caller's name for it.
    pub id: K,
    pub protocol: Protocol,
    /// Where to connect (TCP) or send (UDP).
    pub address: SocketAddr,
}

/// The outcome of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskOutcome<K> {
    pub id: K,
    /// When the question began, before anything was sent.
    pub asked_at: Moment,
    /// When it was over.
    pub answered_at: Moment,
    /// The answer, or why there is none: a clause for people, in lower case, without any address and without any text
    /// from the server.
    pub answer: Result<Answer, String>,
    /// Bytes that the question has certainly brought to the server's network.
    pub arrived: u64,
}
