//! Evenings in a made-up world: a server that starts, stops and dies, a launcher and pings that are late or lost, and players who
//! come and go. The oracle looks at the world, and not at what the lobby knows: whoever is handed over is handed over to a
//! server that runs, whose launcher does not say that it stops; and everybody is told something in time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use crate::lobby::guest::{Account, Guest, Manner};
use crate::lobby::start::{EVERY, StartAnswer};
use crate::lobby::{Effect, Errand, Id, Lobby, Order};
use crate::server::sight::PingResult;
use crate::server::status::{Family, Host, LauncherStatus, ServerState};
use crate::texts::Ending;

const STEP: Duration = Duration::from_millis(100);
const HOLD: Duration = Duration::from_mins(2);
/// How long a newcomer may wait at most: its patience, and what is on its way.
const NEWCOMER: Duration = Duration::from_secs(12);

/// What the server does from one time on.
#[derive(Debug, Clone, Copy)]
struct Phase {
    lasts: Duration,
    state: ServerState,
    /// Whether the game answers; it may while it stops, and may not while it is said to be up.
    answers: bool,
    /// Whether the launcher answers.
    launcher: bool,
}

#[derive(Debug, Clone, Copy)]
struct Visit {
    comes: Duration,
    stays: Duration,
    manner: Manner,
    /// Whether the launcher would start it for him.
    may: bool,
}

/// What is on its way, and when it arrives.
enum Arrival {
    Status(Duration, Result<LauncherStatus, String>),
    Ping(SocketAddr, PingResult),
    Probe(SocketAddr),
    Start(Duration, StartAnswer),
    /// Somebody has authenticated himself.
    Join(Id),
}

fn phase() -> impl Strategy<Value = Phase> {
    let state = prop_oneof![
        3 => Just(ServerState::Asleep), 2 => Just(ServerState::Starting), 4 => Just(ServerState::Up),
        2 => Just(ServerState::Stopping), 1 => Just(ServerState::Trouble), 1 => Just(ServerState::Unknown),
    ];
    (1_u64..60, state, prop::bool::weighted(0.7), prop::bool::weighted(0.9)).prop_map(
        |(seconds, state, answers, launcher)| {
            let can = !matches!(state, ServerState::Asleep | ServerState::Unknown);
            Phase { lasts: Duration::from_secs(seconds), state, answers: answers && can, launcher }
        },
    )
}

fn visit() -> impl Strategy<Value = Visit> {
    let manner = prop_oneof![3 => Just(Manner::HandOver), 1 => Just(Manner::Relay), 1 => Just(Manner::Tell), 1 => Just(Manner::Brief)];
    (0_u64..200, 1_u64..200, manner, prop::bool::weighted(0.8)).prop_map(|(comes, stays, manner, may)| Visit {
        comes: Duration::from_secs(comes),
        stays: Duration::from_secs(stays),
        manner,
        may,
    })
}

struct World {
    lobby: Lobby,
    now: Duration,
    phases: Vec<Phase>,
    visits: Vec<Visit>,
    late: Vec<u64>,
    on_the_way: BTreeMap<(Duration, u64), Arrival>,
    sent: u64,
    /// Who waits for an order, and since when; and who is held.
    waits: BTreeMap<Id, (Duration, bool)>,
    gone: BTreeSet<Id>,
    /// When the game last answered a ping, and for each answer of the launcher when it was made and what it said.
    answered: BTreeMap<SocketAddr, Duration>,
    said: Vec<(Duration, ServerState)>,
    /// A start that is not answered yet.
    asking: bool,
    /// When the last one that was accepted was asked for, as long as anybody waits.
    accepted: Option<Duration>,
}

impl World {
    fn phase(&self, at: Duration) -> Phase {
        let mut begins = Duration::ZERO;
        for phase in &self.phases {
            begins += phase.lasts;
            if at < begins {
                return *phase;
            }
        }
        Phase { lasts: Duration::ZERO, state: ServerState::Asleep, answers: false, launcher: true }
    }

    /// Each time the server is up anew it has another address.
    fn target(&self, at: Duration) -> SocketAddr {
        let mut begins = Duration::ZERO;
        let number = self.phases.iter().take_while(|phase| {
            begins += phase.lasts;
            begins <= at
        });
        let last = u8::try_from(number.filter(|phase| phase.state == ServerState::Asleep).count()).unwrap();
        SocketAddr::from(([203, 0, 113, last], 25565))
    }

    fn status(&self) -> Result<LauncherStatus, String> {
        let phase = self.phase(self.now);
        if !phase.launcher {
            return Err("it is down".to_owned());
        }
        let runs = matches!(
            phase.state,
            ServerState::Starting | ServerState::Up | ServerState::Trouble | ServerState::Stopping
        );
        let SocketAddr::V4(target) = self.target(self.now) else { unreachable!() };
        let host = runs.then_some(Host { v4: Some(*target.ip()), v6: None });
        let (why, port) = (String::new(), target.port());
        Ok(LauncherStatus {
            state: phase.state,
            address: None,
            port,
            host,
            players: Some(1),
            stop_at: None,
            at: None,
            why,
        })
    }

    fn arrives(&mut self, arrival: Arrival) {
        self.sent += 1;
        let late = self.late[usize::try_from(self.sent).unwrap() % self.late.len()];
        self.on_the_way.insert((self.now + Duration::from_millis(late), self.sent), arrival);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        // At once: somebody else may come in the same moment.
        if self.lobby.held() == 0 {
            self.accepted = None;
        }
        for effect in effects {
            match effect {
                Effect::Note(_) => {}
                Effect::Order(id, order) => self.check(id, &order),
                Effect::Errand(errand) => self.run(errand),
            }
        }
    }

    fn run(&mut self, errand: Errand) {
        match errand {
            Errand::Status { asked } => {
                let status = self.status();
                if let Ok(status) = &status {
                    self.said.push((self.now, status.state));
                }
                self.arrives(Arrival::Status(asked, status));
            }
            Errand::Ping(target) => {
                let answers = self.phase(self.now).answers && target == self.target(self.now);
                let result = if answers { PingResult::Answered(Vec::new()) } else { PingResult::Silent };
                self.arrives(Arrival::Ping(target, result));
            }
            Errand::Probe(target) => self.arrives(Arrival::Probe(target)),
            Errand::Start { asked, account } => {
                assert!(self.waits.values().any(|(_, held)| *held), "a start that nobody waits for");
                let visit = self.visits[account.uuid.parse::<usize>().unwrap()];
                let too_soon = self.accepted.is_some_and(|at| self.now < at + EVERY);
                assert!(!self.asking && !too_soon, "two starts at once");
                self.asking = true;
                let status = self.status();
                let answer = match status {
                    Err(why) => StartAnswer::NoAnswer(why),
                    Ok(_) if !visit.may => StartAnswer::NotListed,
                    Ok(status) => {
                        self.said.push((self.now, status.state));
                        StartAnswer::Accepted(Some(status))
                    }
                };
                self.arrives(Arrival::Start(asked, answer));
            }
        }
    }

    /// The promise.
    fn check(&mut self, id: Id, order: &Order) {
        let (_, held) = self.waits.remove(&id).expect("an order for somebody who waits");
        let to = match order {
            Order::HandOver(to) | Order::End(Ending::Up(to)) => *to,
            Order::LogIn => {
                assert!(!held);
                self.arrives(Arrival::Join(id));
                return;
            }
            Order::End(_) => return,
        };
        let now = self.now;
        let lately = |at: Duration, seconds| now.saturating_sub(at) <= Duration::from_secs(seconds) + STEP;
        assert!(self.answered.get(&to).is_some_and(|at| lately(*at, 3)), "{to} has not answered lately");
        assert!(
            self.said.iter().any(|(at, state)| lately(*at, 5) && *state != ServerState::Stopping),
            "nobody has said lately that it does not stop"
        );
    }

    fn live(&mut self, until: Duration) {
        while self.now < until {
            while let Some(entry) = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let effects = match entry.remove() {
                    Arrival::Status(asked, status) => self.lobby.status(asked, self.now, status),
                    Arrival::Ping(target, result) => {
                        if let PingResult::Answered(_) = result {
                            self.answered.insert(target, self.now);
                        }
                        self.lobby.pinged(target, self.now, result)
                    }
                    Arrival::Probe(target) => self.lobby.probed(target, self.now, true),
                    Arrival::Start(asked, answer) => {
                        self.asking = false;
                        self.accepted = matches!(answer, StartAnswer::Accepted(_)).then_some(asked);
                        self.lobby.started(asked, self.now, &answer)
                    }
                    Arrival::Join(id) if !self.gone.contains(&id) => {
                        self.waits.insert(id, (self.now, true));
                        let account = Account { name: id.to_string(), uuid: id.to_string() };
                        self.lobby.join(id, self.guest(id), account, self.now)
                    }
                    Arrival::Join(_) => Vec::new(),
                };
                self.carry_out(effects);
            }
            for (number, visit) in self.visits.clone().into_iter().enumerate() {
                let id = u64::try_from(number).unwrap();
                if visit.comes == self.now {
                    self.waits.insert(id, (self.now, false));
                    let effects = self.lobby.ask(id, self.guest(id), self.now);
                    self.carry_out(effects);
                }
                if visit.comes + visit.stays == self.now {
                    self.gone.insert(id);
                    self.waits.remove(&id);
                    self.lobby.leave(id);
                }
            }
            let effects = self.lobby.tick(self.now);
            self.carry_out(effects);
            for (id, (since, held)) in &self.waits {
                let most = if *held { HOLD + STEP } else { NEWCOMER };
                assert!(self.now.saturating_sub(*since) <= most, "{id} waits since {since:?}, held: {held}");
            }
            assert!(self.lobby.held() <= self.waits.len());
            self.now += STEP;
        }
    }

    fn guest(&self, id: Id) -> Guest {
        let manner = self.visits[usize::try_from(id).unwrap()].manner;
        Guest { name: id.to_string(), family: Family::V4, manner }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_handed_over_to_a_server_that_dies_and_everybody_is_told_in_time(
        phases in prop::collection::vec(phase(), 1..8), visits in prop::collection::vec(visit(), 1..12),
        late in prop::collection::vec(0_u64..3000, 1..20),
    ) {
        let mut world = World {
            lobby: Lobby::new(HOLD), now: Duration::ZERO, phases, visits, late, on_the_way: BTreeMap::new(), sent: 0,
            waits: BTreeMap::new(), gone: BTreeSet::new(), answered: BTreeMap::new(), said: Vec::new(), asking: false, accepted: None,
        };
        world.live(Duration::from_secs(420));
        prop_assert!(world.waits.is_empty());
    }
}
