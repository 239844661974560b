//! What a day of a server consists of, whoever watches it: a list of events, each of which can be taken out.

use super::settings::{Pace, Settings};
use super::site::{Process, Site};

/// Milliseconds: a length of time, or a time since noon, when the day begins.
pub(crate) type Ms = u64;

pub(crate) const SECOND: Ms = 1000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
/// The day ends at the next noon.
pub(crate) const DAY: Ms = 24 * HOUR;
pub(crate) const NEVER: Ms = Ms::MAX;

/// When an event happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    At(Ms),
    /// Once, as soon as the running machine has been without players for so long.
    Empty(Ms),
}

/// Who is no player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Opens a connection and says nothing.
    Scanner,
    /// Joins, and leaves again.
    Bot,
    /// Asks for the server's entry in a list.
    Ping,
    /// Keeps a connection open for long, and sends a byte now and then.
    Holder,
}

/// Which of the two sources cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Own,
    Witness,
    Both,
}

/// What is wrong with AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Requests are refused for a reason that passes.
    Throttled,
    /// Requests are refused for a reason that lasts.
    Denied,
    /// No credentials are to be had.
    NoCredentials,
    /// Instance metadata does not say which instance this is; when it does, the agent is told.
    NoIdentity,
    /// A request is granted, and nothing comes of it.
    Ignored,
    /// EC2 answers while a stop is prepared, and then no more: the request fails.
    Deaf,
}

impl Trouble {
    pub(crate) const NUMBER: usize = 6;
}

/// What an agent that starts again finds of the memory of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All, up to the last sample.
    All,
    /// All but the last sample.
    OneSampleOld,
    /// Nothing.
    Nothing,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Somebody wants to play for so long. If the instance is off, that starts it.
    Visit {
        stay: Ms,
        /// At the end the link is cut: the row stays for so long. 0: says goodbye.
        lingers: Ms,
        /// The server takes so long to accept the connection.
        accept: Ms,
        /// By which of the ways in.
        door: usize,
        /// On a machine with a proxy: stays on it. On one with a tunnel: comes directly.
        aside: bool,
    },
    /// Somebody tries to join so often, and is never let in.
    FailedJoins { tries: u32, hold: Ms, pause: Ms },
    /// All players lose their link, and come back by new connections after `back`.
    Blip { lingers: Ms, back: Ms },
    /// A connection of no player. `rate`: bytes in 1000 s.
    Stranger { kind: Stranger, hold: Ms, accept: Ms, rate: u64 },
    /// Two ask for the server's entry in turn, so that one of them is always connected. One of them may be a player.
    Pingers { lasts: Ms, hold: Ms, friend: bool, door: usize },
    /// The server is dead, or does not start, for so long.
    Down { process: Process, lasts: Ms },
    /// The server starts, dies after `up`, and starts again after `down`.
    CrashLoop { lasts: Ms, up: Ms, down: Ms },
    /// The server hangs: nothing is accepted, and of some peers the rows stay.
    Hang { lasts: Ms, rows_stay: bool, recovers: bool },
    /// The server is asked in vain, and serves on.
    Mute { lasts: Ms },
    /// The kernel's tables are not a snapshot: one row is left out.
    Omitted { lasts: Ms },
    /// Tables cannot be read.
    Blind { side: Side, lasts: Ms },
    /// Those of the first network beside the host's cannot be read.
    NetworkUnreadable { lasts: Ms },
    /// AWS fails.
    Aws { trouble: Trouble, lasts: Ms },
    /// EFS does not answer, or is not mounted.
    Efs { hung: bool, lasts: Ms },
    /// The agent ends, and another starts after `down`.
    Restart { down: Ms, kept: Kept },
    /// The agent gets no processor.
    Starved { lasts: Ms },
    /// The agent gets no processor until so many samples are left out, and the time of one has come.
    Skipped { samples: u64 },
    /// The machine is suspended: its clock stands still. Rows of dead links are there for some time after.
    Asleep { lasts: Ms, lingers: Ms },
    /// EC2 gives notice that it takes the instance back; if it does not, the notice ends after `lasts`.
    Reclaim { comes: bool, lasts: Ms },
    /// The operator holds the instance.
    Hold { lasts: Ms },
    /// The operator changes the idle window.
    Reload { idle_window: Ms },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) when: When,
    pub(crate) what: What,
}

/// A day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    pub(crate) site: Site,
    pub(crate) settings: Settings,
    pub(crate) pace: Pace,
    /// What ended the machine on the day before was not who watches it.
    pub(crate) ended_by_others: bool,
    pub(crate) events: Vec<Event>,
}

impl Event {
    pub(crate) fn time(&self) -> Option<Ms> {
        match self.when {
            When::At(at) => Some(at),
            When::Empty(_) => None,
        }
    }

    /// The lengths and times in it: what a simpler event has less of.
    pub(crate) fn times(&mut self) -> Vec<&mut Ms> {
        let (When::At(when) | When::Empty(when)) = &mut self.when;
        let mut times = vec![when];
        match &mut self.what {
            What::Visit { stay, lingers, accept, .. } => times.extend([stay, lingers, accept]),
            What::FailedJoins { hold, pause, .. } => times.extend([hold, pause]),
            What::Blip { lingers, back } => times.extend([lingers, back]),
            What::Stranger { hold, accept, .. } => times.extend([hold, accept]),
            What::Pingers { lasts, .. } => times.push(lasts),
            What::Asleep { lasts, lingers } => times.extend([lasts, lingers]),
            What::CrashLoop { lasts, .. }
            | What::Down { lasts, .. }
            | What::Hang { lasts, .. }
            | What::Mute { lasts }
            | What::Omitted { lasts }
            | What::Blind { lasts, .. }
            | What::NetworkUnreadable { lasts }
            | What::Aws { lasts, .. }
            | What::Efs { lasts, .. }
            | What::Restart { down: lasts, .. }
            | What::Starved { lasts }
            | What::Hold { lasts }
            | What::Reclaim { lasts, .. }
            | What::Reload { idle_window: lasts } => times.push(lasts),
            What::Skipped { .. } => {}
        }
        times
    }
}

/// `ms` in units of `unit`, to one decimal, rounded.
pub(crate) fn tenths(ms: Ms, unit: Ms) -> String {
    let tenths = (ms * 10 + unit / 2) / unit;
    format!("{}.{}", tenths / 10, tenths % 10)
}
