//! Journal lines: one for each event, with fields for scripts.

use std::io;
use std::sync::mpsc::Receiver;

use mc_service::journal::{JournalThread, Queue, TARGET};
use mc_service::printable::printable;
use tracing::Level;

/// A handle that queues lines. Never blocks.
#[derive(Debug, Clone)]
pub struct Journal(Queue<LogLine>);

impl Journal {
    /// Writes to systemd's journal if stderr is connected to it, else to stderr.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<(Self, JournalThread)> {
        let (queue, thread) = JournalThread::start(write)?;
        Ok((Journal(queue), thread))
    }

    /// A journal whose lines go to the returned receiver, for tests.
    #[must_use]
    pub fn channel() -> (Self, Receiver<LogLine>) {
        let (queue, lines) = Queue::channel();
        (Journal(queue), lines)
    }

    /// Queues a line.
    pub fn tell(&self, level: Level, kind: Kind, text: impl Into<String>, facts: Option<Fields>) {
        self.0.hand_in(LogLine { level, kind, text: text.into(), facts });
    }
}

/// What a line is about. Each kind has one `MESSAGE_ID`, which never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Started,
    /// The agent was asked to exit.
    Ended,
    /// The state word has changed, or what a due stop waits for.
    StateChanged,
    /// Blind for five minutes.
    BlindAlarm,
    /// EFS was mounted, went missing, hung, or answered again.
    EfsChanged,
    IdentityFound,
    IdentityMissing,
    PermissionGranted,
    /// The stop would be refused, or this cannot be checked yet.
    PermissionRefused,
    /// The last look showed somebody, or failed.
    StopCalledOff,
    StopAsked,
    StopAccepted,
    /// The stop was refused or failed.
    StopRefused,
    /// The machine has resumed from sleep.
    Resumed,
    HeartbeatFailed,
    HeartbeatRecovered,
    /// The configuration was reloaded or rejected.
    Configuration,
    /// The clocks would not survive a restart, or do again; or the state of an earlier agent is ignored.
    StateFile,
    /// A stop has a different effect on this instance than elsewhere.
    StopCaveat,
    /// EC2 has given notice that it reclaims the instance, or withdrawn it.
    Reclaim,
    /// A hold begins, ends or is cut short.
    Hold,
    /// A hold source does not answer, or does again; or its answers would not survive a restart.
    HoldsUnknown,
    /// The metrics cannot be written, or can again.
    Metrics,
    /// A server has been silent for so long that its last answer no longer counts.
    SilentServer,
    /// For hours a server's answers have contradicted its connections.
    Disagreement,
    /// A due stop has waited too long for connections that come and go, and no server confirms that nobody is online.
    JoiningAlarm,
    /// There is no second witness for sockets.
    NoWitness,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 27] = [
        Kind::Started,
        Kind::Ended,
        Kind::StateChanged,
        Kind::BlindAlarm,
        Kind::EfsChanged,
        Kind::IdentityFound,
        Kind::IdentityMissing,
        Kind::PermissionGranted,
        Kind::PermissionRefused,
        Kind::StopCalledOff,
        Kind::StopAsked,
        Kind::StopAccepted,
        Kind::Resumed,
        Kind::StopRefused,
        Kind::HeartbeatFailed,
        Kind::HeartbeatRecovered,
        Kind::Configuration,
        Kind::StateFile,
        Kind::StopCaveat,
        Kind::Hold,
        Kind::HoldsUnknown,
        Kind::Reclaim,
        Kind::Metrics,
        Kind::SilentServer,
        Kind::Disagreement,
        Kind::JoiningAlarm,
        Kind::NoWitness,
    ];

    /// The `MESSAGE_ID` (systemd.journal-fields(7)).
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Kind::Started => "19f1203bbded4731a2b930b597f845a7",
            Kind::Ended => "e04e850d7fb045f98a040bc27b6108c1",
            Kind::StateChanged => "81402b251a434c8db9af3dc0225e993d",
            Kind::BlindAlarm => "48d126f99e1542dea09deeae57795f75",
            Kind::EfsChanged => "2b2d6060340d4758a70453bc2f571069",
            Kind::IdentityFound => "50531bc297784286a7c569eba9176d70",
            Kind::IdentityMissing => "81c6af8c43da4b2689db7676cebd3a18",
            Kind::PermissionGranted => "446c46c2a63a49c0a309db398c137fc6",
            Kind::PermissionRefused => "812e85416511453985ea0bb4d68258b5",
            Kind::StopCalledOff => "bf6159347a5646e18e46acce7fbcff8a",
            Kind::StopAsked => "4cbfbf4a040b4b6c9de8b0efc5129ac4",
            Kind::StopAccepted => "a8028521c0ef427ea8c45bba2ac792a8",
            Kind::Resumed => "867dd09dcfb548dda9648e393dc8f5fd",
            Kind::StopRefused => "92661af99b18457faf43a9afc9bebc26",
            Kind::HeartbeatFailed => "9aa7e1a9e41c4a39a4072fb20cc8263f",
            Kind::HeartbeatRecovered => "9cacab093abb40988b26e1519a0d7a5f",
            Kind::Configuration => "09dad58bc97042939b6344787a7aea3e",
            Kind::StateFile => "7e5abe61aeea40a986e032280dcc1952",
            Kind::StopCaveat => "778ee2aedb914833a7a28f7c3520222c",
            Kind::Hold => "e3013a5eb10e49aca0ff1b0e1bbf4b2d",
            Kind::HoldsUnknown => "2d4cab4c6e8e4cf4b992329d3e244cb2",
            Kind::Reclaim => "edfde62c4a41454ba952742f5f661073",
            Kind::Metrics => "e0ed9bdd143549efbe1e64167a0b2a0a",
            Kind::SilentServer => "5f447dee9c784b5bbaee308d1a858658",
            Kind::Disagreement => "0a3dd06aaed6472996c3cffe59a24a3d",
            Kind::JoiningAlarm => "a8003f58281e40f7a26e25c987e5258f",
            Kind::NoWitness => "53a11b89d1c94bd08f1f9b89e18943f4",
        }
    }
}

/// Journal fields: the state when a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The state word.
    pub state: &'static str,
    /// Players; `None` when unknown.
    pub players: Option<u64>,
    /// Time on the running clock; `None`: no clock is running.
    pub idle_seconds: Option<u64>,
    /// The window of that clock.
    pub window_seconds: Option<u64>,
    /// The word for the state of EFS.
    pub efs: &'static str,
}

/// A journal line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub kind: Kind,
    pub text: String,
    /// `None`: the state does not matter for this line.
    pub facts: Option<Fields>,
}

fn write(line: &LogLine) {
    let id = line.kind.message_id();
    // Only the text may contain foreign input; the fields are the agent's own words and numbers.
    let text = printable(&line.text);
    let state = line.facts.map(|facts| facts.state);
    let players = line.facts.and_then(|facts| facts.players);
    let idle = line.facts.and_then(|facts| facts.idle_seconds);
    let window = line.facts.and_then(|facts| facts.window_seconds);
    let efs = line.facts.map(|facts| facts.efs);
    // tracing needs the level of an event at compile time.
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(
                target: TARGET,
                Level::$level,
                message_id = id,
                mc_state = state,
                mc_players = players,
                mc_idle_seconds = idle,
                mc_window_seconds = window,
                mc_efs = efs,
                "{text}"
            )
        };
    }
    match line.level {
        Level::ERROR => event!(ERROR),
        Level::WARN => event!(WARN),
        Level::INFO => event!(INFO),
        _ => event!(DEBUG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_catalog_explains_every_kind_and_no_other() {
        let catalog = include_str!("../systemd/mc-idle.catalog");
        let explained: Vec<&str> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let distinct: BTreeSet<&str> = explained.iter().copied().collect();
        assert_eq!(explained.len(), distinct.len(), "explained twice");
        assert_eq!(distinct, Kind::ALL.map(Kind::message_id).into_iter().collect());
        assert_eq!(distinct.len(), Kind::ALL.len(), "two kinds with one id");
    }
}
