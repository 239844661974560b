//! Who asks the launcher for a start, and when: one request at a time for everybody who waits, in the name of who came first,
//! and again every [`EVERY`] while anybody does.

use std::time::Duration;

use crate::gate::accounts::Accounts;
use crate::lobby::guest::Account;
use crate::lobby::{Id, Note};
use crate::server::status::{LauncherStatus, ServerState};
use crate::texts::Ending;

/// The time between two requests.
pub const EVERY: Duration = Duration::from_secs(10);
/// After so many failures in a row, those who wait are told.
const FAILURES: u32 = 2;
/// A start that has led to nothing for so long is over.
const LONGEST: Duration = Duration::from_mins(10);

/// What the launcher answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAnswer {
    /// It starts, or is up; with the status, if there was one in the answer.
    Accepted(Option<LauncherStatus>),
    /// This player may not.
    NotListed,
    /// The launcher does not take the broker's key.
    KeyRefused,
    OverBudget(String),
    /// It cannot be started now.
    NotStarted(String),
    /// The launcher did not answer, or not with anything that makes sense.
    NoAnswer(String),
}

/// Whom an answer concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consequence {
    /// Everybody goes on waiting.
    Wait,
    /// It ends for the one in whose name it was asked, and somebody else may be asked for at once.
    EndsFor(Id, Ending),
    /// It ends for everybody.
    EndsForAll(Ending),
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Never,
    At(Duration),
}

/// A start that was accepted, and has not led to anything yet.
#[derive(Debug)]
struct UnderWay {
    account: String,
    since: Duration,
    /// The server was seen to start.
    seen: bool,
}

/// Who asks, and when.
#[derive(Debug)]
pub struct Starter {
    asked: Asked,
    /// For whom an answer is to come.
    asking: Option<(Id, Account)>,
    /// Whether the server slept when that was asked.
    slept: bool,
    failures: u32,
    under_way: Option<UnderWay>,
    accounts: Accounts,
}

impl Default for Starter {
    fn default() -> Self {
        Starter {
            asked: Asked::Never,
            asking: None,
            slept: false,
            failures: 0,
            under_way: None,
            accounts: Accounts::default(),
        }
    }
}

impl Starter {
    /// Whether somebody may ask now.
    #[must_use]
    pub fn may_ask(&self, now: Duration) -> bool {
        let rested = match self.asked {
            Asked::Never => true,
            Asked::At(at) => now.saturating_sub(at) >= EVERY,
        };
        self.asking.is_none() && rested
    }

    /// Whether the launcher has accepted a start lately: whoever cannot wait need not ask again.
    #[must_use]
    pub fn is_under_way(&self, now: Duration) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| now.saturating_sub(under_way.since) < EVERY)
    }

    /// How long `account` has to wait before it may start the server, which is in `state`.
    #[must_use]
    pub fn wait(&self, account: &Account, state: Option<ServerState>, now: Duration) -> Duration {
        if state == Some(ServerState::Asleep) && self.under_way.is_none() {
            self.accounts.wait(&account.uuid, now)
        } else {
            Duration::ZERO
        }
    }

    /// A start is asked for in the name of `account`.
    pub fn ask(&mut self, id: Id, account: &Account, state: Option<ServerState>, now: Duration) {
        self.slept = !matches!(state, Some(ServerState::Up | ServerState::Starting | ServerState::Trouble));
        self.asking = Some((id, account.clone()));
        self.asked = Asked::At(now);
    }

    /// The launcher's answer has come.
    pub fn answered(&mut self, answer: &StartAnswer, now: Duration) -> (Consequence, Option<Note>) {
        let Some((id, account)) = self.asking.take() else { return (Consequence::Wait, None) };
        let refused = |why: &dyn ToString| Some(Note::Refused { name: account.name.clone(), why: why.to_string() });
        let for_all = |ending: Ending| (Consequence::EndsForAll(ending.clone()), refused(&ending));
        match answer {
            StartAnswer::Accepted(_) => {
                self.failures = 0;
                if !self.slept || self.under_way.is_some() {
                    return (Consequence::Wait, None);
                }
                self.accounts.started(&account.uuid, now);
                self.under_way = Some(UnderWay { account: account.uuid, since: now, seen: false });
                (Consequence::Wait, Some(Note::Started { name: account.name }))
            }
            StartAnswer::NotListed => {
                // Somebody else may be on the list.
                self.asked = Asked::Never;
                (Consequence::EndsFor(id, Ending::NotListed), refused(&"not on the launcher's list"))
            }
            StartAnswer::KeyRefused => for_all(Ending::KeyRefused),
            StartAnswer::OverBudget(why) => for_all(Ending::OverBudget(why.clone())),
            StartAnswer::NotStarted(why) => self.failed(Ending::NotStarted(why.clone()), for_all),
            StartAnswer::NoAnswer(why) => self.failed(Ending::LauncherDown(why.clone()), for_all),
        }
    }

    fn failed(
        &mut self,
        ending: Ending,
        for_all: impl Fn(Ending) -> (Consequence, Option<Note>),
    ) -> (Consequence, Option<Note>) {
        self.failures += 1;
        let (consequence, note) = for_all(ending);
        if self.failures >= FAILURES {
            self.failures = 0;
            (consequence, note)
        } else {
            // It may pass.
            (Consequence::Wait, note)
        }
    }

    /// The server is in `state`.
    pub fn seen(&mut self, state: ServerState, now: Duration) {
        let Some(under_way) = &mut self.under_way else { return };
        match state {
            ServerState::Up | ServerState::Trouble => self.under_way = None,
            ServerState::Starting => under_way.seen = true,
            // EC2 has taken it back.
            ServerState::Asleep if under_way.seen => {
                self.accounts.forgive(&under_way.account);
                self.under_way = None;
            }
            _ if now.saturating_sub(under_way.since) >= LONGEST => self.under_way = None,
            ServerState::Asleep | ServerState::Stopping | ServerState::Unknown => {}
        }
    }

    /// Somebody was handed over.
    pub fn handed_over(&mut self) {
        self.under_way = None;
        self.failures = 0;
        self.somebody_plays();
    }

    /// Somebody plays, whichever way he came in: no start was in vain.
    pub fn somebody_plays(&mut self) {
        self.accounts.joined();
    }

    /// Nobody waits any more: the next one may ask at once.
    pub fn nobody_waits(&mut self) {
        if self.asking.is_none() {
            self.asked = Asked::Never;
            self.failures = 0;
        }
    }
}
