//! Everybody who waits for the server: whether it is up, who asks for a start, and who is handed over when. Pure: what
//! happens goes in, and [`Effect`]s come out.
//!
//! * [`guest`]: who waits. [`shown`]: what is shown of the server.
//! * [`start`]: who asks the launcher for a start, and when. [`Lobby`]: the whole.

pub mod guest;
pub mod shown;
pub mod start;
mod wait;
#[cfg(test)]
mod world;

pub use shown::Shown;
pub use wait::Lobby;

use std::net::SocketAddr;
use std::time::Duration;

use crate::texts::Ending;
use guest::Account;

/// A connection.
pub type Id = u64;

/// What somebody who waits is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To be handed over to this address.
    HandOver(SocketAddr),
    /// The server is not up: to log in, and to wait.
    LogIn,
    End(Ending),
}

/// What is to be asked of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// The launcher, for the status; the answer goes to [`Lobby::status`], with this time.
    Status { asked: Duration },
    /// The server there, for its status; the answer goes to [`Lobby::pinged`].
    Ping(SocketAddr),
    /// The server there, whether it takes players who are handed over; the answer goes to [`Lobby::probed`].
    Probe(SocketAddr),
    /// The launcher, for a start in this player's name; the answer goes to [`Lobby::started`], with this time.
    Start { asked: Duration, account: Account },
}

/// What comes of what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Order(Id, Order),
    Errand(Errand),
    Note(Note),
}

/// What is worth a line in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The launcher has accepted a start in the name of this player.
    Started {
        name: String,
    },
    /// The launcher has refused one.
    Refused {
        name: String,
        why: String,
    },
    /// This player was handed over, after so long.
    HandedOver {
        name: String,
        to: SocketAddr,
        held: Duration,
    },
    /// This player is relayed, after so long.
    Relayed {
        name: String,
        to: SocketAddr,
        held: Duration,
    },
    /// The server refuses players who are handed over.
    TransfersRefused {
        at: SocketAddr,
    },
    /// The server's address leads back to the broker.
    LeadsBack {
        to: SocketAddr,
    },
    /// The launcher cannot be asked; or can again.
    LauncherDown {
        why: String,
    },
    LauncherBack,
}
