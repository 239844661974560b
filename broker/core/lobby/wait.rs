//! The lobby itself. Over 400 lines: all that changes its state is here, and only here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::gate::returns::Returns;
use crate::lobby::guest::{Account, Guest, Manner};
use crate::lobby::shown::Shown;
use crate::lobby::start::{Consequence, StartAnswer, Starter};
use crate::lobby::{Effect, Errand, Id, Note, Order};
use crate::server::sight::{PingResult, Readiness, Sight};
use crate::server::status::{Family, LauncherStatus, ServerState};
use crate::texts::{self, Ending};

/// How often the launcher is asked while nobody waits, and how often the server for what it shows in the list.
const AT_REST: Duration = Duration::from_secs(30);
/// How often the launcher is asked while somebody looks at the server list, and how long ago that may be.
const LOOKED_AT: Duration = Duration::from_secs(10);
const LOOKS_ON: Duration = Duration::from_secs(30);
/// How often the launcher is asked while somebody waits, and how often the server.
const WAITING: Duration = Duration::from_secs(3);
/// How often the launcher is asked for somebody who has just come.
const NEWCOMER: Duration = Duration::from_secs(1);
/// How long somebody who has just come waits for the launcher and the server.
const PATIENCE: Duration = Duration::from_secs(6);
/// How often something has to be looked at while somebody waits, and while nobody does.
const TICK: Duration = Duration::from_millis(200);
const TICK_AT_REST: Duration = Duration::from_secs(2);
/// The server's own words are shown for so long after they were fetched.
const WORDS_LIVE: Duration = Duration::from_mins(2);

/// Somebody who has just come, and does not know yet whether the server is up.
#[derive(Debug)]
struct Newcomer {
    guest: Guest,
    since: Duration,
    /// He was handed over a moment ago, and whether the server takes such players is not known.
    comes_back: bool,
}

/// Somebody who is held until the server is up.
#[derive(Debug)]
struct Held {
    guest: Guest,
    account: Account,
    since: Duration,
}

/// Everybody who waits.
#[derive(Debug)]
pub struct Lobby {
    hold: Duration,
    sight: Sight,
    starter: Starter,
    returns: Returns,
    newcomers: BTreeMap<Id, Newcomer>,
    held: BTreeMap<Id, Held>,
    /// What the server shows in the list, and when it was fetched.
    words: Option<(Duration, Vec<u8>)>,
    probing: Option<SocketAddr>,
    launcher_down: bool,
    leads_back: bool,
    /// When somebody last looked at the server list.
    looked_at: Option<Duration>,
}

impl Lobby {
    /// Nobody waits yet. Players are held for at most `hold`.
    #[must_use]
    pub fn new(hold: Duration) -> Self {
        Lobby {
            hold,
            sight: Sight::default(),
            starter: Starter::default(),
            returns: Returns::default(),
            newcomers: BTreeMap::new(),
            held: BTreeMap::new(),
            words: None,
            probing: None,
            launcher_down: false,
            leads_back: false,
            looked_at: None,
        }
    }

    /// How many are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What is known of the server.
    #[must_use]
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// What the server last showed in the list, however long ago.
    #[must_use]
    pub fn words(&self) -> Option<&[u8]> {
        self.words.as_ref().map(|(_, words)| words.as_slice())
    }

    /// How long after the last [`Lobby::tick`] the next one is to come.
    #[must_use]
    pub fn tick_every(&self) -> Duration {
        if self.newcomers.is_empty() && self.held.is_empty() { TICK_AT_REST } else { TICK }
    }

    /// Somebody has said his name, and asks whether the server is up. He gets an [`Order`].
    pub fn ask(&mut self, id: Id, guest: Guest, now: Duration) -> Vec<Effect> {
        let comes_back = guest.manner == Manner::HandOver && self.returns.comes_back(&guest.name, now);
        self.newcomers.insert(id, Newcomer { guest, since: now, comes_back });
        let mut effects = Vec::new();
        self.settle_newcomer(id, now, &mut effects);
        self.errands(now, &mut effects);
        effects
    }

    /// Somebody has logged in, and waits for the server. He gets an [`Order`].
    pub fn join(&mut self, id: Id, guest: Guest, account: Account, now: Duration) -> Vec<Effect> {
        self.held.insert(id, Held { guest, account, since: now });
        let mut effects = Vec::new();
        self.settle_held(id, now, &mut effects);
        self.errands(now, &mut effects);
        effects
    }

    /// Somebody does not wait any more. To be called for everybody who goes away without an order.
    pub fn leave(&mut self, id: Id) {
        self.newcomers.remove(&id);
        self.held.remove(&id);
        if self.held.is_empty() {
            self.starter.nobody_waits();
        }
    }

    /// The launcher's answer to what was asked at `asked`.
    pub fn status(&mut self, asked: Duration, now: Duration, status: Result<LauncherStatus, String>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.take_status(asked, now, status, true, &mut effects);
        self.settle_all(now, &mut effects);
        effects
    }

    /// How a ping of `target` went.
    pub fn pinged(&mut self, target: SocketAddr, now: Duration, result: PingResult) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.sight.pinged(target, now, &result);
        match result {
            PingResult::Answered(words) | PingResult::AnsweredBehindHeader(words) => {
                (self.words, self.leads_back) = (Some((now, words)), false);
            }
            PingResult::Ourselves if !self.leads_back => {
                self.leads_back = true;
                effects.push(Effect::Note(Note::LeadsBack { to: target }));
            }
            PingResult::Ourselves | PingResult::Silent => {}
        }
        self.settle_all(now, &mut effects);
        effects
    }

    /// Whether the server at `target` takes players who are handed over.
    pub fn probed(&mut self, target: SocketAddr, now: Duration, accepts: bool) -> Vec<Effect> {
        self.probing = None;
        let mut effects = Vec::new();
        if !accepts {
            effects.push(Effect::Note(Note::TransfersRefused { at: target }));
        }
        let back: Vec<Id> =
            self.newcomers.iter().filter(|(_, newcomer)| newcomer.comes_back).map(|(id, _)| *id).collect();
        for id in back {
            if accepts {
                if let Some(newcomer) = self.newcomers.get_mut(&id) {
                    newcomer.comes_back = false;
                }
            } else {
                self.newcomers.remove(&id);
                effects.push(Effect::Order(id, Order::End(Ending::TransfersRefused(target))));
            }
        }
        self.settle_all(now, &mut effects);
        effects
    }

    /// The launcher's answer to a start that was asked for at `asked`.
    pub fn started(&mut self, asked: Duration, now: Duration, answer: &StartAnswer) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (consequence, note) = self.starter.answered(answer, now);
        effects.extend(note.map(Effect::Note));
        if let StartAnswer::Accepted(Some(status)) = answer {
            self.take_status(asked, now, Ok(status.clone()), false, &mut effects);
        }
        match consequence {
            Consequence::Wait => {}
            Consequence::EndsFor(id, ending) => self.end(id, ending, &mut effects),
            Consequence::EndsForAll(ending) => {
                for id in self.held.keys().copied().collect::<Vec<_>>() {
                    self.end(id, ending.clone(), &mut effects);
                }
            }
        }
        if matches!(answer, StartAnswer::Accepted(_)) {
            self.send_back(&mut effects);
        }
        self.settle_all(now, &mut effects);
        effects
    }

    /// Somebody has looked at the server list.
    pub fn looked_at(&mut self, now: Duration) {
        self.looked_at = Some(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.settle_all(now, &mut effects);
        effects
    }

    /// What there is to be shown.
    #[must_use]
    pub fn shown(&self, now: Duration) -> Shown {
        if let Some(why) = self.sight.failure() {
            return Shown::Unknown(why.to_owned());
        }
        let Some(status) = self.sight.status() else {
            return Shown::Unknown("the launcher has not answered yet".to_owned());
        };
        match status.state {
            ServerState::Asleep => Shown::Asleep,
            ServerState::Starting => Shown::Starting,
            ServerState::Stopping => Shown::Stopping,
            ServerState::Trouble => Shown::Trouble(status.why.clone()),
            ServerState::Unknown => Shown::Unknown(status.why.clone()),
            ServerState::Up => {
                let words = self.words.as_ref().filter(|(at, _)| now.saturating_sub(*at) < WORDS_LIVE);
                Shown::Up(words.map(|(_, words)| words.clone()))
            }
        }
    }

    fn take_status(
        &mut self,
        asked: Duration,
        now: Duration,
        status: Result<LauncherStatus, String>,
        is_reply: bool,
        effects: &mut Vec<Effect>,
    ) {
        if let Ok(status) = &status {
            self.starter.seen(status.state, now);
            if status.players.is_some_and(|players| players > 0) {
                self.starter.somebody_plays();
            }
            if status.state != ServerState::Up {
                self.words = None;
            }
        }
        self.sight.heard(asked, now, status, is_reply);
        match self.sight.failure() {
            Some(why) if !self.launcher_down => {
                self.launcher_down = true;
                effects.push(Effect::Note(Note::LauncherDown { why: why.to_owned() }));
            }
            None if std::mem::take(&mut self.launcher_down) => effects.push(Effect::Note(Note::LauncherBack)),
            Some(_) | None => {}
        }
    }

    fn settle_all(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for id in self.newcomers.keys().copied().collect::<Vec<_>>() {
            self.settle_newcomer(id, now, effects);
        }
        for id in self.held.keys().copied().collect::<Vec<_>>() {
            self.settle_held(id, now, effects);
        }
        self.errands(now, effects);
    }

    fn settle_newcomer(&mut self, id: Id, now: Duration, effects: &mut Vec<Effect>) {
        let Some(newcomer) = self.newcomers.get(&id) else { return };
        let Newcomer { guest, since, comes_back } = newcomer;
        let waits_too_long = now.saturating_sub(*since) >= PATIENCE;
        let order = match self.sight.readiness(guest.family, guest.manner == Manner::Relay, now) {
            Readiness::Ready(target) if *comes_back => {
                if self.probing.is_none() {
                    self.probing = Some(target);
                    effects.push(Effect::Errand(Errand::Probe(target)));
                }
                return;
            }
            Readiness::Ready(target) => {
                let guest = guest.clone();
                self.newcomers.remove(&id);
                self.hand_over(id, &guest, target, Duration::ZERO, now, effects);
                return;
            }
            Readiness::NoAddress => Order::End(Ending::NoAddress(guest.family)),
            Readiness::Unknown => match self.sight.failure_since(*since) {
                Some(why) => Order::End(Ending::LauncherDown(why.to_owned())),
                None if waits_too_long => Order::End(Ending::LauncherDown("the launcher does not answer".to_owned())),
                None => return,
            },
            Readiness::NotYet => {
                let status = self.sight.fresh(now);
                let may_be_up = status.is_some_and(|status| {
                    matches!(status.state, ServerState::Up | ServerState::Trouble)
                        && status.target(guest.family).is_some()
                });
                let tried = self.sight.has_pinged(guest.family, since.saturating_sub(WAITING));
                if may_be_up && !tried && !waits_too_long {
                    return;
                }
                Order::LogIn
            }
        };
        self.newcomers.remove(&id);
        effects.push(Effect::Order(id, order));
    }

    fn settle_held(&mut self, id: Id, now: Duration, effects: &mut Vec<Effect>) {
        let Some(held) = self.held.get(&id) else { return };
        let waited = now.saturating_sub(held.since);
        match self.sight.readiness(held.guest.family, held.guest.manner == Manner::Relay, now) {
            Readiness::Ready(target) => {
                if let Some(held) = self.held.remove(&id) {
                    self.hand_over(id, &held.guest, target, waited, now, effects);
                }
            }
            Readiness::NoAddress => {
                let ending = Ending::NoAddress(held.guest.family);
                self.end(id, ending, effects);
            }
            Readiness::NotYet | Readiness::Unknown => {
                let is_brief = held.guest.manner == Manner::Brief;
                if waited >= self.hold {
                    self.end(id, Ending::TookTooLong(self.hold), effects);
                } else if is_brief && self.starter.is_under_way(now) {
                    self.send_back(effects);
                }
            }
        }
    }

    /// Whoever cannot wait is told to come back.
    fn send_back(&mut self, effects: &mut Vec<Effect>) {
        let address =
            self.sight.status().and_then(|status| Some(texts::typed(status.address.as_deref()?, status.port)));
        let brief = self.held.iter().filter(|(_, held)| held.guest.manner == Manner::Brief);
        for id in brief.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id, Ending::ComeBack(address.clone()), effects);
        }
    }

    fn hand_over(
        &mut self,
        id: Id,
        guest: &Guest,
        to: SocketAddr,
        held: Duration,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        self.starter.handed_over();
        let order = match guest.manner {
            Manner::HandOver => {
                self.returns.handed_over(&guest.name, now);
                effects.push(Effect::Note(Note::HandedOver { name: guest.name.clone(), to, held }));
                Order::HandOver(to)
            }
            Manner::Relay => {
                effects.push(Effect::Note(Note::Relayed { name: guest.name.clone(), to, held }));
                Order::HandOver(to)
            }
            Manner::Tell | Manner::Brief => Order::End(Ending::Up(to)),
        };
        effects.push(Effect::Order(id, order));
    }

    fn end(&mut self, id: Id, ending: Ending, effects: &mut Vec<Effect>) {
        // He may have gone meanwhile.
        if self.held.contains_key(&id) {
            self.leave(id);
            effects.push(Effect::Order(id, Order::End(ending)));
        }
    }

    /// What is to be asked of others now.
    fn errands(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let waits = !self.newcomers.is_empty() || !self.held.is_empty();
        let every = match (self.newcomers.is_empty(), self.held.is_empty()) {
            (false, _) if self.sight.fresh(now).is_none() => NEWCOMER,
            (true, true) if self.looked_at.is_some_and(|at| now.saturating_sub(at) < LOOKS_ON) => LOOKED_AT,
            (true, true) => AT_REST,
            _ => WAITING,
        };
        if self.sight.wants_status(now, every) {
            self.sight.asking(now);
            effects.push(Effect::Errand(Errand::Status { asked: now }));
        }
        for family in [Family::V4, Family::V6] {
            let is_waited_for = || {
                let newcomers = self.newcomers.values().map(|newcomer| &newcomer.guest);
                newcomers.chain(self.held.values().map(|held| &held.guest)).any(|guest| guest.family == family)
            };
            // At rest, one address is enough, and only of a server that no stop is near.
            let at_rest = !waits
                && self.sight.fresh(now).is_some_and(|status| {
                    let first = status.target(Family::V4).map_or(Family::V6, |_| Family::V4);
                    status.may_be_asked() && family == first
                });
            let every = if at_rest { AT_REST } else { WAITING };
            if (at_rest || is_waited_for())
                && let Some(target) = self.sight.wants_ping(family, now, every)
            {
                self.sight.pinging(target, now);
                effects.push(Effect::Errand(Errand::Ping(target)));
            }
        }
        self.ask_for_a_start(now, effects);
    }

    fn ask_for_a_start(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while self.starter.may_ask(now) {
            // Whoever came first.
            let Some((id, held)) = self.held.iter().min_by_key(|(_, held)| held.since) else { return };
            let (id, account) = (*id, held.account.clone());
            let state = self.sight.fresh(now).map(|status| status.state);
            let wait = self.starter.wait(&account, state, now);
            if wait.is_zero() {
                self.starter.ask(id, &account, state, now);
                effects.push(Effect::Errand(Errand::Start { asked: now, account }));
                return;
            }
            self.end(id, Ending::Wait(wait), effects);
        }
    }
}
