//! A script in words.

use std::fmt;

use super::script::{Event, HOUR, MINUTE, Ms, SECOND, Script, What, When};
use super::settings::{Pace, Settings};
use super::site::Site;

/// A length of time for people.
pub(crate) struct Length(pub(crate) Ms);

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
pub(crate) struct Hour(pub(crate) Ms);

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
        write!(f, "{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            What::Visit { stay, lingers, accept, door, aside } => {
                write!(f, "a player comes by door {door} for {}", Length(stay))?;
                if aside {
                    write!(f, ", not by the usual way")?;
                }
                if accept > 0 {
                    write!(f, ", is accepted after {}", Length(accept))?;
                }
                match lingers {
                    0 => write!(f, ", leaves"),
                    _ => write!(f, ", vanishes (the row stays for {})", Length(lingers)),
                }
            }
            What::FailedJoins { tries, hold, pause } => write!(
                f,
                "somebody tries to join {tries} times, is dropped after {} and tries again after {}",
                Length(hold),
                Length(pause)
            ),
            What::Blip { lingers, back } => write!(
                f,
                "all links are cut (rows stay for {}), players are back after {}",
                Length(lingers),
                Length(back)
            ),
            What::Stranger { kind, hold, accept, rate } => {
                write!(f, "{kind:?} connects for {}, sends {rate} bytes in 1000 s", Length(hold))?;
                if accept > 0 { write!(f, ", is accepted after {}", Length(accept)) } else { Ok(()) }
            }
            What::Pingers { lasts, hold, friend, door } => {
                write!(f, "two ping at door {door} in turn for {}, {} each", Length(lasts), Length(hold))?;
                if friend { write!(f, "; one is a player") } else { Ok(()) }
            }
            What::Down { process, lasts } => write!(f, "server {process} is dead for {}", Length(lasts)),
            What::CrashLoop { lasts, up, down } => {
                write!(f, "for {} the server is up {}, down {}", Length(lasts), Length(up), Length(down))
            }
            What::Hang { lasts, rows_stay, recovers } => {
                write!(f, "the server hangs for {}", Length(lasts))?;
                write!(f, ", {}", if rows_stay { "rows stay" } else { "clients close" })?;
                write!(f, ", then {}", if recovers { "goes on" } else { "is started again" })
            }
            What::Mute { lasts } => write!(f, "the server does not answer for {}", Length(lasts)),
            What::Omitted { lasts } => write!(f, "the table leaves out its first row for {}", Length(lasts)),
            What::Blind { side, lasts } => write!(f, "{side:?} cannot be read for {}", Length(lasts)),
            What::NetworkUnreadable { lasts } => write!(f, "network 1 cannot be read for {}", Length(lasts)),
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
        if self.site != Site::default() {
            writeln!(f, "  {}", self.site)?;
        }
        if self.settings != Settings::default() {
            writeln!(f, "  {:?}", self.settings)?;
        }
        if self.pace != Pace::default() {
            writeln!(f, "  {:?}", self.pace)?;
        }
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}
