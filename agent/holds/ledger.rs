//! What the hold sources have answered, and what that means now: the holds in force, and what is unknown.
//!
//! Pure: answers, failures and times go in. Unknown is never "no hold":
//!
//! * A source that answers is believed, also when it reports no hold.
//! * While a source does not answer, its last answer stays in force until the end of each hold: for locks and sessions
//!   that is the end of their process. A hold ends at the latest 7 days after it was first reported. (A lock that is
//!   already older is dropped not at the first failure but half an hour later: D-Bus may only be restarting.)
//! * A source that has not answered since the start delays a due stop for at most half an hour.

use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::Moment;

use crate::holds::process::Process;
use crate::holds::{Hold, LONGEST, Source};

/// How long a due stop waits for a source that does not answer, in total over all restarts of the agent.
pub const PATIENCE: Duration = Duration::from_mins(30);
/// Each agent waits at least this long for a first answer, however long agents before a restart have waited.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// A source that has not answered for this long since it was first asked raises an alarm.
const ALARM: Duration = Duration::from_mins(5);
/// The time waited is stored in steps of this length, so that it is not written all the time.
const STEP: Duration = Duration::from_secs(15);
/// The most holds of one source that are kept apart.
pub const MOST: usize = 500;

/// A source and the question to it: an answer counts only while exactly this is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldSource {
    /// The file of `mc-idle hold`.
    File,
    /// Inhibitor locks of logind.
    Locks,
    /// SSH sessions of logind.
    Sessions,
    /// The SSM parameter with this name, as written in the configuration.
    Parameter(String),
}

impl HoldSource {
    /// The source of its holds.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            HoldSource::File => Source::Operator,
            HoldSource::Locks => Source::Inhibitor,
            HoldSource::Sessions => Source::Ssh,
            HoldSource::Parameter(_) => Source::Parameter,
        }
    }
}

/// When a hold ends unless it is released before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// On the monotonic clock.
    At(Moment),
    /// On the wall clock, the only one that a remote operator knows.
    Wall(Timestamp),
    /// With this process.
    Process(Process),
    /// When its holder releases it; its process is not visible.
    Open,
}

/// A hold as its source reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// One line, see [`super::tidy`].
    pub reason: String,
    pub end: HoldEnd,
}

/// A hold, and when its source first reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub claim: Claim,
    pub first: Moment,
}

/// What the agent after a restart has to know about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub question: HoldSource,
    /// Its last answer.
    pub said: Vec<Said>,
    /// How long it has been waited for without an answer.
    pub waited: Duration,
}

/// A problem with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It has not answered yet, and a due stop waits for it; `lasting`: for so long that somebody should look.
    Unheard {
        lasting: bool,
        /// Why it does not answer, if known.
        why: Option<String>,
    },
    /// It has not answered yet, and a due stop no longer waits for it.
    GivenUp {
        /// Why it does not answer, if known.
        why: Option<String>,
    },
    /// It has stopped answering.
    Silent { why: String },
    /// It reports a hold with this end, which is longer than a hold may last.
    Capped { until: Timestamp },
    /// The same, and the hold has ended.
    Overdue { until: Timestamp },
}

#[derive(Debug, Clone)]
enum SourceState {
    Answers,
    Silent {
        since: Moment,
        why: String,
    },
    /// `waited`: by the agents before this one.
    Unheard {
        since: Moment,
        waited: Duration,
        why: Option<String>,
    },
}

#[derive(Debug, Clone)]
struct Account {
    question: HoldSource,
    standing: SourceState,
    said: Vec<Said>,
}

/// The state of every source that is asked.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
}

impl Ledger {
    /// A ledger of sources that are asked `questions` from `now` on; `memory` is from before a restart.
    #[must_use]
    pub fn new(questions: &[HoldSource], memory: Vec<Remembered>, now: Moment) -> Self {
        let mut ledger = Ledger::default();
        ledger.ask(questions, now);
        for Remembered { question, said, waited: before } in memory {
            let Some(account) = ledger.account(&question) else { continue };
            account.said = said;
            if let SourceState::Unheard { waited, .. } = &mut account.standing {
                *waited = before;
            }
        }
        ledger
    }

    /// Asks the sources `questions` from `now` on. Unchanged questions keep their answers; dropped ones lose them.
    pub fn ask(&mut self, questions: &[HoldSource], now: Moment) {
        let mut before = std::mem::take(&mut self.accounts);
        self.accounts = questions
            .iter()
            .map(|question| match before.iter().position(|account| account.question == *question) {
                Some(place) => before.swap_remove(place),
                None => Account { question: question.clone(), standing: SourceState::new(now), said: Vec::new() },
            })
            .collect();
    }

    /// A source has answered with all its holds.
    pub fn answered(&mut self, question: &HoldSource, claims: Vec<Claim>, now: Moment) {
        let Some(account) = self.account(question) else { return };
        let before = std::mem::take(&mut account.said);
        let first = |claim: &Claim| before.iter().find(|said| said.claim == *claim).map_or(now, |said| said.first);
        account.said = bounded(claims).into_iter().map(|claim| Said { first: first(&claim), claim }).collect();
        account.standing = SourceState::Answers;
    }

    /// A source has not answered.
    pub fn failed(&mut self, question: &HoldSource, why: String, now: Moment) {
        let Some(account) = self.account(question) else { return };
        match &mut account.standing {
            SourceState::Answers => account.standing = SourceState::Silent { since: now, why },
            SourceState::Silent { why: latest, .. } => *latest = why,
            SourceState::Unheard { why: latest, .. } => *latest = Some(why),
        }
    }

    /// There is no such source on this machine, for the reason `why`. That counts as an answer of no holds, unless the
    /// source has reported holds that are still in force.
    pub fn absent(&mut self, question: &HoldSource, why: String, now: Moment) {
        let Some(account) = self.account(question) else { return };
        let holds = account.said.iter().any(|said| !said.longest(now).is_zero());
        if holds { self.failed(question, why, now) } else { self.answered(question, Vec::new(), now) }
    }

    /// The processes whose end no source reports at the moment.
    pub fn unwatched(&self) -> impl Iterator<Item = Process> {
        let silent = self.accounts.iter().filter(|account| !matches!(account.standing, SourceState::Answers));
        silent.flat_map(|account| &account.said).filter_map(|said| match said.claim.end {
            HoldEnd::Process(process) => Some(process),
            _ => None,
        })
    }

    /// A process has ended, and with it its holds, unless their source answers and still reports them.
    pub fn ended(&mut self, process: Process) {
        for account in self.accounts.iter_mut().filter(|account| !matches!(account.standing, SourceState::Answers)) {
            account.said.retain(|said| said.claim.end != HoldEnd::Process(process));
        }
    }

    /// The machine was suspended: all answers are void, and every source has to answer again.
    pub fn slept(&mut self, now: Moment) {
        for account in &mut self.accounts {
            *account =
                Account { question: account.question.clone(), standing: SourceState::new(now), said: Vec::new() };
        }
    }

    /// Every hold in force at `now`, which is `wall` on the wall clock.
    #[must_use]
    pub fn holds(&self, now: Moment, wall: Timestamp) -> Vec<Hold> {
        let mut holds: Vec<Hold> = Vec::new();
        for Account { question, standing, said } in &self.accounts {
            holds.extend(said.iter().filter_map(|said| said.hold(question.source(), standing, now, wall)));
        }
        // For example two sessions of one user.
        holds.dedup();
        holds
    }

    /// Whether a due stop has to wait for a source that has not answered since it was first asked.
    #[must_use]
    pub fn pending(&self, now: Moment) -> bool {
        self.accounts.iter().any(|account| account.standing.is_awaited(now))
    }

    /// The problems of each source.
    #[must_use]
    pub fn troubles(&self, now: Moment, wall: Timestamp) -> Vec<(HoldSource, Trouble)> {
        let troubles = self.accounts.iter().flat_map(|account| {
            let capped = account.said.iter().filter_map(|said| said.capped(now, wall));
            let found = account.standing.trouble(now).into_iter().chain(capped);
            found.map(|trouble| (account.question.clone(), trouble))
        });
        troubles.collect()
    }

    /// What the agent after a restart has to know.
    #[must_use]
    pub fn memory(&self, now: Moment) -> Vec<Remembered> {
        let remembered = self.accounts.iter().map(|account| Remembered {
            question: account.question.clone(),
            said: account.said.clone(),
            waited: match account.standing {
                SourceState::Unheard { since, waited, .. } => in_steps((waited + now.since(since)).min(PATIENCE)),
                SourceState::Answers | SourceState::Silent { .. } => Duration::ZERO,
            },
        });
        remembered.collect()
    }

    fn account(&mut self, question: &HoldSource) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.question == *question)
    }
}

impl SourceState {
    fn new(now: Moment) -> Self {
        SourceState::Unheard { since: now, waited: Duration::ZERO, why: None }
    }

    fn is_awaited(&self, now: Moment) -> bool {
        let SourceState::Unheard { since, waited, .. } = self else { return false };
        let here = now.since(*since);
        here < FIRST_ANSWER || *waited + here < PATIENCE
    }

    fn trouble(&self, now: Moment) -> Option<Trouble> {
        match self {
            SourceState::Answers => None,
            SourceState::Silent { why, .. } => Some(Trouble::Silent { why: why.clone() }),
            SourceState::Unheard { why, .. } if !self.is_awaited(now) => Some(Trouble::GivenUp { why: why.clone() }),
            SourceState::Unheard { since, why, .. } => {
                let lasting = now.since(*since) >= ALARM;
                (lasting || why.is_some()).then(|| Trouble::Unheard { lasting, why: why.clone() })
            }
        }
    }
}

impl Said {
    /// How long it stays in force from `now` on at most, unless it is reported again.
    fn longest(&self, now: Moment) -> Duration {
        self.first.plus(LONGEST).since(now)
    }

    /// The hold as it is now; `None`: it has ended.
    fn hold(&self, source: Source, standing: &SourceState, now: Moment, wall: Timestamp) -> Option<Hold> {
        let longest = self.longest(now);
        let (left, told) = match (self.claim.end, standing) {
            (HoldEnd::At(end), _) => (end.since(now).min(longest), true),
            (HoldEnd::Wall(end), _) => (until(end, wall).min(longest), true),
            (HoldEnd::Process(_) | HoldEnd::Open, SourceState::Answers) => (LONGEST, false),
            (HoldEnd::Process(_) | HoldEnd::Open, SourceState::Silent { since, .. }) => {
                (since.plus(PATIENCE).since(now).max(longest), false)
            }
            // A due stop waits for the first answer anyway.
            (HoldEnd::Process(_) | HoldEnd::Open, SourceState::Unheard { .. }) => (longest, false),
        };
        let hold = Hold { source, reason: self.claim.reason.clone(), left: told.then_some(left) };
        (!left.is_zero()).then_some(hold)
    }

    /// Whether its source gives an end that is too far away.
    fn capped(&self, now: Moment, wall: Timestamp) -> Option<Trouble> {
        let HoldEnd::Wall(end) = self.claim.end else { return None };
        let longest = self.longest(now);
        match until(end, wall) > longest {
            true if longest.is_zero() => Some(Trouble::Overdue { until: end }),
            true => Some(Trouble::Capped { until: end }),
            false => None,
        }
    }
}

/// The time until `end`, zero once it has passed.
fn until(end: Timestamp, wall: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(wall)).unwrap_or_default()
}

fn in_steps(duration: Duration) -> Duration {
    STEP * u32::try_from(duration.as_secs() / STEP.as_secs()).unwrap_or(u32::MAX)
}

/// Summarizes holds beyond [`MOST`] as one, so that none is lost.
fn bounded(mut claims: Vec<Claim>) -> Vec<Claim> {
    if claims.len() > MOST {
        let rest = claims.len() - (MOST - 1);
        claims.truncate(MOST - 1);
        claims.push(Claim { reason: format!("{rest} more holds"), end: HoldEnd::Open });
    }
    claims
}
