//! What a day of a server consists of, whoever watches it: a list of events, each of which can be taken out.

use std::fmt;
use std::time::Duration;

use mc_idle::idle::{Patience, Terms};

/// Milliseconds: a length of time, or a time since noon, when the day begins.
pub(crate) type Ms = u64;

pub(crate) const SECOND: Ms = 1000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
/// The day ends at the next noon.
pub(crate) const DAY: Ms = 24 * HOUR;
pub(crate) const NEVER: Ms = Ms::MAX;

/// What the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub idle_window: Ms,
    pub no_server_window: Ms,
    pub interval: Ms,
    pub min_connection: Ms,
    /// `None`: without end, as for a termination.
    pub efs_patience: Option<Ms>,
    /// Whether the world lives on EFS.
    pub efs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            idle_window: 15 * MINUTE,
            no_server_window: 30 * MINUTE,
            interval: 5 * SECOND,
            min_connection: 70 * SECOND,
            efs_patience: Some(30 * MINUTE),
            efs: true,
        }
    }
}

impl Settings {
    /// As the core takes them.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            idle_window: Duration::from_millis(self.idle_window),
            no_server_window: Duration::from_millis(self.no_server_window),
            interval: Duration::from_millis(self.interval),
            min_connection: Duration::from_millis(self.min_connection),
            efs_patience: self
                .efs_patience
                .map_or(Patience::WithoutEnd, |patience| Patience::AtMost(Duration::from_millis(patience))),
        }
    }

    /// The window that runs while a server listens, or while none does.
    pub(crate) fn window(&self, listening: bool) -> Ms {
        if listening { self.idle_window } else { self.no_server_window }
    }
}

/// How fast things go on this day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// From the start of the instance to the start of what runs on it.
    pub boot: Ms,
    /// From there until the server listens.
    pub server: Ms,
    /// The final heartbeat and the credentials for a stop.
    pub prepare: Ms,
    /// Until EC2 answers.
    pub answer: Ms,
    /// Between the two witnesses of a last look.
    pub look: Ms,
    /// No sample comes later than this after its time.
    pub lateness: Ms,
    /// What is drawn for the back-off, in thousandths.
    pub jitter: u16,
    /// A notice is told once, not at each poll.
    pub told_once: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            boot: MINUTE,
            server: MINUTE,
            prepare: SECOND,
            answer: SECOND,
            look: 2,
            lateness: 0,
            jitter: 0,
            told_once: false,
        }
    }
}

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
    },
    /// All players lose their link, and come back by new connections after `back`.
    Blip { lingers: Ms, back: Ms },
    /// A connection of no player.
    Stranger { kind: Stranger, hold: Ms, accept: Ms },
    /// The server is dead, or does not start, for so long.
    Down { lasts: Ms },
    /// The server hangs: nothing is accepted, and of some peers the rows stay.
    Hang { lasts: Ms, rows_stay: bool, recovers: bool },
    /// The kernel's tables are not a snapshot: one row is left out.
    Omitted { lasts: Ms },
    /// Tables cannot be read.
    Blind { side: Side, lasts: Ms },
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
    pub when: When,
    pub what: What,
}

/// A day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    pub settings: Settings,
    pub pace: Pace,
    /// What ended the machine on the day before was not who watches it.
    pub ended_by_others: bool,
    pub events: Vec<Event>,
}

impl Event {
    /// The lengths and times in it: what a simpler event has less of.
    pub(crate) fn times(&mut self) -> Vec<&mut Ms> {
        let (When::At(when) | When::Empty(when)) = &mut self.when;
        let mut times = vec![when];
        match &mut self.what {
            What::Visit { stay, lingers, accept } => times.extend([stay, lingers, accept]),
            What::Blip { lingers, back } => times.extend([lingers, back]),
            What::Stranger { hold, accept, .. } => times.extend([hold, accept]),
            What::Asleep { lasts, lingers } => times.extend([lasts, lingers]),
            What::Down { lasts }
            | What::Hang { lasts, .. }
            | What::Omitted { lasts }
            | What::Blind { lasts, .. }
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

/// A length of time for people.
pub(crate) struct Length(pub Ms);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "0 s"),
            ms if ms % MINUTE == 0 => write!(f, "{} min", ms / MINUTE),
            ms if ms % SECOND == 0 && ms < 10 * MINUTE => write!(f, "{} s", ms / SECOND),
            ms if ms < MINUTE => write!(f, "{}.{:03} s", ms / SECOND, ms % SECOND),
            ms => write!(f, "{} min {}.{:03} s", ms / MINUTE, ms / SECOND % 60, ms % SECOND),
        }
    }
}

/// A time of the day for people.
pub(crate) struct Hour(pub Ms);

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hour = (self.0 / HOUR + 12) % 24;
        write!(f, "{hour:02}:{:02}:{:02}.{:03}", self.0 / MINUTE % 60, self.0 / SECOND % 60, self.0 % SECOND)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::At(at) => write!(f, "{}: ", Hour(at))?,
            When::Empty(after) => write!(f, "{} after the last player left: ", Length(after))?,
        }
        match self.what {
            What::Visit { stay, lingers, accept } => {
                write!(f, "a player comes for {}", Length(stay))?;
                if accept > 0 {
                    write!(f, ", is accepted after {}", Length(accept))?;
                }
                match lingers {
                    0 => write!(f, ", leaves"),
                    _ => write!(f, ", vanishes (the row stays for {})", Length(lingers)),
                }
            }
            What::Blip { lingers, back } => {
                write!(
                    f,
                    "all links are cut (rows stay for {}), players are back after {}",
                    Length(lingers),
                    Length(back)
                )
            }
            What::Stranger { kind, hold, accept } => {
                write!(f, "{kind:?} connects for {}", Length(hold))?;
                if accept > 0 { write!(f, ", is accepted after {}", Length(accept)) } else { Ok(()) }
            }
            What::Down { lasts } => write!(f, "the server is dead for {}", Length(lasts)),
            What::Hang { lasts, rows_stay, recovers } => {
                write!(f, "the server hangs for {}", Length(lasts))?;
                write!(f, ", {}", if rows_stay { "rows stay" } else { "clients close" })?;
                write!(f, ", then {}", if recovers { "goes on" } else { "is started again" })
            }
            What::Omitted { lasts } => write!(f, "the table leaves out its first row for {}", Length(lasts)),
            What::Blind { side, lasts } => write!(f, "{side:?} cannot be read for {}", Length(lasts)),
            What::Aws { trouble, lasts } => write!(f, "AWS: {trouble:?} for {}", Length(lasts)),
            What::Efs { hung, lasts } => {
                write!(f, "EFS is {} for {}", if hung { "hung" } else { "missing" }, Length(lasts))
            }
            What::Restart { down, kept } => {
                write!(f, "the agent is down for {}, keeps of its memory: {kept:?}", Length(down))
            }
            What::Starved { lasts } => write!(f, "the agent gets no processor for {}", Length(lasts)),
            What::Skipped { samples } => write!(f, "the agent gets no processor for {samples} samples"),
            What::Asleep { lasts, lingers } => {
                write!(f, "the machine sleeps for {} (rows stay for {} more)", Length(lasts), Length(lingers))
            }
            What::Reclaim { comes: true, .. } => write!(f, "EC2 gives notice, and takes the instance 2 min later"),
            What::Reclaim { lasts, .. } => write!(f, "EC2 gives notice for {}, and does not come", Length(lasts)),
            What::Hold { lasts } => write!(f, "the operator holds the instance for {}", Length(lasts)),
            What::Reload { idle_window } => write!(f, "the idle window becomes {}", Length(idle_window)),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mine, usual) = (self.settings, Settings::default());
        if mine != usual {
            writeln!(f, "  {mine:?}")?;
        }
        if self.pace != Pace::default() {
            writeln!(f, "  {:?}", self.pace)?;
        }
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}
