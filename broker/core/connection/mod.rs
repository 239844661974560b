//! One player's connection, from its first byte to its last. Pure: bytes, answers and the time go in, and [`Action`]s come
//! out.
//!
//! ```text
//!   handshake ─► status                                            answered from memory
//!       │
//!       └─► name ─► asks the lobby ─► up ─► handed over (or told, or relayed)
//!                        │
//!                        └─► asleep ─► encryption ─► session server ─► held ─► handed over (or told)
//! ```
//!
//! * [`gate`]: who may log in. [`machine`]: the connection itself.

pub mod gate;
pub mod machine;

pub use machine::Connection;

use std::net::SocketAddr;
use std::time::Duration;

use crate::lobby::guest::{Account, Guest};
use crate::protocol::versions::ProtocolTable;
use crate::texts::Ending;
use gate::Gate;

/// What a connection is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Ask whether this address may have one more login; the answer goes to [`Connection::admitted`].
    Admit,
    /// Ask the lobby whether the server is up; the answer is an order.
    Ask(Guest),
    /// Decrypt the secret and, if there is one, the token, with the broker's private key; the answer goes to
    /// [`Connection::decrypted`].
    Decrypt { secret: Vec<u8>, token: Option<Vec<u8>> },
    /// Ask the session server about this login; the answer goes to [`Connection::vouched`].
    AskSessionServer { name: String, hash: String },
    /// Wait in the lobby; the answer is an order.
    Join(Guest, Account),
    /// Relay everything from now on, after these bytes.
    Relay { to: SocketAddr, first: Vec<u8> },
    /// It is over: nothing more is sent, and what the client still sends is not read.
    Close(Closed),
}

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The client has what it asked for: a status.
    Answered,
    /// The client was handed over.
    HandedOver,
    /// With a text.
    Told(Ending),
    /// What came in is no login and no ping.
    Malformed,
    /// Nothing came in for too long.
    Silent,
}

/// What the session server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vouched {
    /// This account has logged in here.
    For(Account),
    ForNobody,
    /// It cannot be asked, and why.
    Unknown(String),
    /// Too many are waiting for it.
    Busy,
}

/// What all connections have in common.
#[derive(Debug)]
pub struct Common {
    pub protocols: ProtocolTable,
    pub gate: Gate,
    /// Whether those who cannot be handed over are relayed.
    pub relay: bool,
    /// The broker's public key (X.509, DER).
    pub public_key: Vec<u8>,
    /// What the broker knows its own answers by.
    pub mark: String,
}

/// A connection that has not sent its handshake and its name by then is closed.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
