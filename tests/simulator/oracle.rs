//! The promises of the contract, stated over the world: who is really there, and for how long nobody has been.
//!
//! It knows the world, when the agent looked, asked and requested, and nothing of what the rule makes of it.
//!
//! * [`cut_off`]: when a request arrives, nobody whom anything could show is connected or joining.
//! * [`voices`]: which servers answer, and what is unknown while they do not.
//! * [`bounds`]: no machine runs on for longer than the clocks and the waits that the contract names, and none is stopped before.

pub(crate) mod bounds;
pub(crate) mod cut_off;
mod voices;

use std::fmt;

use mc_idle_rule::Asked;

use super::script::{MINUTE, Ms};
use super::telling::Hour;
use super::world::World;
use bounds::Bounds;
use cut_off::Look;

/// Not seeing everything for this long is an alarm.
const BLIND: Ms = 5 * MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// No stop while anybody is there or joins whom anything could show, or while a source does not know.
    Nobody,
    /// No machine runs for longer than it may.
    Bound,
    /// No stop before its time, nor while somebody holds the instance.
    NotBefore,
    /// Blindness that lasts is told.
    Alarm,
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) promise: Promise,
    pub(crate) at: Ms,
    pub(crate) text: &'static str,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken at {}: {}", self.promise, Hour(self.at), self.text)
    }
}

/// Which promise was broken, and how.
pub(crate) type Judgement = Result<(), (Promise, &'static str)>;

/// Looks on.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    bounds: Bounds,
    /// Since when the agent has seen everything without a break, as the machine's clock tells it.
    watches_since: Ms,
    last_sample: Option<Ms>,
    /// Since when the host's tables cannot be read, while nobody is there and the agent looks on.
    blind_since: Option<Ms>,
    alarmed: bool,
}

impl Oracle {
    /// An agent begins to watch; with `memory` it goes on from what another one knew.
    pub(crate) fn begins(&mut self, now: Ms, memory: bool) {
        if memory {
            self.bounds.goes_on(now);
        } else {
            self.bounds = Bounds::default();
        }
        (self.watches_since, self.last_sample, self.blind_since) = (now, None, None);
    }

    /// The machine has slept: all that was seen is worth nothing.
    pub(crate) fn start_afresh(&mut self, now: Ms) {
        self.begins(now, false);
    }

    /// A sample was taken.
    pub(crate) fn sample(&mut self, world: &World, alarms: bool, stopping: bool) -> Judgement {
        let now = world.moment();
        let gap = self.last_sample.replace(now).map(|then| now - then);
        let observed = gap.filter(|gap| *gap <= 2 * world.settings().interval);
        let (own, other) = (world.troubles().own_readable(world.now()), world.troubles().network_readable(world.now()));
        if observed.is_none() || !own || !other || world.omits() {
            self.watches_since = now;
        }
        self.bounds.sample(world, gap, self.watches_since, stopping)?;
        self.alarm(world, alarms, now)
    }

    /// Whoever cannot be seen for long has to be told of. Only of the plainest case: the host's tables, and nobody there.
    fn alarm(&mut self, world: &World, alarms: bool, now: Ms) -> Judgement {
        let blind = !world.own_readable() && self.bounds.is_quiet();
        self.blind_since = blind.then(|| self.blind_since.unwrap_or(now));
        // It may have been blind before, for another reason, and have told so.
        self.alarmed = (self.alarmed || alarms) && !self.bounds.sees();
        // What a server said last stands for 5 minutes if it cannot be asked again.
        let overdue = |since| now - since > 2 * BLIND + 2 * world.settings().interval;
        if self.blind_since.is_some_and(overdue) && !self.alarmed && self.watches_since + BLIND < now {
            return Err((Promise::Alarm, "not everything could be seen for more than 5 minutes, and nobody was told"));
        }
        Ok(())
    }

    /// The agent was told an answer.
    pub(crate) fn hears(&mut self, world: &World, asked: &Asked) {
        self.bounds.hears(world, asked);
    }

    /// A request arrives that rests on `look`.
    pub(crate) fn arrives(&mut self, world: &mut World, look: &Look) -> Judgement {
        if let Some(why) = self.bounds.is_unknown(world, look.asked.map(|at| world.moment() - (world.now() - at))) {
            return Err((Promise::Nobody, why));
        }
        cut_off::judge(world, look, self.watches_since, self.bounds.may_be_due_since())?;
        self.bounds.arrives(world, look)
    }

    /// EC2 has granted a stop.
    pub(crate) fn granted(&mut self, now: Ms) {
        self.bounds.waits_until(now + 5 * MINUTE);
    }
}
