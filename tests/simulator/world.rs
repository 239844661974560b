//! The world: an instance that is started when somebody wants to play, its servers, who connects, and what goes wrong.
//!
//! It draws nothing by lot and knows no watcher. The same script takes the same course for all of them, up to what they
//! themselves do to the machine.

mod events;
mod people;
mod servers;

pub(crate) use servers::DEADLINE;

use std::collections::VecDeque;

use mc_idle_rule::Efs;

use super::agenda::{Agenda, Happening};
use super::ledger::Ledger;
use super::links::{Link, Links};
use super::script::{DAY, Kept, Ms, NEVER, Script, Trouble, When};
use super::settings::Settings;
use super::site::{Door, Manner, Site};
use super::troubles::Troubles;
use people::Player;
use servers::Server;

/// How often a player tries to get in.
const RETRY: Ms = 5 * super::script::SECOND;
/// From the granted request to the end of all processes.
const SHUTDOWN: Ms = 8 * super::script::SECOND;
/// From there until the instance can be started again.
const STOPPING: Ms = 20 * super::script::SECOND;
/// What a question costs the network of whoever is asked: the handshake, the question and the end of the connection.
const ASKED: u64 = 306;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// Can be started from then on.
    Off(Ms),
    Booting,
    Up,
    /// A stop was granted.
    GoingDown,
}

/// What EC2 answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    Refused { permanent: bool },
}

/// What a process on the machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Up,
    Off,
    /// The agent ends; another starts later.
    Restart {
        down: Ms,
        kept: Kept,
    },
    Identity,
    Reload,
}

/// Another value after every change of what the tables show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    links: u32,
    servers: u32,
    readable: (bool, bool),
    omits: bool,
}

#[derive(Debug)]
pub(crate) struct World<'s> {
    script: &'s Script,
    settings: Settings,
    doors: Vec<Door>,
    now: Ms,
    /// The events that have a time of their own, in its order; those before `next_event` have begun.
    timed: Vec<usize>,
    next_event: usize,
    agenda: Agenda,
    signals: VecDeque<Signal>,
    machine: Machine,
    boots: u32,
    booted: Ms,
    /// How long the machine has slept since it was booted.
    slept: Ms,
    asleep: Option<(Ms, Ms)>,
    frozen_until: Ms,
    noticed: bool,
    servers: Vec<Server>,
    /// Another number after every change of them.
    servers_version: u32,
    links: Links,
    players: Vec<Player>,
    /// The last try of somebody who is not let in: when it ended, and for how long it lasted.
    failed_join: Option<(Ms, Ms)>,
    /// Bytes of questions, by network.
    asked: [u64; 4],
    /// Another number for each time without players.
    emptiness: u32,
    empty: bool,
    begun: Vec<bool>,
    troubles: Troubles,
    ledger: Ledger,
}

impl<'s> World<'s> {
    pub(crate) fn new(script: &'s Script) -> Self {
        let mut timed: Vec<usize> =
            (0..script.events.len()).filter(|index| script.events[*index].time().is_some()).collect();
        timed.sort_by_key(|index| script.events[*index].time());
        let doors = script.site.doors();
        let mut ledger = Ledger::default();
        if script.site.manner != Manner::Honest {
            // A server that does not tell the truth is nothing that a rule can get right.
            ledger.fault(0, DAY);
        }
        let processes = doors.iter().map(|door| door.process + 1).max().unwrap_or(1);
        World {
            script,
            settings: script.settings,
            doors,
            now: 0,
            timed,
            next_event: 0,
            agenda: Agenda::default(),
            signals: VecDeque::new(),
            machine: Machine::Off(0),
            boots: 0,
            booted: 0,
            slept: 0,
            asleep: None,
            frozen_until: 0,
            noticed: false,
            servers: vec![Server::default(); processes],
            servers_version: 0,
            links: Links::default(),
            players: Vec::new(),
            failed_join: None,
            asked: [0; 4],
            emptiness: 0,
            empty: false,
            begun: vec![false; script.events.len()],
            troubles: Troubles::default(),
            ledger,
        }
    }

    pub(crate) fn now(&self) -> Ms {
        self.now
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn site(&self) -> Site {
        self.script.site
    }

    pub(crate) fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Whether processes are there to run.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.machine, Machine::Up | Machine::GoingDown)
    }

    /// Before this time no process gets the processor.
    pub(crate) fn frozen_until(&self) -> Ms {
        self.frozen_until
    }

    /// The machine's own clock: from its boot on, and still while it sleeps.
    pub(crate) fn moment(&self) -> Ms {
        self.asleep.map_or(self.now, |(from, _)| from) - self.booted - self.slept
    }

    /// When the machine's clock will show `moment`, as far as is known.
    pub(crate) fn when(&self, moment: Ms) -> Ms {
        let sleeping = self.asleep.map_or(0, |(from, until)| until - from);
        moment.saturating_add(self.booted + self.slept + sleeping)
    }

    pub(crate) fn booted(&self) -> Ms {
        self.booted
    }

    pub(crate) fn slept(&self) -> Ms {
        self.slept
    }

    /// Whether EC2 says that it takes the instance back.
    pub(crate) fn noticed(&self) -> bool {
        self.noticed
    }

    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Whether the operator holds the instance.
    pub(crate) fn held(&self) -> bool {
        self.troubles.held(self.now)
    }

    /// All connections, whatever shows them.
    pub(crate) fn links(&self) -> &[Link] {
        self.links.all()
    }

    /// When a row last went.
    pub(crate) fn rows_until(&self) -> Ms {
        self.links.rows_until()
    }

    /// When somebody whom a server may have counted was last connected.
    pub(crate) fn company_until(&self) -> Ms {
        self.links.company_until(self.now)
    }

    /// The connections to the host that the kernel's tables show: what a script sees that knows of nothing else.
    pub(crate) fn host_rows(&self) -> impl Iterator<Item = &Link> {
        let on_host = |link: &&Link| link.client.rows && self.doors[link.client.door].network == 0;
        self.links.all().iter().filter(on_host).skip(usize::from(self.omits()))
    }

    /// Bytes that the interfaces of a network have received.
    pub(crate) fn received(&self, network: usize) -> u64 {
        self.links.received(self.now, &self.doors, network) + self.asked[network]
    }

    /// Bytes that the agent's questions have brought to all networks.
    pub(crate) fn brought(&self) -> u64 {
        self.asked.iter().sum()
    }

    pub(crate) fn version(&self) -> Version {
        Version {
            links: self.links.version(),
            servers: self.servers_version,
            readable: (self.troubles.own_readable(self.now), self.troubles.network_readable(self.now)),
            omits: self.omits(),
        }
    }

    /// The tables leave out the first row.
    pub(crate) fn omits(&self) -> bool {
        self.troubles.row_omitted(self.now)
    }

    pub(crate) fn own_readable(&self) -> bool {
        self.troubles.own_readable(self.now)
    }

    pub(crate) fn efs(&self) -> Efs {
        if self.settings.efs { self.troubles.efs(self.now, self.booted) } else { Efs::Off }
    }

    /// Whether a stop need not wait for EFS: it is not used, or it is mounted and has answered.
    pub(crate) fn efs_answers(&self) -> bool {
        matches!(self.efs(), Efs::Off | Efs::Mounted)
    }

    pub(crate) fn has(&self, trouble: Trouble) -> bool {
        self.troubles.aws(self.now, trouble)
    }

    /// Since when nobody is there, and whether a server listens.
    pub(crate) fn spell(&self) -> Option<(Ms, bool)> {
        self.ledger.spell()
    }

    pub(crate) fn signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// When the next thing happens.
    pub(crate) fn next(&self) -> Ms {
        self.agenda.next().min(self.next_timed())
    }

    /// Lets the next thing happen.
    pub(crate) fn proceed(&mut self) {
        self.now = self.next();
        if self.next_timed() <= self.now {
            let event = self.timed[self.next_event];
            self.next_event += 1;
            self.begin(event);
        } else if let Some(happening) = self.agenda.take() {
            self.happen(happening);
        }
        self.settle();
    }

    /// Lets time pass until `until`, and all that happens before.
    pub(crate) fn pass(&mut self, until: Ms) {
        while self.next() <= until {
            self.proceed();
        }
        self.now = until;
    }

    /// A request reaches EC2, or fails.
    pub(crate) fn ask_for_stop(&mut self) -> Answer {
        match () {
            () if self.has(Trouble::Denied) => Answer::Refused { permanent: true },
            () if self.has(Trouble::Throttled) || self.has(Trouble::Deaf) => Answer::Refused { permanent: false },
            () if self.has(Trouble::Ignored) => Answer::Granted,
            () => {
                self.power_off();
                Answer::Granted
            }
        }
    }

    /// The machine goes down in order.
    pub(crate) fn power_off(&mut self) {
        if self.machine == Machine::Up {
            let waits = self.players.iter().any(|player| player.waits_since(self.booted));
            self.ledger.stop(self.now, &self.settings, self.someone_connected(), waits);
            self.ledger.up += self.now - self.booted;
            self.machine = Machine::GoingDown;
            self.agenda.enter(self.now + SHUTDOWN, Happening::PowerOff(self.boots));
            self.settle();
        }
    }

    /// The day is over.
    pub(crate) fn close(mut self) -> Ledger {
        self.ledger.note(DAY, &self.settings, None);
        if self.machine == Machine::Up {
            self.ledger.up += DAY - self.booted;
        }
        self.ledger
    }

    fn next_timed(&self) -> Ms {
        self.timed.get(self.next_event).and_then(|event| self.script.events[*event].time()).unwrap_or(NEVER)
    }

    /// After every change: is somebody there?
    fn settle(&mut self) {
        let somebody = self.someone_connected() || self.players.iter().any(Player::wants_in);
        let empty = self.machine == Machine::Up && self.asleep.is_none() && !somebody;
        if empty && !self.empty {
            self.emptiness += 1;
            for (event, _) in self.begun.iter().enumerate().filter(|(_, begun)| !**begun) {
                if let When::Empty(after) = self.script.events[event].when {
                    self.agenda.enter(self.now + after, Happening::Begins { event, emptiness: self.emptiness });
                }
            }
        }
        self.empty = empty;
        self.ledger.note(self.now, &self.settings, empty.then(|| self.listening()));
    }

    fn someone_connected(&self) -> bool {
        self.links.all().iter().any(|link| link.alive() && link.client.who.person().is_some())
    }
}
