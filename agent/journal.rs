//! The journal: one line for each event, with fields that a script can ask for.
//!
//! journald may stand still like anything else, so lines go to a thread of their own through a queue with an end. A line
//! that finds the queue full is dropped and counted; the count is told with the next line that gets through.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::idle::View;
use crate::terminal;

/// Lines that may wait for a journal that stands still.
const QUEUE: usize = 256;
/// The target of every line; what other crates say under theirs is left out.
const TARGET: &str = "mc_idle";

/// What a line is about. Each kind has one `MESSAGE_ID`, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The agent has started.
    Started,
    /// The agent was asked to end.
    Ended,
    /// The state of the heartbeat has changed.
    StateChanged,
    /// Nothing has been seen for five minutes.
    BlindAlarm,
    /// EFS was mounted, went missing, hung or answered again.
    EfsChanged,
    /// Instance metadata has told which instance this is.
    IdentityFound,
    /// Instance metadata does not tell which instance this is.
    IdentityMissing,
    /// EC2 would allow the stop.
    PermissionGranted,
    /// EC2 would refuse the stop.
    PermissionRefused,
    /// The last look showed somebody, or nothing at all.
    StopCalledOff,
    /// EC2 is asked for the stop.
    StopAsked,
    /// EC2 has agreed to the stop.
    StopAccepted,
    /// EC2 has refused the stop.
    StopRefused,
    /// The machine has slept.
    Resumed,
    /// Heartbeats are not written.
    HeartbeatFailed,
    /// Heartbeats are written again.
    HeartbeatRecovered,
    /// The configuration was read again, or refused.
    Configuration,
    /// The clocks would not survive a restart, or the state of an earlier agent is not taken up.
    StateFile,
    /// On this instance a stop is not what it is elsewhere.
    Caution,
    /// EC2 takes the instance back, or no longer says so.
    Reclaim,
    /// Somebody holds the instance, or no longer does.
    Hold,
    /// The metrics are not written, or again.
    Metrics,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 22] = [
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
        Kind::Caution,
        Kind::Hold,
        Kind::Reclaim,
        Kind::Metrics,
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
            Kind::Caution => "778ee2aedb914833a7a28f7c3520222c",
            Kind::Hold => "e3013a5eb10e49aca0ff1b0e1bbf4b2d",
            Kind::Reclaim => "edfde62c4a41454ba952742f5f661073",
            Kind::Metrics => "e0ed9bdd143549efbe1e64167a0b2a0a",
        }
    }
}

/// What was so when a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    state: &'static str,
    players: Option<u64>,
    idle_seconds: Option<u64>,
    window_seconds: Option<u64>,
    efs: &'static str,
}

impl From<&View> for Facts {
    fn from(view: &View) -> Self {
        Facts {
            state: view.state.word(),
            players: view.counts.map(|counts| counts.players as u64),
            idle_seconds: view.running.map(|running| running.elapsed.as_secs()),
            window_seconds: view.window.map(|window| window.as_secs()),
            efs: view.efs.word(),
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How grave it is.
    pub level: Level,
    /// What it is about.
    pub kind: Kind,
    /// The text.
    pub text: String,
    /// What was so, where it matters.
    pub facts: Option<Facts>,
}

/// Where lines are handed in. Never waits.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Journal {
    /// A journal whose lines come out at the other end, for whoever wants to read them.
    #[must_use]
    pub fn channel() -> (Self, Receiver<Line>) {
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        (Journal { queue, dropped: Arc::default() }, lines)
    }

    /// Hands in a line.
    pub fn tell(&self, level: Level, kind: Kind, text: impl Into<String>, facts: Option<Facts>) {
        let line = Line { level, kind, text: text.into(), facts };
        if self.queue.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that writes the lines.
#[derive(Debug)]
pub struct Scribe {
    finished: Receiver<()>,
}

impl Scribe {
    /// Starts writing to systemd's journal if stderr is connected to it, else to stderr.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<(Journal, Self)> {
        let (journal, lines) = Journal::channel();
        let dropped = Arc::clone(&journal.dropped);
        let (finish, finished) = mpsc::sync_channel(1);
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            tracing::subscriber::with_default(subscriber(), || {
                for line in lines {
                    write(&line);
                    match dropped.swap(0, Ordering::Relaxed) {
                        0 => {}
                        lost => tracing::warn!(target: TARGET, "{lost} lines were lost: the journal stood still"),
                    }
                }
            });
            // Nobody may be waiting for this any more.
            let _ = finish.send(());
        })?;
        Ok((journal, Scribe { finished }))
    }

    /// Waits until every line handed in is written and every [`Journal`] is gone, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        // Either outcome ends the wait.
        let _ = self.finished.recv_timeout(patience);
    }
}

fn write(line: &Line) {
    let id = line.kind.message_id();
    let text = &line.text;
    let state = line.facts.map(|facts| facts.state);
    let players = line.facts.and_then(|facts| facts.players);
    let idle = line.facts.and_then(|facts| facts.idle_seconds);
    let window = line.facts.and_then(|facts| facts.window_seconds);
    let efs = line.facts.map(|facts| facts.efs);
    // The level of an event is fixed where it is written.
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

fn subscriber() -> Box<dyn Subscriber + Send + Sync> {
    let ours = || Targets::new().with_target(TARGET, LevelFilter::INFO);
    let registry = tracing_subscriber::registry();
    if stderr_is_journal()
        && let Ok(layer) = tracing_journald::layer()
    {
        // systemd's notice is for normal but significant events; what an operator reads every day is informational.
        let priorities = tracing_journald::PriorityMappings {
            info: tracing_journald::Priority::Informational,
            ..tracing_journald::PriorityMappings::new()
        };
        let layer = layer.with_field_prefix(None).with_priority_mappings(priorities);
        return Box::new(registry.with(layer.with_filter(ours())));
    }
    let layer = tracing_subscriber::fmt::layer()
        .event_format(terminal::Plain)
        .with_ansi(false)
        .with_writer(io::stderr)
        .with_filter(ours());
    Box::new(registry.with(layer))
}

/// Whether stderr is the stream that systemd has connected to the journal: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)).
#[must_use]
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
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
