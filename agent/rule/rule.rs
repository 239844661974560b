//! The rule as a whole: due, last look, stop, retry. Over 400 lines because the stop's state machine reads best in one
//! place.

use std::collections::BTreeSet;
use std::time::Duration;

use super::alarms::{Alarm, Alarms};
use super::answers::{Answers, Asked, ListenerId};
use super::backoff::{self, Jitter};
use super::clocks::{ClockKind, Clocks, Occupancy, Running, Windows};
use super::efs::Efs;
use super::facts::{Edition, Facts};
use super::joining::{Candidate, Joining, Verdict};
use super::judge::{Evidence, Watch, judge};
use super::memory::Memory;
use super::moment::Moment;
use super::observation::{Observation, Question, Unknown};
use super::tracker::{self, ConnectionClass, Counts, Tracker};
use super::view::{Blocker, ConnectionView, State, View};

/// An accepted stop that has not ended the machine after this long is requested again.
pub const STOP_PATIENCE: Duration = Duration::from_mins(5);
/// EC2 gives two minutes' notice before it takes a spot instance back (EC2 user guide, spot interruption notices). If
/// the machine still runs this long after the notice, it is stopped like any other.
pub const RECLAIM_PATIENCE: Duration = Duration::from_mins(5);

/// How long a due stop may wait for EFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// In total.
    AtMost(Duration),
    /// As long as it takes: what is lost with the instance cannot be recovered.
    WithoutEnd,
}

/// The operator's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSettings {
    pub windows: Windows,
    /// Between two samples.
    pub interval: Duration,
    /// The age at which a connection counts as a player.
    pub min_connection: Duration,
    /// How long a due stop waits in total for connections none of which becomes a player.
    pub joining_patience: Duration,
    pub efs_patience: Patience,
    pub ports: BTreeSet<u16>,
}

/// Identifies an attempt to stop, so that answers to an older one are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptId(u64);

/// Permission to request the stop from EC2, once. Only a clean last look creates one.
#[derive(Debug, PartialEq, Eq)]
pub struct StopPermit(AttemptId);

impl StopPermit {
    /// The attempt it belongs to.
    #[must_use]
    pub fn attempt(&self) -> AttemptId {
        self.0
    }
}

/// What the caller has to do after a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write the final heartbeat, get a connection to EC2 and credentials ready, ask the servers once more, and then
    /// take the last look.
    Prepare(AttemptId),
    Alarm(Alarm),
}

/// The sockets, read from another source than the sample's.
#[derive(Debug, Clone, Copy)]
pub enum Witness<'a> {
    Second(&'a Facts),
    /// There is no other source on this machine; the tables were read a second time.
    Reread {
        /// Why there is no other source.
        why: &'a str,
        facts: &'a Facts,
    },
}

/// Why a last look did not lead to a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AbortReason {
    /// The attempt was abandoned before the last look.
    Superseded,
    /// A connection is open, or waiting to be accepted.
    Connection,
    /// A server says that somebody is online.
    Online,
    /// The fresh sample could not be read; the text says why.
    Blind(String),
    /// Connections that come and go may be somebody joining, and no server says that nobody is online.
    Unanswered,
    /// The second witness sees a connection that the sample did not show.
    WitnessConnection,
    /// The second witness could not be read; the text says why.
    WitnessBlind(String),
}

/// Why a stop failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopError {
    /// It will not go away by itself: somebody has to change something.
    pub permanent: bool,
    /// What happened and, where something can be changed, what to change.
    pub text: String,
}

#[derive(Debug)]
enum Phase {
    Watching,
    Preparing(AttemptId),
    Asking(AttemptId),
    Accepted { at: Moment },
    Waiting { cause: Cause, until: Moment },
}

#[derive(Debug)]
enum Cause {
    Refused(StopError),
    Unanswered,
    WitnessConnection,
    WitnessBlind(String),
}

/// The whole state of the decision.
#[derive(Debug)]
pub struct Rule {
    settings: RuleSettings,
    evidence: Evidence,
    tracker: Tracker,
    clocks: Clocks,
    joining: Joining,
    alarms: Alarms,
    /// The last observation; `None` before the first sample.
    observation: Option<Observation>,
    blind_since: Option<Moment>,
    last_player: Option<Moment>,
    efs: Efs,
    /// How long the due stop has waited for EFS so far.
    efs_waited: Duration,
    /// There is a hold on the instance.
    held: bool,
    /// When EC2 first gave notice that it takes the instance back.
    reclaimed: Option<Moment>,
    phase: Phase,
    failures: u32,
    attempts: u64,
}

impl Rule {
    /// A rule that has not seen a sample yet.
    #[must_use]
    pub fn new(settings: RuleSettings) -> Self {
        Rule {
            settings,
            evidence: Evidence::default(),
            tracker: Tracker::default(),
            clocks: Clocks::default(),
            joining: Joining::default(),
            alarms: Alarms::default(),
            observation: None,
            blind_since: None,
            last_player: None,
            efs: Efs::Off,
            efs_waited: Duration::ZERO,
            held: false,
            reclaimed: None,
            phase: Phase::Watching,
            failures: 0,
            attempts: 0,
        }
    }

    /// A rule that continues at `now` with what another one knew. The time in between was not observed and adds nothing
    /// to a clock that runs towards a stop, but connections that still exist keep their age.
    #[must_use]
    pub fn remembering(settings: RuleSettings, memory: Memory, now: Moment) -> Self {
        Rule {
            evidence: Evidence {
                answers: Answers::remembering(memory.answers, now),
                // As at a reload: they may have been followed from a port that is no longer watched.
                followed: if settings.ports.is_superset(&memory.ports) { memory.followed } else { BTreeSet::new() },
                ..Evidence::default()
            },
            tracker: Tracker::remembering(memory.connections, now),
            clocks: Clocks::resuming(memory.running, memory.no_player),
            joining: Joining::resuming(memory.joining_waited, memory.join_ended.filter(|at| *at <= now)),
            last_player: memory.last_player.filter(|at| *at <= now),
            efs_waited: memory.efs_waited,
            reclaimed: memory.reclaimed.filter(|at| *at <= now),
            ..Rule::new(settings)
        }
    }

    /// The state to pass to [`Rule::remembering`].
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            running: self.clocks.running(),
            no_player: self.clocks.no_player(),
            last_player: self.last_player,
            efs_waited: self.efs_waited,
            joining_waited: self.joining.waited(),
            join_ended: self.joining.last_ended(),
            reclaimed: self.reclaimed,
            connections: self.tracker.known(),
            answers: self.evidence.answers.known(),
            followed: self.evidence.followed.clone(),
            ports: if self.evidence.followed.is_empty() { BTreeSet::new() } else { self.settings.ports.clone() },
        }
    }

    /// Replaces the settings; the clocks keep running.
    pub fn set_settings(&mut self, settings: RuleSettings) {
        if !settings.ports.is_superset(&self.settings.ports) {
            // They may have been followed from a port that is no longer watched.
            self.evidence.followed.clear();
        }
        self.settings = settings;
    }

    /// All ports whose rows the next sample has to show. The judgement decides in which networks each is watched.
    #[must_use]
    pub fn watched_ports(&self) -> BTreeSet<u16> {
        let followed = self.evidence.followed.iter().map(|(_, port)| *port);
        self.settings.ports.iter().copied().chain(followed).collect()
    }

    /// Forgets everything seen, because the machine was suspended and it no longer applies. The reclaim notice and the
    /// hold are kept.
    pub fn start_afresh(&mut self) {
        *self = Rule {
            attempts: self.attempts,
            reclaimed: self.reclaimed,
            held: self.held,
            ..Rule::new(self.settings.clone())
        };
    }

    /// Takes a sample and returns what to do.
    pub fn observe(&mut self, now: Moment, facts: &Facts, efs: Efs) -> Vec<Action> {
        self.take_in(now, facts, efs);
        let mut actions: Vec<Action> = self.new_alarms(now).into_iter().map(Action::Alarm).collect();
        let may_try = match &self.phase {
            Phase::Watching => true,
            // The connections that needed an answer are gone.
            Phase::Waiting { cause: Cause::Unanswered, .. }
                if self.joining_verdict(now, &self.candidates(now)) == Verdict::Clear =>
            {
                true
            }
            Phase::Waiting { until, .. } => now >= *until,
            Phase::Preparing(_) | Phase::Asking(_) | Phase::Accepted { .. } => false,
        };
        if may_try && self.due() && self.blind_since.is_none() && self.obstacle(now).is_none() {
            self.attempts += 1;
            let attempt = AttemptId(self.attempts);
            self.phase = Phase::Preparing(attempt);
            actions.push(Action::Prepare(attempt));
        }
        actions
    }

    /// Records what a server answered, or that it did not.
    pub fn learn(&mut self, asked: Asked) {
        let (listener, arrived) = (asked.listener, asked.arrived);
        self.evidence.answers.learn(asked);
        // A connection shows that the question has arrived, and a datagram does so by an answer, now or earlier.
        if listener.edition == Edition::Java || self.evidence.answers.has_answered(&listener) {
            self.tracker.asked(listener.network, arrived);
        }
    }

    /// Drops all answers, because servers are no longer asked.
    pub fn forget_answers(&mut self) {
        self.evidence.answers.forget();
    }

    /// Which listeners to ask who is online, going by the last sample.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.observation.iter().flat_map(|observation| &observation.questions).copied().collect()
    }

    /// The last look: `own` is a fresh sample, `witness` the same from another source, and `fresh` what the servers
    /// answered during this preparation.
    ///
    /// # Errors
    /// Why the stop is called off: somebody seen on either side, either side unknown, or an abandoned attempt.
    pub fn last_look(
        &mut self,
        attempt: AttemptId,
        now: Moment,
        own: &Facts,
        witness: Witness<'_>,
        fresh: Vec<Asked>,
        jitter: Jitter,
    ) -> Result<StopPermit, AbortReason> {
        let said_nobody = |asked: &Asked| asked.answer.as_ref().is_some_and(|answer| answer.online == 0);
        let nobody: BTreeSet<ListenerId> =
            fresh.iter().filter(|asked| said_nobody(asked)).map(|asked| asked.listener).collect();
        for asked in fresh {
            self.learn(asked);
        }
        self.take_in(now, own, self.efs);
        // The sample ends the attempt if it shows a player, or does not show everything.
        if !matches!(self.phase, Phase::Preparing(current) if current == attempt) {
            return Err(self.why_given_up());
        }
        let own_verdict = self.joining_verdict(now, &self.candidates(now));
        let (facts, missing) = match witness {
            Witness::Second(facts) => (facts, None),
            Witness::Reread { why, facts } => (facts, Some(why)),
        };
        let observation = judge(facts, &self.evidence, &self.watch(), now);
        let cause = if !is_allowed(&own_verdict, &nobody) {
            Some(Cause::Unanswered)
        } else if let Some(unknown) = observation.unknown.first() {
            Some(Cause::WitnessBlind(unknown.to_string()))
        } else if !self.witness_allows(now, &observation, &nobody) {
            Some(Cause::WitnessConnection)
        } else {
            let servers = self.observation.iter().flat_map(|observation| &observation.servers);
            let replaced = servers.chain(&observation.servers).all(|server| nobody.contains(server));
            missing.filter(|_| !replaced).map(|why| Cause::WitnessBlind(why.to_owned()))
        };
        let Some(cause) = cause else {
            self.phase = Phase::Asking(attempt);
            return Ok(StopPermit(attempt));
        };
        let abort_reason = match &cause {
            Cause::WitnessBlind(why) => AbortReason::WitnessBlind(why.clone()),
            Cause::Unanswered => AbortReason::Unanswered,
            Cause::WitnessConnection | Cause::Refused(_) => AbortReason::WitnessConnection,
        };
        self.wait_after_failure(now, cause, jitter);
        Err(abort_reason)
    }

    /// The preparation failed, so there was neither a last look nor a request.
    pub fn unprepared(&mut self, attempt: AttemptId, now: Moment, stop_error: StopError, jitter: Jitter) {
        if matches!(self.phase, Phase::Preparing(current) if current == attempt) {
            self.wait_after_failure(now, Cause::Refused(stop_error), jitter);
        }
    }

    /// Records EC2's answer to the request.
    pub fn answered(&mut self, attempt: AttemptId, now: Moment, answer: Result<(), StopError>, jitter: Jitter) {
        if !matches!(self.phase, Phase::Asking(current) if current == attempt) {
            return;
        }
        match answer {
            Ok(()) => {
                self.failures = 0;
                self.phase = Phase::Accepted { at: now };
            }
            Err(stop_error) => self.wait_after_failure(now, Cause::Refused(stop_error), jitter),
        }
    }

    /// Something that a failed stop lacked is available now: it is retried at `now`, unless its error is permanent.
    pub fn try_again_at(&mut self, now: Moment) {
        if let Phase::Waiting { cause: Cause::Refused(StopError { permanent: false, .. }), until } = &mut self.phase {
            *until = now.min(*until);
        }
    }

    /// EC2 has given notice that it takes the instance back or, if not `noticed`, no longer says so. No stop is
    /// requested during a notice, for at most [`RECLAIM_PATIENCE`].
    pub fn reclaim(&mut self, now: Moment, noticed: bool) {
        self.reclaimed = noticed.then(|| self.reclaimed.unwrap_or(now));
        if self.left_to_ec2(now) {
            self.give_up_preparing();
        }
    }

    /// Sets whether there is a hold. A due stop waits for the end of the hold; the clocks keep running.
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

    /// Every connection of the last sample; `None` before the first.
    #[must_use]
    pub fn connections(&self, now: Moment) -> Option<Vec<ConnectionView>> {
        self.observation.as_ref()?;
        let connection = |tracked: tracker::Tracked<'_>| ConnectionView {
            socket: tracked.socket,
            age: tracked.age,
            class: tracked.class,
        };
        Some(self.tracked(now).map(connection).collect())
    }

    /// Whether a stop has been requested or is just about to be.
    #[must_use]
    pub fn stopping(&self) -> bool {
        matches!(self.phase, Phase::Preparing(_)) || self.stop_requested()
    }

    /// Whether a stop has been requested.
    #[must_use]
    pub fn stop_requested(&self) -> bool {
        matches!(self.phase, Phase::Asking(_) | Phase::Accepted { .. })
    }

    /// The state at `now`.
    #[must_use]
    pub fn view(&self, now: Moment) -> View {
        let running = self.clocks.next(self.settings.windows);
        let state = self.state(now);
        let window = |running: Running| self.settings.windows.of(running.clock);
        let stop_in = match (&state, running) {
            // Both states come from a readable sample without players, so the next one can add to the clock.
            (State::Idle | State::NoServer, Some(running)) => {
                Some(window(running).saturating_sub(running.elapsed + self.clocks.since_last(now)))
            }
            _ => None,
        };
        let observation = self.observation.as_ref();
        let known = observation.filter(|_| self.blind_since.is_none());
        let servers = known.map(|observation| !observation.servers.is_empty());
        View {
            counts: known.map(|_| self.counts(now)),
            // A listener that was seen is known even if not everything is.
            listening: servers.filter(|listening| *listening || observation.is_some_and(|it| it.unknown.is_empty())),
            online: observation.and_then(|observation| observation.online),
            names: observation.map(|observation| observation.names.clone()).unwrap_or_default(),
            since_player: self.last_player.map(|at| now.since(at)),
            also_unknown: known.and_then(|observation| observation.unknown.first()).map(Unknown::to_string),
            running,
            window: running.map(window),
            efs: self.efs,
            stop_in,
            state,
        }
    }

    fn state(&self, now: Moment) -> State {
        match (&self.phase, &self.observation, self.blind_since) {
            (Phase::Preparing(_) | Phase::Asking(_), ..) => State::Stopping { accepted: false },
            (Phase::Accepted { .. }, ..) => State::Stopping { accepted: true },
            (_, Some(observation), Some(since)) => {
                let why = observation.unknown.first().map(Unknown::to_string).unwrap_or_default();
                State::Blind { why, lasting: now.since(since) }
            }
            (_, None, _) => State::Starting,
            (_, Some(observation), None) if self.occupied(now, observation) => State::Occupied,
            // The retry is due, but something else delays it.
            (Phase::Waiting { until, .. }, ..) if now >= *until && self.obstacle(now).is_some() => self.due_state(now),
            (Phase::Waiting { cause, until }, ..) => {
                let again_in = until.since(now);
                match cause {
                    Cause::Refused(stop_error) => State::StopFailed { stop_error: stop_error.clone(), again_in },
                    Cause::WitnessBlind(why) => {
                        let text = format!("the second look at the sockets failed: {why}");
                        State::StopFailed { stop_error: StopError { permanent: false, text }, again_in }
                    }
                    Cause::WitnessConnection => State::Due(Blocker::Joining { unanswered: false }),
                    Cause::Unanswered => State::Due(Blocker::Joining { unanswered: true }),
                }
            }
            (Phase::Watching, ..) if self.due() => self.due_state(now),
            (Phase::Watching, ..) => match self.clocks.running() {
                Some(Running { clock: ClockKind::Idle, .. }) => State::Idle,
                Some(Running { clock: ClockKind::NoServer | ClockKind::NoPlayer, .. }) => State::NoServer,
                None => State::Starting,
            },
        }
    }

    fn due_state(&self, now: Moment) -> State {
        State::Due(self.obstacle(now).unwrap_or(Blocker::Moment))
    }

    fn take_in(&mut self, now: Moment, facts: &Facts, efs: Efs) {
        let was_due = self.due();
        let observation = judge(facts, &self.evidence, &self.watch(), now);
        self.evidence.answers.see(now, &observation.listeners, |listener| observation.may_hide(listener.network));
        self.evidence
            .accepting
            .retain(|listener, _| observation.listeners.contains(listener) || observation.may_hide(listener.network));
        self.evidence.accepting.extend(&observation.accepting);
        self.evidence.followed.retain(|(network, _)| observation.may_hide(*network));
        self.evidence.followed.extend(&observation.followed);
        let gone = self.tracker.update(now, &observation);
        self.joining.ended(now, &gone, self.settings.min_connection, self.settings.interval);
        let listener = !observation.servers.is_empty();
        let occupancy = match (self.occupied(now, &observation), observation.unknown.is_empty(), listener) {
            (true, ..) => Occupancy::Occupied { listener },
            (false, false, _) => Occupancy::Unknown,
            (false, true, true) => Occupancy::Empty,
            (false, true, false) => Occupancy::NoServer,
        };
        self.blind_since = (occupancy == Occupancy::Unknown).then(|| self.blind_since.unwrap_or(now));
        if matches!(occupancy, Occupancy::Occupied { .. }) {
            self.last_player = Some(now);
        }
        self.observation = Some(observation);
        let gap = self.clocks.advance(now, occupancy, self.settings.interval);
        if was_due {
            if !self.efs.ready() {
                self.efs_waited += gap;
            }
            let candidates = self.candidates(now);
            self.joining.take_in(now, gap, &candidates);
        }
        self.efs = efs;
        self.settle(now);
    }

    /// Ends what the latest sample has made void.
    fn settle(&mut self, now: Moment) {
        let due = self.due();
        let goes_on = due && self.blind_since.is_none() && self.obstacle(now).is_none();
        match self.phase {
            Phase::Preparing(_) if !goes_on => self.phase = Phase::Watching,
            Phase::Waiting { .. } if !due => self.phase = Phase::Watching,
            Phase::Accepted { at } if now.since(at) >= STOP_PATIENCE => self.phase = Phase::Watching,
            _ => {}
        }
        if !due {
            self.failures = 0;
        }
        // A listener that comes or goes may mean that a stop is not due for a while, but that must not renew any
        // patience.
        if self.clocks.no_player().is_zero() {
            self.efs_waited = Duration::ZERO;
            self.joining.reset();
            self.tracker.forget_witness();
        }
    }

    fn why_given_up(&self) -> AbortReason {
        match &self.observation {
            Some(observation) if self.blind_since.is_some() => {
                AbortReason::Blind(observation.unknown.first().map(Unknown::to_string).unwrap_or_default())
            }
            Some(observation) if observation.somebody_online => AbortReason::Online,
            Some(observation) if observation.connections.iter().any(|watched| watched.listening) => {
                AbortReason::Connection
            }
            _ => AbortReason::Superseded,
        }
    }

    fn witness_allows(&mut self, now: Moment, observation: &Observation, nobody: &BTreeSet<ListenerId>) -> bool {
        let mut candidates = Vec::new();
        for watched in &observation.connections {
            let (answers, min) = (&self.evidence.answers, self.settings.min_connection);
            let (open_for, class) = self.tracker.standing_of(watched, now, min, answers);
            match class {
                ConnectionClass::Player => return false,
                ConnectionClass::Young | ConnectionClass::Joining => candidates.push(Candidate {
                    socket: watched.connection.socket,
                    open_for,
                    listeners: watched.listeners.clone(),
                }),
                ConnectionClass::Backlog | ConnectionClass::Ghost | ConnectionClass::NoListener => {}
            }
        }
        self.tracker.witness(now, observation);
        let verdict = self.joining_verdict(now, &candidates);
        // Short connections that always fall between two samples are seen only here.
        self.joining.meet(now, &candidates);
        is_allowed(&verdict, nobody)
    }

    fn new_alarms(&mut self, now: Moment) -> Vec<Alarm> {
        let Some(observation) = &self.observation else { return Vec::new() };
        let blind_for = self.blind_since.map(|since| now.since(since));
        let unanswered = self.due()
            && matches!(
                (self.joining_verdict(now, &self.candidates(now)), &self.phase),
                (Verdict::Unanswerable, _)
                    | (Verdict::UnlessNobody(_), Phase::Waiting { cause: Cause::Unanswered, .. })
            );
        let (answers, min) = (&self.evidence.answers, self.settings.min_connection);
        let connections = self.tracker.connections(now, min, answers);
        self.alarms.observe(now, observation, answers, connections, blind_for, unanswered)
    }

    /// Records that there is no second witness; returns whether that is new.
    pub fn no_witness(&mut self, why: &str) -> bool {
        self.alarms.raise(Alarm::NoWitness(why.to_owned()))
    }

    /// The addresses that a due stop waits for because they may be somebody joining.
    #[must_use]
    pub fn joining_peers(&self, now: Moment) -> Vec<String> {
        let peers: BTreeSet<_> = self.candidates(now).iter().map(|candidate| candidate.socket.peer.ip()).collect();
        peers.into_iter().map(|peer| peer.to_string()).collect()
    }

    fn watch(&self) -> Watch {
        Watch { ports: self.settings.ports.clone(), bedrock_patience: self.settings.windows.no_server }
    }

    fn tracked(&self, now: Moment) -> impl Iterator<Item = tracker::Tracked<'_>> {
        self.tracker.connections(now, self.settings.min_connection, &self.evidence.answers)
    }

    fn counts(&self, now: Moment) -> Counts {
        tracker::count(self.tracked(now))
    }

    fn candidates(&self, now: Moment) -> Vec<Candidate> {
        self.tracked(now).filter_map(|tracked| Candidate::of(&tracked)).collect()
    }

    fn joining_verdict(&self, now: Moment, candidates: &[Candidate]) -> Verdict {
        self.joining.verdict(now, candidates, self.settings.joining_patience, self.settings.min_connection)
    }

    fn occupied(&self, now: Moment, observation: &Observation) -> bool {
        observation.somebody_online || self.tracked(now).any(|tracked| tracked.class == ConnectionClass::Player)
    }

    fn due(&self) -> bool {
        self.clocks.is_over(self.settings.windows)
    }

    /// What a due stop waits for, if anything.
    fn obstacle(&self, now: Moment) -> Option<Blocker> {
        if self.left_to_ec2(now) {
            return Some(Blocker::Reclaim);
        }
        if self.held {
            return Some(Blocker::Hold);
        }
        let efs_left = match self.settings.efs_patience {
            Patience::AtMost(patience) => {
                patience.checked_sub(self.efs_waited).filter(|left| !left.is_zero()).map(Some)
            }
            Patience::WithoutEnd => Some(None),
        };
        if let Some(left) = efs_left.filter(|_| !self.efs.ready()) {
            return Some(Blocker::Efs { left });
        }
        match self.joining_verdict(now, &self.candidates(now)) {
            Verdict::Clear | Verdict::UnlessNobody(_) => None,
            Verdict::Waits => Some(Blocker::Joining { unanswered: false }),
            Verdict::Unanswerable => Some(Blocker::Joining { unanswered: true }),
        }
    }

    fn left_to_ec2(&self, now: Moment) -> bool {
        self.reclaimed.is_some_and(|at| now.since(at) < RECLAIM_PATIENCE)
    }

    fn wait_after_failure(&mut self, now: Moment, cause: Cause, jitter: Jitter) {
        self.failures = self.failures.saturating_add(1);
        let wait = match &cause {
            Cause::Refused(StopError { permanent: true, .. }) => backoff::LONGEST,
            _ => backoff::wait(self.failures, jitter),
        };
        self.phase = Phase::Waiting { cause, until: now.plus(wait) };
    }
}

/// Whether connections do not delay a stop, given the listeners that have just said that nobody is online.
fn is_allowed(verdict: &Verdict, nobody: &BTreeSet<ListenerId>) -> bool {
    match verdict {
        Verdict::Clear => true,
        Verdict::Waits | Verdict::Unanswerable => false,
        Verdict::UnlessNobody(concerned) => concerned.is_subset(nobody),
    }
}
