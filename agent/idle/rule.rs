//! Due, last look, stop, retry: the rule as a whole.

use std::time::Duration;

use super::backoff::{self, Jitter};
use super::census::{Census, Counts};
use super::memory::Memory;
use super::sample::{Efs, Moment, Reading, Seen};
use super::view::{Connection, State, View, Wait};
use super::window::{Clock, Finding, Running, Window};

/// An accepted stop that has not ended the machine after this long is asked for again.
pub const STOP_PATIENCE: Duration = Duration::from_mins(5);
/// EC2 gives two minutes' notice before it takes a spot instance back (EC2 user guide, spot interruption notices). If the
/// machine still runs this long after the notice, it is stopped like any other.
pub const RECLAIM_PATIENCE: Duration = Duration::from_mins(5);
/// Not seeing anything for this long is an alarm.
pub const BLIND_ALARM: Duration = Duration::from_mins(5);

/// How long a due stop may wait for EFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// No longer than this in all.
    AtMost(Duration),
    /// As long as it takes: what is lost with the instance cannot be had back.
    WithoutEnd,
}

/// What the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a server may stay empty.
    pub idle_window: Duration,
    /// How long a machine may run without a server.
    pub no_server_window: Duration,
    /// The time between two samples.
    pub interval: Duration,
    /// The age at which a connection counts as a player.
    pub min_connection: Duration,
    /// How long a due stop may wait for EFS.
    pub efs_patience: Patience,
}

impl Terms {
    fn window(&self, clock: Clock) -> Duration {
        match clock {
            Clock::Idle => self.idle_window,
            Clock::NoServer => self.no_server_window,
        }
    }
}

/// One attempt to stop; answers to an older one are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// Leave to ask EC2 for the stop, once. Only a clean last look makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Clearance(Ticket);

impl Clearance {
    /// The attempt that it belongs to.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        self.0
    }
}

/// What the shell has to do after a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Write the final heartbeat and have credentials at hand, then take the last look.
    Prepare(Ticket),
    /// Raise the alarm: nothing has been seen for [`BLIND_ALARM`].
    AlarmBlind,
}

/// Why a last look did not lead to a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOff {
    /// The attempt was given up before the last look.
    Superseded,
    /// A connection is there, or waits to be accepted.
    Connection,
    /// The fresh sample could not be read.
    Blind,
    /// The second witness sees a connection that the sample did not show.
    WitnessConnection,
    /// The second witness could not look; the text says why.
    WitnessBlind(String),
}

/// A stop that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// It will not pass by itself: somebody has to change something.
    pub lasting: bool,
    /// What happened and, if anything can be done, what to change.
    pub text: String,
}

#[derive(Debug)]
enum Phase {
    Watching,
    Preparing(Ticket),
    Asking(Ticket),
    Accepted { at: Moment },
    Waiting { cause: Cause, until: Moment },
}

#[derive(Debug)]
enum Cause {
    Refused(Refusal),
    WitnessConnection,
    WitnessBlind(String),
}

#[derive(Debug)]
struct Blindness {
    since: Moment,
    why: String,
    alarmed: bool,
}

/// The whole state of the decision.
#[derive(Debug)]
pub struct Rule {
    terms: Terms,
    census: Census,
    window: Window,
    counts: Option<Counts>,
    blind: Option<Blindness>,
    efs: Efs,
    /// How long the due stop has waited for EFS so far.
    efs_waited: Duration,
    /// Somebody holds the instance.
    held: bool,
    /// When EC2 first said that it takes the instance back.
    reclaimed: Option<Moment>,
    phase: Phase,
    failures: u32,
    tickets: u64,
}

impl Rule {
    /// A rule that has seen nothing yet.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Rule {
            terms,
            census: Census::default(),
            window: Window::default(),
            counts: None,
            blind: None,
            efs: Efs::Off,
            efs_waited: Duration::ZERO,
            held: false,
            reclaimed: None,
            phase: Phase::Watching,
            failures: 0,
            tickets: 0,
        }
    }

    /// A rule that goes on at `now` from what another one knew. What happened in between was not observed: it adds nothing
    /// to a clock that runs towards a stop. A connection that is still there is as old as it is.
    #[must_use]
    pub fn remembering(terms: Terms, memory: Memory, now: Moment) -> Self {
        Rule {
            census: Census::remembering(memory.first_seen, now),
            window: Window::resuming(memory.running),
            efs_waited: memory.efs_waited,
            ..Rule::new(terms)
        }
    }

    /// What [`Rule::remembering`] takes.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { running: self.window.running(), efs_waited: self.efs_waited, first_seen: self.census.known() }
    }

    /// Takes new terms; the clocks go on.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Forgets all that was seen: the machine has slept, so this is another evening. What EC2 has said still holds.
    pub fn start_afresh(&mut self) {
        *self = Rule { tickets: self.tickets, reclaimed: self.reclaimed, held: self.held, ..Rule::new(self.terms) };
    }

    /// Takes in a sample and says what to do.
    pub fn observe(&mut self, now: Moment, reading: &Reading, efs: Efs) -> Vec<Action> {
        self.take_in(now, reading, efs);
        let mut actions = Vec::new();
        if let Some(blind) = &mut self.blind
            && !blind.alarmed
            && now.since(blind.since) >= BLIND_ALARM
        {
            blind.alarmed = true;
            actions.push(Action::AlarmBlind);
        }
        let may_try = match &self.phase {
            Phase::Watching => true,
            Phase::Waiting { until, .. } => now >= *until,
            Phase::Preparing(_) | Phase::Asking(_) | Phase::Accepted { .. } => false,
        };
        if may_try && self.due() && self.blind.is_none() && self.obstacle(now).is_none() {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            self.phase = Phase::Preparing(ticket);
            actions.push(Action::Prepare(ticket));
        }
        actions
    }

    /// The last look: `own` is a fresh sample, `witness` the same question answered by another source.
    ///
    /// # Errors
    /// Says why the stop is called off: anybody on either side, either side unknown, or an attempt given up.
    pub fn last_look(
        &mut self,
        ticket: Ticket,
        now: Moment,
        own: &Reading,
        witness: &Reading,
        jitter: Jitter,
    ) -> Result<Clearance, CallOff> {
        self.take_in(now, own, self.efs);
        // Taking the sample in ends an attempt when it shows a connection or nothing at all.
        if !matches!(self.phase, Phase::Preparing(current) if current == ticket) {
            return Err(match (&self.blind, self.counts) {
                (Some(_), _) => CallOff::Blind,
                (None, Some(counts)) if !counts.nobody() => CallOff::Connection,
                _ => CallOff::Superseded,
            });
        }
        let cause = match witness {
            Reading::Unknown(why) => Cause::WitnessBlind(why.clone()),
            Reading::Seen(seen) if !self.count(now, seen).nobody() => Cause::WitnessConnection,
            Reading::Seen(_) => {
                self.phase = Phase::Asking(ticket);
                return Ok(Clearance(ticket));
            }
        };
        let call_off = match &cause {
            Cause::WitnessBlind(why) => CallOff::WitnessBlind(why.clone()),
            _ => CallOff::WitnessConnection,
        };
        self.wait_after_failure(now, cause, jitter);
        Err(call_off)
    }

    /// The preparation failed, so there was no last look and no request.
    pub fn unprepared(&mut self, ticket: Ticket, now: Moment, refusal: Refusal, jitter: Jitter) {
        if matches!(self.phase, Phase::Preparing(current) if current == ticket) {
            self.wait_after_failure(now, Cause::Refused(refusal), jitter);
        }
    }

    /// EC2 has answered the request.
    pub fn answered(&mut self, ticket: Ticket, now: Moment, answer: Result<(), Refusal>, jitter: Jitter) {
        if !matches!(self.phase, Phase::Asking(current) if current == ticket) {
            return;
        }
        match answer {
            Ok(()) => {
                self.failures = 0;
                self.phase = Phase::Accepted { at: now };
            }
            Err(refusal) => self.wait_after_failure(now, Cause::Refused(refusal), jitter),
        }
    }

    /// Something that a failed stop lacked is there now: it is tried again at `now`, unless its refusal is a lasting one.
    pub fn try_again_at(&mut self, now: Moment) {
        if let Phase::Waiting { cause: Cause::Refused(Refusal { lasting: false, .. }), until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    /// EC2 has given notice that it takes the instance back, or, with `false`, no longer says so. No stop is asked for into
    /// a notice, for [`RECLAIM_PATIENCE`] at most.
    pub fn reclaim(&mut self, now: Moment, noticed: bool) {
        self.reclaimed = noticed.then(|| self.reclaimed.unwrap_or(now));
        if self.left_to_ec2(now) {
            self.give_up_preparing();
        }
    }

    /// Somebody holds the instance, or no longer does. A due stop waits for the end of a hold; the clocks go on.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
        if held {
            self.give_up_preparing();
        }
    }

    fn give_up_preparing(&mut self) {
        if matches!(self.phase, Phase::Preparing(_)) {
            self.phase = Phase::Watching;
        }
    }

    /// Every connection of the last sample; `None` if it could not be read.
    #[must_use]
    pub fn connections(&self, now: Moment) -> Option<Vec<Connection>> {
        (self.counts.is_some() && self.blind.is_none())
            .then(|| self.census.connections(now, self.terms.min_connection).collect())
    }

    /// Whether a stop has been asked for, or is just about to be.
    #[must_use]
    pub fn stopping(&self) -> bool {
        matches!(self.phase, Phase::Preparing(_) | Phase::Asking(_) | Phase::Accepted { .. })
    }

    /// What is so at `now`.
    #[must_use]
    pub fn view(&self, now: Moment) -> View {
        let running = self.window.running();
        let state = self.state(now);
        let stop_in = match (&state, running) {
            // Either state comes of a readable sample without players, so that the next one can add to the clock.
            (State::Idle | State::NoServer, Some(Running { clock, elapsed })) => {
                Some(self.terms.window(clock).saturating_sub(elapsed + self.window.since_last(now)))
            }
            _ => None,
        };
        View {
            counts: if self.blind.is_some() { None } else { self.counts },
            running,
            window: running.map(|running| self.terms.window(running.clock)),
            efs: self.efs,
            stop_in,
            state,
        }
    }

    fn state(&self, now: Moment) -> State {
        match (&self.phase, &self.blind, self.counts) {
            (Phase::Preparing(_) | Phase::Asking(_), ..) => State::Stopping { accepted: false },
            (Phase::Accepted { .. }, ..) => State::Stopping { accepted: true },
            (_, Some(blind), _) => State::Blind { why: blind.why.clone(), lasting: now.since(blind.since) },
            (_, None, None) => State::Starting,
            (_, None, Some(counts)) if counts.players > 0 => State::Occupied,
            // Its time has come again, and something else holds it off.
            (Phase::Waiting { until, .. }, ..) if now >= *until && self.obstacle(now).is_some() => self.due_state(now),
            (Phase::Waiting { cause, until }, ..) => {
                let again_in = until.since(now);
                match cause {
                    Cause::Refused(refusal) => State::StopFailed { refusal: refusal.clone(), again_in },
                    Cause::WitnessBlind(why) => State::StopFailed {
                        refusal: Refusal {
                            lasting: false,
                            text: format!("the second look, through netlink, could not be had: {why}"),
                        },
                        again_in,
                    },
                    Cause::WitnessConnection => State::Due(Wait::Joining),
                }
            }
            (Phase::Watching, ..) if self.due() => self.due_state(now),
            (Phase::Watching, ..) => match self.window.running() {
                Some(Running { clock: Clock::Idle, .. }) => State::Idle,
                Some(Running { clock: Clock::NoServer, .. }) => State::NoServer,
                None => State::Starting,
            },
        }
    }

    fn due_state(&self, now: Moment) -> State {
        State::Due(self.obstacle(now).unwrap_or(Wait::Moment))
    }

    fn take_in(&mut self, now: Moment, reading: &Reading, efs: Efs) {
        let was_due = self.due();
        let finding = match reading {
            Reading::Unknown(why) => {
                let since = self.blind.as_ref().map_or(now, |blind| blind.since);
                let alarmed = self.blind.as_ref().is_some_and(|blind| blind.alarmed);
                self.blind = Some(Blindness { since, why: why.clone(), alarmed });
                Finding::Unknown
            }
            Reading::Seen(seen) => {
                self.blind = None;
                self.census.update(now, seen);
                let counts = self.count(now, seen);
                self.counts = Some(counts);
                match (counts.players, seen.listener) {
                    (0, true) => Finding::Empty,
                    (0, false) => Finding::NoServer,
                    (_, listener) => Finding::Occupied { listener },
                }
            }
        };
        let gap = self.window.advance(now, finding, self.terms.interval);
        if was_due && !self.efs.ready() {
            self.efs_waited += gap;
        }
        self.efs = efs;
        self.settle(now);
    }

    /// Ends what the sample just taken in has made void.
    fn settle(&mut self, now: Moment) {
        let due = self.due();
        let nobody = self.blind.is_none() && self.counts.is_some_and(Counts::nobody);
        match self.phase {
            Phase::Preparing(_) if !(due && nobody) => self.phase = Phase::Watching,
            Phase::Waiting { .. } if !due => self.phase = Phase::Watching,
            Phase::Accepted { at } if now.since(at) >= STOP_PATIENCE => self.phase = Phase::Watching,
            _ => {}
        }
        if !due {
            self.efs_waited = Duration::ZERO;
            self.failures = 0;
        }
    }

    fn count(&self, now: Moment, seen: &Seen) -> Counts {
        self.census.count(now, seen, self.terms.min_connection)
    }

    fn due(&self) -> bool {
        self.window.running().is_some_and(|running| running.elapsed >= self.terms.window(running.clock))
    }

    /// What a due stop waits for, if anything.
    fn obstacle(&self, now: Moment) -> Option<Wait> {
        if self.left_to_ec2(now) {
            return Some(Wait::Reclaim);
        }
        if self.held {
            return Some(Wait::Hold);
        }
        let efs_left = match self.terms.efs_patience {
            Patience::AtMost(patience) => {
                patience.checked_sub(self.efs_waited).filter(|left| !left.is_zero()).map(Some)
            }
            Patience::WithoutEnd => Some(None),
        };
        match efs_left {
            Some(left) if !self.efs.ready() => Some(Wait::Efs { left }),
            _ if !self.counts.is_some_and(Counts::nobody) => Some(Wait::Joining),
            _ => None,
        }
    }

    fn left_to_ec2(&self, now: Moment) -> bool {
        self.reclaimed.is_some_and(|at| now.since(at) < RECLAIM_PATIENCE)
    }

    fn wait_after_failure(&mut self, now: Moment, cause: Cause, jitter: Jitter) {
        self.failures = self.failures.saturating_add(1);
        let wait = match &cause {
            Cause::Refused(Refusal { lasting: true, .. }) => backoff::LONGEST,
            _ => backoff::wait(self.failures, jitter),
        };
        self.phase = Phase::Waiting { cause, until: now.plus(wait) };
    }
}
