//! The clock that runs towards a stop.

use std::time::Duration;

use super::sample::Moment;

/// What a sample means for the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// At least one player.
    Occupied {
        /// Something listens on a Minecraft port.
        listener: bool,
    },
    /// A listener, and no player.
    Empty,
    /// No listener, and no player.
    NoServer,
    /// The sample could not be read.
    Unknown,
}

/// Which of the two clocks runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// A server listens and nobody plays.
    Idle,
    /// No server listens.
    NoServer,
}

/// The clock that runs, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Which clock.
    pub clock: Clock,
    /// What has been counted on it.
    pub elapsed: Duration,
}

/// The two clocks of a stop: `idle_minutes` and `no_server_minutes`. At most one runs.
#[derive(Debug, Default)]
pub struct Window {
    running: Option<Running>,
    last: Option<(Moment, Finding)>,
}

impl Window {
    /// Goes on from where `running` stood. What passes until the next sample was not observed and does not count.
    #[must_use]
    pub fn resuming(running: Option<Running>) -> Self {
        Window { running, last: None }
    }

    /// Takes in a sample and returns what it added to the observed time.
    ///
    /// Time counts only between two samples in a row that found the same emptiness. A gap longer than two sample
    /// intervals was not observed (a stopped process, a suspended machine): it counts as one interval.
    pub fn advance(&mut self, now: Moment, finding: Finding, interval: Duration) -> Duration {
        let gap = match self.last {
            Some((then, _)) if now.since(then) > interval * 2 => interval,
            Some((then, _)) => now.since(then),
            None => Duration::ZERO,
        };
        let before = self.last.replace((now, finding)).map(|(_, finding)| finding);
        let clock = match finding {
            Finding::Unknown => return gap,
            Finding::Occupied { listener: true } | Finding::Empty => Clock::Idle,
            Finding::Occupied { listener: false } | Finding::NoServer => Clock::NoServer,
        };
        let elapsed = match self.running {
            _ if matches!(finding, Finding::Occupied { .. }) => Duration::ZERO,
            Some(running) if running.clock == clock && before == Some(finding) => running.elapsed + gap,
            Some(running) if running.clock == clock => running.elapsed,
            // A listener that appears starts the idle clock afresh; one that goes starts the other.
            _ => Duration::ZERO,
        };
        self.running = Some(Running { clock, elapsed });
        gap
    }

    /// How long ago the last sample was.
    #[must_use]
    pub fn since_last(&self, now: Moment) -> Duration {
        self.last.map_or(Duration::ZERO, |(then, _)| now.since(then))
    }

    /// The clock that runs; `None` before the first readable sample.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        self.running
    }
}
