//! What is known of the server now: the launcher's word and the answers to pings, each with its age.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::server::status::{Family, LauncherStatus, ServerState};

/// Nobody is handed over by a status that is older, or by an answer that is older.
pub const STATUS_LIVES: Duration = Duration::from_secs(5);
pub const ANSWER_LIVES: Duration = Duration::from_secs(3);

/// So many failures in a row are worth telling: a single one passes.
const FAILURES: u32 = 2;

/// How a ping went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PingResult {
    /// The server answered; with its whole text.
    Answered(Vec<u8>),
    /// The same, and only whoever comes with a PROXY header: nobody can be handed over to it.
    AnsweredBehindHeader(Vec<u8>),
    /// The broker itself answered: the address leads back here.
    Ourselves,
    Silent,
}

#[derive(Debug, Clone, Default)]
struct Pinged {
    /// When the last one was sent.
    sent: Option<Duration>,
    /// When the last one was answered; and the same for those who come with a PROXY header.
    answered: Option<Duration>,
    answered_behind_header: Option<Duration>,
    under_way: bool,
    ourselves: bool,
}

/// Whether somebody can be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Now, to this address.
    Ready(SocketAddr),
    /// The server runs, and has no address of this family.
    NoAddress,
    /// The launcher says so much, and no ping has been answered lately.
    NotYet,
    /// The launcher's last word is too old, or there is none.
    Unknown,
}

/// What is known of the server.
#[derive(Debug, Default)]
pub struct Sight {
    /// With the time at which it was asked for.
    status: Option<(Duration, LauncherStatus)>,
    /// When a status was last asked for, and whether the answer is still to come.
    asked: Option<Duration>,
    asking: bool,
    /// Since when there is none: the second time in a row, and why.
    failed: Option<(Duration, String)>,
    /// How often in a row there was none.
    failures: u32,
    pings: BTreeMap<SocketAddr, Pinged>,
}

impl Sight {
    /// The launcher's last word, however old.
    #[must_use]
    pub fn status(&self) -> Option<&LauncherStatus> {
        self.status.as_ref().map(|(_, status)| status)
    }

    /// The launcher's last word, if it is fresh.
    #[must_use]
    pub fn fresh(&self, now: Duration) -> Option<&LauncherStatus> {
        self.status.as_ref().filter(|(asked, _)| now.saturating_sub(*asked) < STATUS_LIVES).map(|(_, status)| status)
    }

    /// Whether the launcher has answered yet, or failed to.
    #[must_use]
    pub fn has_heard(&self) -> bool {
        self.status.is_some() || self.failures > 0
    }

    /// Why the launcher cannot be asked, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_ref().map(|(_, why)| why.as_str())
    }

    /// The same, if it was found out since `since`.
    #[must_use]
    pub fn failure_since(&self, since: Duration) -> Option<&str> {
        self.failed.as_ref().filter(|(at, _)| *at >= since).map(|(_, why)| why.as_str())
    }

    /// Whether the status is to be asked for: nothing is under way, and the last one was asked for at least `every` ago.
    #[must_use]
    pub fn wants_status(&self, now: Duration, every: Duration) -> bool {
        !self.asking && self.asked.is_none_or(|asked| now.saturating_sub(asked) >= every)
    }

    /// The status is asked for.
    pub fn asking(&mut self, now: Duration) {
        (self.asked, self.asking) = (Some(now), true);
    }

    /// The launcher has answered what was asked at `asked`.
    pub fn heard(&mut self, asked: Duration, now: Duration, status: Result<LauncherStatus, String>, is_reply: bool) {
        if is_reply {
            self.asking = false;
        }
        match status {
            Ok(status) => {
                if self.status.as_ref().is_none_or(|(last, _)| *last <= asked) {
                    self.status = Some((asked, status));
                }
                (self.failed, self.failures) = (None, 0);
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES {
                    self.failed = Some((now, why));
                }
            }
        }
        // Only where the server may be is of interest.
        let targets: Vec<SocketAddr> =
            [Family::V4, Family::V6].into_iter().filter_map(|family| self.status()?.target(family)).collect();
        self.pings.retain(|target, pinged| pinged.under_way || targets.contains(target));
    }

    /// The address that is to be pinged for players of `family`: the server may be there, nothing is under way, and the
    /// last one was sent at least `every` ago.
    #[must_use]
    pub fn wants_ping(&self, family: Family, now: Duration, every: Duration) -> Option<SocketAddr> {
        let status = self.fresh(now).filter(|status| status.state != ServerState::Stopping)?;
        let target = status.target(family)?;
        let due = self
            .pings
            .get(&target)
            .is_none_or(|pinged| !pinged.under_way && pinged.sent.is_none_or(|sent| now.saturating_sub(sent) >= every));
        due.then_some(target)
    }

    /// `target` is pinged.
    pub fn pinging(&mut self, target: SocketAddr, now: Duration) {
        let pinged = self.pings.entry(target).or_default();
        (pinged.sent, pinged.under_way) = (Some(now), true);
    }

    /// The ping of `target` is over.
    pub fn pinged(&mut self, target: SocketAddr, now: Duration, result: &PingResult) {
        let pinged = self.pings.entry(target).or_default();
        pinged.under_way = false;
        pinged.ourselves = *result == PingResult::Ourselves;
        (pinged.answered, pinged.answered_behind_header) = match result {
            PingResult::Answered(_) => (Some(now), Some(now)),
            PingResult::AnsweredBehindHeader(_) => (None, Some(now)),
            PingResult::Ourselves | PingResult::Silent => (None, None),
        };
    }

    /// Whether a ping for `family` was sent since `since` and is over.
    #[must_use]
    pub fn has_pinged(&self, family: Family, since: Duration) -> bool {
        let target = self.status().and_then(|status| status.target(family));
        let pinged = target.and_then(|target| self.pings.get(&target));
        pinged.is_some_and(|pinged| !pinged.under_way && pinged.sent.is_some_and(|sent| sent >= since))
    }

    /// Whether the server's address leads back to the broker.
    #[must_use]
    pub fn leads_back(&self, family: Family) -> bool {
        let target = self.status().and_then(|status| status.target(family));
        target.and_then(|target| self.pings.get(&target)).is_some_and(|pinged| pinged.ourselves)
    }

    /// Whether a player of `family` can be handed over, or relayed.
    #[must_use]
    pub fn readiness(&self, family: Family, is_relayed: bool, now: Duration) -> Readiness {
        let Some(status) = self.fresh(now) else { return Readiness::Unknown };
        match (status.state, status.host, status.target(family)) {
            (ServerState::Up, Some(host), None) if host.v4.is_some() || host.v6.is_some() => Readiness::NoAddress,
            // While it stops it may still answer, and dies.
            (ServerState::Stopping, _, _) | (_, _, None) => Readiness::NotYet,
            (_, _, Some(target)) => {
                let answered = self
                    .pings
                    .get(&target)
                    .and_then(|pinged| if is_relayed { pinged.answered_behind_header } else { pinged.answered });
                let lives = answered.is_some_and(|answered| now.saturating_sub(answered) < ANSWER_LIVES);
                if lives { Readiness::Ready(target) } else { Readiness::NotYet }
            }
        }
    }
}
