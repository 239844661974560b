//! What is so right now: the one picture that the status, the journal and the heartbeat are drawn from.

use std::time::Duration;

use super::census::Counts;
use super::rule::Refusal;
use super::sample::{Efs, Socket};
use super::window::Running;

/// What a due stop waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// EFS is missing or hung.
    Efs {
        /// The patience that is left; `None`: without end.
        left: Option<Duration>,
    },
    /// EC2 takes the instance back by itself.
    Reclaim,
    /// Somebody holds it.
    Hold,
    /// A connection is open that may become a player.
    Joining,
    /// Nothing: the next sample decides.
    Moment,
}

/// The states of the heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No sample has been taken yet.
    Starting,
    /// Nothing listens on the port.
    NoServer,
    /// Somebody plays.
    Occupied,
    /// A server, and nobody plays.
    Idle,
    /// The window is over, and the stop waits.
    Due(Wait),
    /// The sample could not be read.
    Blind {
        /// What could not be read, and why.
        why: String,
        /// For how long.
        lasting: Duration,
    },
    /// A stop is being asked for, or was granted.
    Stopping {
        /// EC2 has granted it.
        accepted: bool,
    },
    /// The stop was refused, and is tried again.
    StopFailed {
        /// What came instead.
        refusal: Refusal,
        /// The time until the next try.
        again_in: Duration,
    },
    /// The agent was ended.
    Ended,
}

impl State {
    /// The word of every state.
    pub const WORDS: [&str; 9] =
        ["starting", "no-server", "occupied", "idle", "due", "blind", "stopping", "stop-failed", "ended"];

    /// The word for it in the heartbeat and the journal.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::NoServer => "no-server",
            State::Occupied => "occupied",
            State::Idle => "idle",
            State::Due(_) => "due",
            State::Blind { .. } => "blind",
            State::Stopping { .. } => "stopping",
            State::StopFailed { .. } => "stop-failed",
            State::Ended => "ended",
        }
    }
}

/// What an open connection counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A player.
    Player,
    /// Not old enough to be a player; holds a due stop off.
    Young,
    /// Not yet accepted by the server; holds a due stop off.
    Joining,
    /// Waiting to be accepted for so long that the server must have hung.
    Backlog,
}

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Which.
    pub socket: Socket,
    /// For how long it has been seen.
    pub age: Duration,
    /// What it counts as.
    pub standing: Standing,
}

/// One picture of the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The state.
    pub state: State,
    /// Who is there; `None` when unknown.
    pub counts: Option<Counts>,
    /// The clock that runs.
    pub running: Option<Running>,
    /// The window of that clock.
    pub window: Option<Duration>,
    /// The EFS mount.
    pub efs: Efs,
    /// The time until the stop is due, if the clock goes on as it does.
    pub stop_in: Option<Duration>,
}
