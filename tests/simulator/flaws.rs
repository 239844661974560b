//! The real core, or one that is broken on purpose: to see whether the simulator finds it.

use mc_idle::idle::backoff::Jitter;
use mc_idle::idle::rule::{CallOff, Refusal};
use mc_idle::idle::{Action, Clearance, Efs, Memory, Moment, Reading, Rule, Seen, Terms, Ticket, View};

use super::script::Settings;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The last look does not see connections.
    BlindLastLook,
    /// A table that cannot be read is an empty one.
    UnknownIsZero,
    /// Time that was not observed counts.
    GapInFull,
    /// The window is over one sample later than it is.
    OneSampleLate,
}

impl Flaw {
    pub(crate) const ALL: [Flaw; 4] = [Flaw::BlindLastLook, Flaw::UnknownIsZero, Flaw::GapInFull, Flaw::OneSampleLate];
}

#[derive(Debug)]
pub(crate) struct Core {
    rule: Rule,
    terms: Terms,
    flaw: Option<Flaw>,
    last: Option<Moment>,
}

fn terms(settings: &Settings, flaw: Option<Flaw>) -> Terms {
    let mut terms = settings.terms();
    if flaw == Some(Flaw::OneSampleLate) {
        // What is reached exactly is not yet enough.
        let least = std::time::Duration::from_nanos(1);
        terms.idle_window += least;
        terms.no_server_window += least;
    }
    terms
}

impl Core {
    pub(crate) fn new(settings: &Settings, flaw: Option<Flaw>) -> Self {
        let terms = terms(settings, flaw);
        Core { rule: Rule::new(terms), terms, flaw, last: None }
    }

    pub(crate) fn remembering(settings: &Settings, flaw: Option<Flaw>, memory: Memory, now: Moment) -> Self {
        let terms = terms(settings, flaw);
        Core { rule: Rule::remembering(terms, memory, now), terms, flaw, last: None }
    }

    pub(crate) fn observe(&mut self, now: Moment, reading: &Reading, efs: Efs) -> Vec<Action> {
        match self.flaw {
            Some(Flaw::UnknownIsZero) => self.rule.observe(now, &zero(reading), efs),
            Some(Flaw::GapInFull) => {
                let mut actions = Vec::new();
                let last = self.last.unwrap_or(now);
                let mut at = last.plus(self.terms.interval);
                while at < now && now.since(last) > self.terms.interval * 2 {
                    actions.extend(self.rule.observe(at, reading, efs));
                    at = at.plus(self.terms.interval);
                }
                self.last = Some(now);
                actions.extend(self.rule.observe(now, reading, efs));
                actions
            }
            _ => self.rule.observe(now, reading, efs),
        }
    }

    pub(crate) fn last_look(
        &mut self,
        ticket: Ticket,
        now: Moment,
        own: &Reading,
        witness: &Reading,
        jitter: Jitter,
    ) -> Result<Clearance, CallOff> {
        match self.flaw {
            Some(Flaw::BlindLastLook) => self.rule.last_look(ticket, now, &nobody(own), &nobody(witness), jitter),
            Some(Flaw::UnknownIsZero) => self.rule.last_look(ticket, now, &zero(own), &zero(witness), jitter),
            _ => self.rule.last_look(ticket, now, own, witness, jitter),
        }
    }

    pub(crate) fn unprepared(&mut self, ticket: Ticket, now: Moment, refusal: Refusal, jitter: Jitter) {
        self.rule.unprepared(ticket, now, refusal, jitter);
    }

    pub(crate) fn answered(&mut self, ticket: Ticket, now: Moment, answer: Result<(), Refusal>, jitter: Jitter) {
        self.rule.answered(ticket, now, answer, jitter);
    }

    pub(crate) fn try_again_at(&mut self, now: Moment) {
        self.rule.try_again_at(now);
    }

    pub(crate) fn reclaim(&mut self, now: Moment, noticed: bool) {
        self.rule.reclaim(now, noticed);
    }

    pub(crate) fn hold(&mut self, held: bool) {
        self.rule.hold(held);
    }

    pub(crate) fn set(&mut self, settings: &Settings) {
        self.terms = terms(settings, self.flaw);
        self.rule.set_terms(self.terms);
    }

    pub(crate) fn start_afresh(&mut self) {
        self.rule.start_afresh();
        self.last = None;
    }

    pub(crate) fn memory(&self) -> Memory {
        self.rule.memory()
    }

    pub(crate) fn view(&self, now: Moment) -> View {
        self.rule.view(now)
    }
}

fn zero(reading: &Reading) -> Reading {
    match reading {
        Reading::Seen(_) => reading.clone(),
        Reading::Unknown(_) => Reading::Seen(Seen { listener: true, sockets: Vec::new() }),
    }
}

fn nobody(reading: &Reading) -> Reading {
    match reading {
        Reading::Seen(seen) => Reading::Seen(Seen { listener: seen.listener, sockets: Vec::new() }),
        Reading::Unknown(_) => reading.clone(),
    }
}
