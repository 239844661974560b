//! The task that asks the servers: every so often, and in each preparation of a stop.

use std::time::Duration;

use mc_idle_rule::answers::Answer;
use mc_idle_rule::{Asked, Moment, Question};

use super::script::{Ms, NEVER};
use super::settings::Settings;
use super::world::{DEADLINE, World};

/// All times are the machine's.
#[derive(Debug)]
pub(crate) struct Asker {
    next: Ms,
    /// When each answer, or the end of waiting for it, is here.
    pending: Vec<(Ms, Asked)>,
}

impl Asker {
    pub(crate) fn new(now: Ms) -> Self {
        Asker { next: now, pending: Vec::new() }
    }

    /// When it does something next.
    pub(crate) fn next(&self, settings: &Settings) -> Ms {
        let asks = if settings.ask.is_some() { self.next } else { NEVER };
        self.pending.iter().map(|(at, _)| *at).min().unwrap_or(NEVER).min(asks)
    }

    /// Asks everybody if it is time to, and returns what has come back.
    pub(crate) fn turn(&mut self, world: &mut World, questions: &[Question]) -> Vec<Asked> {
        let now = world.moment();
        if let Some(every) = world.settings().ask.filter(|_| self.next <= now) {
            self.next = now + every;
            self.pending.extend(put(world, questions));
        }
        let (here, pending) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = pending;
        here.into_iter().map(|(_, asked)| asked).collect()
    }
}

/// Puts the questions; each answer is here at its time.
pub(crate) fn put(world: &mut World, questions: &[Question]) -> Vec<(Ms, Asked)> {
    let now = world.moment();
    let ask = |question: &Question| {
        let brought = world.brought();
        let answered = world.ask(question.listener).filter(|(_, takes)| *takes < DEADLINE);
        let takes = answered.map_or(DEADLINE, |(_, takes)| takes);
        let answer = answered.map(|(online, _)| Answer { online, names: Vec::new() });
        (
            now + takes,
            Asked {
                listener: question.listener,
                at: Moment(Duration::from_millis(now)),
                answer,
                arrived: world.brought() - brought,
            },
        )
    };
    questions.iter().map(ask).collect()
}
