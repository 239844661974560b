//! The state at one moment, which the status, the journal and the heartbeat are all made from.

use std::time::Duration;

use super::clocks::Running;
use super::efs::Efs;
use super::facts::Socket;
use super::rule::StopError;
use super::tracker::{ConnectionClass, Counts};

/// What a due stop waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocker {
    /// EFS is missing or hung.
    Efs {
        /// How much longer it may wait; `None`: without limit.
        left: Option<Duration>,
    },
    /// EC2 is taking the instance back itself.
    Reclaim,
    Hold,
    /// A connection is open that may become a player, or one that lasted for a while has just ended.
    Joining {
        /// Patience has run out, and the server does not say that nobody is online.
        unanswered: bool,
    },
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
    Occupied,
    /// A server listens, and nobody plays.
    Idle,
    /// A clock has reached its window, and the stop waits.
    Due(Blocker),
    /// Not everything could be seen, and no player was.
    Blind {
        /// What is not known, and how to change that.
        why: String,
        lasting: Duration,
    },
    /// A stop is being requested, or was accepted.
    Stopping {
        /// By EC2.
        accepted: bool,
    },
    /// The stop failed, and will be retried.
    StopFailed {
        stop_error: StopError,
        /// Until the next attempt.
        again_in: Duration,
    },
    /// The agent has exited.
    Ended,
}

impl State {
    /// All state words.
    pub const WORDS: [&str; 9] =
        ["starting", "no-server", "occupied", "idle", "due", "blind", "stopping", "stop-failed", "ended"];

    /// Its word in the heartbeat and the journal.
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

/// An open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionView {
    pub socket: Socket,
    /// How long it has been seen.
    pub age: Duration,
    pub class: ConnectionClass,
}

impl View {
    /// A view of which only the state is known.
    #[must_use]
    pub fn of(state: State) -> Self {
        View {
            state,
            counts: None,
            listening: None,
            online: None,
            names: Vec::new(),
            since_player: None,
            also_unknown: None,
            running: None,
            window: None,
            efs: Efs::Off,
            stop_in: None,
        }
    }
}

/// The rule's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub state: State,
    /// `None` if unknown.
    pub counts: Option<Counts>,
    /// Whether a server listens; `None` if unknown.
    pub listening: Option<bool>,
    /// How many are online according to the servers; `None`: none answers.
    pub online: Option<u32>,
    /// As far as the servers name them.
    pub names: Vec<String>,
    /// Time since a player was last there; `None`: not since boot.
    pub since_player: Option<Duration>,
    /// What is not known although a player was seen.
    pub also_unknown: Option<String>,
    /// The clock that will reach its window first.
    pub running: Option<Running>,
    /// Of that clock.
    pub window: Option<Duration>,
    pub efs: Efs,
    /// Until the stop is due, if the clock keeps running.
    pub stop_in: Option<Duration>,
}
