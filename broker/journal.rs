//! Journal lines: one for each event, with the player's name as a field.

use std::io;

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

    /// Queues a line; `player` is whom it is about, if it is about one.
    pub fn tell(&self, level: Level, kind: Kind, player: Option<&str>, text: impl Into<String>) {
        self.0.hand_in(LogLine { level, kind, player: player.map(str::to_owned), text: text.into() });
    }
}

/// What a line is about. Each kind has one `MESSAGE_ID`, which never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Started,
    Ended,
    /// What the server is has changed.
    StateChanged,
    /// The launcher has accepted a start, for a player.
    StartAccepted,
    StartRefused,
    HandedOver,
    /// A player was told why he cannot come in.
    TurnedAway,
    /// The launcher does not answer, or does again.
    Launcher,
    /// The server refuses players who are handed over.
    TransfersRefused,
    /// The server's address is the broker's own.
    LeadsBack,
    /// The metrics cannot be written, or can again.
    Metrics,
    /// Connections cannot be accepted.
    Accept,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 12] = [
        Kind::Started,
        Kind::Ended,
        Kind::StateChanged,
        Kind::StartAccepted,
        Kind::StartRefused,
        Kind::HandedOver,
        Kind::TurnedAway,
        Kind::Launcher,
        Kind::TransfersRefused,
        Kind::LeadsBack,
        Kind::Metrics,
        Kind::Accept,
    ];

    /// The `MESSAGE_ID` (systemd.journal-fields(7)).
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Kind::Started => "a294f25a59c04274ae6794fda6603761",
            Kind::Ended => "79ef700e17b7479690284b63660dfcb0",
            Kind::StateChanged => "5b4b2ea12bae4cf1b0650a2f6f68a30d",
            Kind::StartAccepted => "c4b9820cfbce45d5b4461121ed4fa3c6",
            Kind::StartRefused => "c87e4ce5077c49ecb26caca795b00b09",
            Kind::HandedOver => "cb74378309484bcaab10d3f7b638ec1f",
            Kind::TurnedAway => "5142bbee006c4511aa3641d7e3bfbabe",
            Kind::Launcher => "c87e31cd64864c1f83d6763b35f67322",
            Kind::TransfersRefused => "27f8a0d4b7f94ea9b8f3e26b32dfa84b",
            Kind::LeadsBack => "4a30cbd46b854b6fb878dc0892cd6b72",
            Kind::Metrics => "c588aded2545443f8c5bb6822bb288fd",
            Kind::Accept => "affc5859f627456ca67e59be87140fff",
        }
    }
}

/// A journal line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub kind: Kind,
    pub player: Option<String>,
    pub text: String,
}

fn write(line: &LogLine) {
    let id = line.kind.message_id();
    let text = printable(&line.text);
    let player = line.player.as_deref().map(printable);
    let player = player.as_deref();
    // tracing needs the level of an event at compile time.
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(target: TARGET, Level::$level, message_id = id, mc_player = player, "{text}")
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
        let catalog = include_str!("../systemd/mc-broker.catalog");
        let explained: Vec<&str> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        let distinct: BTreeSet<&str> = explained.iter().copied().collect();
        assert_eq!(explained.len(), distinct.len(), "explained twice");
        assert_eq!(distinct, Kind::ALL.map(Kind::message_id).into_iter().collect());
        assert_eq!(distinct.len(), Kind::ALL.len(), "two kinds with one id");
    }
}
