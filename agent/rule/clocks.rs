//! The clocks that run towards a stop.

use std::time::Duration;

use super::moment::Moment;

/// What a sample means for the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupancy {
    /// There is a player, or a server says that somebody is online.
    Occupied {
        /// Whether a server listens.
        listener: bool,
    },
    /// A listener, but no player.
    Empty,
    /// Neither a listener nor a player.
    NoServer,
    /// No player was seen, but not everything could be.
    Unknown,
}

/// One of the three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockKind {
    /// A server listens and nobody plays.
    Idle,
    NoServer,
    /// Nobody plays, whether a server listens or not: bounds the other two where a server comes and goes.
    NoPlayer,
}

impl ClockKind {
    /// Its name in the status and the metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ClockKind::Idle => "idle",
            ClockKind::NoServer => "no-server",
            ClockKind::NoPlayer => "no-player",
        }
    }
}

/// A clock and the time counted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    pub clock: ClockKind,
    pub elapsed: Duration,
}

/// How long each clock may run until a stop is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    pub idle: Duration,
    pub no_server: Duration,
}

impl Windows {
    /// The window of `clock`.
    #[must_use]
    pub fn of(self, clock: ClockKind) -> Duration {
        match clock {
            ClockKind::Idle => self.idle,
            ClockKind::NoServer => self.no_server,
            ClockKind::NoPlayer => self.idle.saturating_add(self.no_server),
        }
    }
}

/// The three clocks of a stop.
#[derive(Debug, Default)]
pub struct Clocks {
    /// The idle or the no-server clock: at most one of them runs.
    running: Option<Running>,
    /// Readable time without a player.
    no_player: Duration,
    last: Option<(Moment, Occupancy)>,
}

impl Clocks {
    /// Continues from a saved `running` clock and no-player clock. The time until the next sample was not observed and
    /// does not count.
    #[must_use]
    pub fn resuming(running: Option<Running>, no_player: Duration) -> Self {
        Clocks { running, no_player, last: None }
    }

    /// Takes a sample and returns the observed time that it adds.
    ///
    /// Time counts only between two consecutive samples that found the machine empty in the same way or, on the
    /// no-player clock, empty in either way. A gap longer than two sample intervals was not observed (a stopped
    /// process, a suspended machine) and counts as one interval.
    pub fn advance(&mut self, now: Moment, occupancy: Occupancy, interval: Duration) -> Duration {
        let gap = match self.last {
            Some((then, _)) if now.since(then) > interval * 2 => interval,
            Some((then, _)) => now.since(then),
            None => Duration::ZERO,
        };
        let before = self.last.replace((now, occupancy)).map(|(_, occupancy)| occupancy);
        let clock = match occupancy {
            Occupancy::Unknown => return gap,
            Occupancy::Occupied { listener: true } | Occupancy::Empty => ClockKind::Idle,
            Occupancy::Occupied { listener: false } | Occupancy::NoServer => ClockKind::NoServer,
        };
        let occupied = matches!(occupancy, Occupancy::Occupied { .. });
        let elapsed = match self.running {
            _ if occupied => Duration::ZERO,
            Some(running) if running.clock == clock && before == Some(occupancy) => running.elapsed + gap,
            Some(running) if running.clock == clock => running.elapsed,
            // A listener that appears restarts the idle clock; one that goes restarts the no-server clock.
            _ => Duration::ZERO,
        };
        self.running = Some(Running { clock, elapsed });
        self.no_player = match before {
            _ if occupied => Duration::ZERO,
            Some(Occupancy::Empty | Occupancy::NoServer) => self.no_player + gap,
            _ => self.no_player,
        };
        gap
    }

    /// The time since the last sample.
    #[must_use]
    pub fn since_last(&self, now: Moment) -> Duration {
        self.last.map_or(Duration::ZERO, |(then, _)| now.since(then))
    }

    /// The idle or the no-server clock; `None` before the first readable sample.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.running
    }

    /// Readable time without a player.
    #[must_use]
    pub fn no_player(&self) -> Duration {
        self.no_player
    }

    /// The clock that will reach its window first; `None` before the first readable sample.
    #[must_use]
    pub fn next(&self, windows: Windows) -> Option<Running> {
        let running = self.running?;
        let bound = Running { clock: ClockKind::NoPlayer, elapsed: self.no_player };
        let left = |running: Running| windows.of(running.clock).saturating_sub(running.elapsed);
        Some(if left(bound) < left(running) { bound } else { running })
    }

    /// Whether a clock has reached its window.
    #[must_use]
    pub fn is_over(&self, windows: Windows) -> bool {
        self.next(windows).is_some_and(|running| running.elapsed >= windows.of(running.clock))
    }
}
