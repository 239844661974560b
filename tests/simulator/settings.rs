//! What the operator has set, and how fast things go.

use std::time::Duration;

use mc_idle_rule::clocks::Windows;
use mc_idle_rule::{Patience, RuleSettings};

use super::script::{MINUTE, Ms, SECOND};
use super::site::Site;

/// What the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) idle_window: Ms,
    pub(crate) no_server_window: Ms,
    pub(crate) interval: Ms,
    pub(crate) min_connection: Ms,
    pub(crate) joining_patience: Ms,
    /// How often the servers are asked; `None`: never.
    pub(crate) ask: Option<Ms>,
    /// `None`: without end, as for a termination.
    pub(crate) efs_patience: Option<Ms>,
    /// Whether the world lives on EFS.
    pub(crate) efs: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            idle_window: 15 * MINUTE,
            no_server_window: 30 * MINUTE,
            interval: 5 * SECOND,
            min_connection: 70 * SECOND,
            joining_patience: 30 * MINUTE,
            ask: Some(MINUTE),
            efs_patience: Some(30 * MINUTE),
            efs: true,
        }
    }
}

impl Settings {
    /// As the core takes them.
    pub(crate) fn rule_settings(&self, site: Site) -> RuleSettings {
        let time = Duration::from_millis;
        RuleSettings {
            windows: Windows { idle: time(self.idle_window), no_server: time(self.no_server_window) },
            interval: time(self.interval),
            min_connection: time(self.min_connection),
            joining_patience: time(self.joining_patience),
            efs_patience: self
                .efs_patience
                .map_or(Patience::WithoutEnd, |patience| Patience::AtMost(Duration::from_millis(patience))),
            ports: site.ports().into_iter().collect(),
        }
    }

    /// The window that runs while a server listens, or while none does.
    pub(crate) fn window(&self, listening: bool) -> Ms {
        if listening { self.idle_window } else { self.no_server_window }
    }

    /// The window of the clock that bounds both.
    pub(crate) fn both_windows(&self) -> Ms {
        self.idle_window + self.no_server_window
    }
}

/// How fast things go on this day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// From the start of the instance to the start of what runs on it.
    pub(crate) boot: Ms,
    /// From there until the server listens.
    pub(crate) server: Ms,
    /// The final heartbeat, the credentials and the open connection for a stop.
    pub(crate) prepare: Ms,
    /// Between the two witnesses of a last look.
    pub(crate) look: Ms,
    /// From the last look until the request has reached EC2.
    pub(crate) arrive: Ms,
    /// From there until EC2's answer is here.
    pub(crate) answer: Ms,
    /// How long a server takes to answer.
    pub(crate) latency: Ms,
    /// No sample comes later than this after its time.
    pub(crate) lateness: Ms,
    /// What is drawn for the back-off, in thousandths.
    pub(crate) jitter: u16,
    /// A notice is told once, not at each poll.
    pub(crate) told_once: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            boot: MINUTE,
            server: MINUTE,
            prepare: SECOND,
            look: 2,
            arrive: 20,
            answer: SECOND,
            latency: 10,
            lateness: 0,
            jitter: 0,
            told_once: false,
        }
    }
}
