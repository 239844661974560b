//! One question to one server: limits how many are open at once and how long each may take, and records which form the
//! server answered.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mc_service::error_chain::chain;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{self, Instant};

use crate::ask::exchange::{self, AskError};
use crate::ask::own::{Arrived, OwnSockets};
use crate::ask::schedule::Schedule;
use crate::ask::{AskOutcome, AskTarget, DEADLINE, Protocol};
use crate::clock::Clock;
use mc_ping::answer::Answer;

/// How many questions of each kind are open at once. There are two kinds, at most two forms of each question, and
/// [`java::LONGEST`](super::java::LONGEST) for each, so servers can fill 16 MiB if they really send that much.
const AT_ONCE: usize = 32;

/// What the regular questions and those before a stop share.
#[derive(Debug)]
pub(super) struct AskQueue<K> {
    pub(super) clock: Clock,
    pub(super) own: OwnSockets,
    /// Notified when the schedule has changed.
    pub(super) changed: Notify,
    schedule: Mutex<Schedule<K>>,
    /// Each kind has its own permits, so that silent servers cannot delay the questions of a preparation.
    regular: Semaphore,
    fresh: Semaphore,
}

/// Why a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// It is due. The deadline counts from its turn.
    Regular,
    /// A stop is being prepared; all questions must be over by this instant.
    Fresh(Instant),
}

impl<K: Clone + Ord> AskQueue<K> {
    pub(super) fn new(clock: Clock) -> Self {
        AskQueue {
            clock,
            own: OwnSockets::new(clock),
            changed: Notify::new(),
            schedule: Mutex::new(Schedule::new()),
            regular: Semaphore::new(AT_ONCE),
            fresh: Semaphore::new(AT_ONCE),
        }
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule<K>> {
        // Nothing panics while it holds this lock.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, target: AskTarget<K>, occasion: Occasion) -> AskOutcome<K> {
        let mut asked_at = self.clock.now();
        let arrived = Arrived::default();
        let turns = if occasion == Occasion::Regular { &self.regular } else { &self.fresh };
        let turn = match occasion {
            Occasion::Regular => turns.acquire().await.ok(),
            Occasion::Fresh(until) => time::timeout_at(until, turns.acquire()).await.ok().and_then(Result::ok),
        };
        let answer = if turn.is_some() {
            asked_at = self.clock.now();
            let until = match occasion {
                Occasion::Regular => self.clock.instant(asked_at.plus(DEADLINE)),
                Occasion::Fresh(until) => until,
            };
            time::timeout_at(until, self.exchange(&target, &arrived)).await.unwrap_or(Err(AskError::Silent))
        } else {
            Err(AskError::Crowded)
        };
        if let (Protocol::Java, true, Err(_)) = (target.protocol, turn.is_some(), &answer) {
            self.schedule().form(&target, |forms| forms.note(None));
        }
        let answer = answer.map_err(|error| chain(&error));
        AskOutcome { id: target.id, asked_at, answered_at: self.clock.now(), answer, arrived: arrived.bytes() }
    }

    async fn exchange(&self, target: &AskTarget<K>, arrived: &Arrived) -> Result<Answer, AskError> {
        match target.protocol {
            Protocol::Bedrock => exchange::bedrock(target.address, arrived).await,
            Protocol::Java => {
                let first = self.schedule().form(target, |forms| forms.first());
                let may_try_other = || self.schedule().form(target, |forms| forms.try_other(self.clock.now()));
                let (answer, form) = exchange::java(target.address, first, may_try_other, &self.own, arrived).await?;
                self.schedule().form(target, |forms| forms.note(Some(form)));
                Ok(answer)
            }
        }
    }
}
