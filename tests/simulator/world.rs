//! The world: an instance that is started when somebody wants to play, its server, who connects, and what goes wrong.
//!
//! It draws nothing by lot and knows no watcher. The same script takes the same course for all of them, up to what they
//! themselves do to the machine.

use std::collections::VecDeque;

use mc_idle::idle::Efs;

use super::agenda::{Agenda, Happening};
use super::connections::{Connection, Connections};
use super::ledger::Ledger;
use super::script::{DAY, Event, Kept, MINUTE, Ms, SECOND, Script, Settings, Stranger, Trouble, What, When};
use super::troubles::Troubles;

/// How long a player tries to get in.
const PLAYERS_PATIENCE: Ms = 10 * MINUTE;
/// How often.
const RETRY: Ms = 5 * SECOND;
/// A client that hears nothing from the server closes.
const CLIENT_TIMEOUT: Ms = 30 * SECOND;
/// From the granted request to the end of all processes.
const SHUTDOWN: Ms = 8 * SECOND;
/// From there until the instance can be started again.
const STOPPING: Ms = 20 * SECOND;
/// From EC2's notice to the end of the instance.
const NOTICE: Ms = 2 * MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// Can be started from then on.
    Off(Ms),
    Booting,
    Up,
    /// A stop was granted.
    GoingDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Down,
    Open,
    Hung { rows_stay: bool },
}

#[derive(Debug)]
struct Player {
    /// Since when he tries to get in.
    wants: Option<Ms>,
    joined: Ms,
    /// How long he still wants to play.
    remaining: Ms,
    lingers: Ms,
    accept: Ms,
}

/// What EC2 answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    Refused { lasting: bool },
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

#[derive(Debug)]
pub(crate) struct World<'s> {
    script: &'s Script,
    settings: Settings,
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
    server: Server,
    /// Another number after every death of the server.
    server_run: u32,
    down_until: Ms,
    connections: Connections,
    players: Vec<Player>,
    /// Another number for each time without players.
    emptiness: u32,
    empty: bool,
    begun: Vec<bool>,
    troubles: Troubles,
    ledger: Ledger,
}

impl<'s> World<'s> {
    pub(crate) fn new(script: &'s Script) -> Self {
        let at = |index: &usize| match script.events[*index].when {
            When::At(at) => Some(at),
            When::Empty(_) => None,
        };
        let mut timed: Vec<usize> = (0..script.events.len()).filter(|index| at(index).is_some()).collect();
        timed.sort_by_key(at);
        World {
            script,
            settings: script.settings,
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
            server: Server::Down,
            server_run: 0,
            down_until: 0,
            connections: Connections::default(),
            players: Vec::new(),
            emptiness: 0,
            empty: false,
            begun: vec![false; script.events.len()],
            troubles: Troubles::default(),
            ledger: Ledger::default(),
        }
    }

    pub(crate) fn now(&self) -> Ms {
        self.now
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
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

    pub(crate) fn slept(&self) -> Ms {
        self.slept
    }

    /// Whether EC2 says that it takes the instance back.
    pub(crate) fn noticed(&self) -> bool {
        self.noticed
    }

    /// Whether the operator holds the instance.
    pub(crate) fn held(&self) -> bool {
        self.troubles.held(self.now)
    }

    pub(crate) fn listening(&self) -> bool {
        self.server != Server::Down
    }

    /// All connections, as the witness sees them.
    pub(crate) fn rows(&self) -> &[Connection] {
        self.connections.rows()
    }

    /// The connections that the kernel's tables show.
    pub(crate) fn own_rows(&self) -> &[Connection] {
        let rows = self.connections.rows();
        if self.omits() { rows.get(1..).unwrap_or_default() } else { rows }
    }

    /// Another value after every change of what the tables show; `None` while they cannot be read.
    pub(crate) fn version(&self) -> Option<(u32, bool, bool)> {
        self.own_readable().then(|| (self.connections.version(), self.listening(), self.omits()))
    }

    fn omits(&self) -> bool {
        self.troubles.row_omitted(self.now)
    }

    pub(crate) fn own_readable(&self) -> bool {
        self.troubles.own_readable(self.now)
    }

    pub(crate) fn witness_readable(&self) -> bool {
        self.troubles.witness_readable(self.now)
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

    /// A request to EC2.
    pub(crate) fn ask_for_stop(&mut self) -> Answer {
        match () {
            () if self.has(Trouble::Denied) => Answer::Refused { lasting: true },
            () if self.has(Trouble::Throttled) => Answer::Refused { lasting: false },
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
            let waits = self.players.iter().any(|player| player.wants.is_some_and(|since| since <= self.booted));
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
        match self.timed.get(self.next_event).map(|event| self.script.events[*event].when) {
            Some(When::At(at)) => at,
            _ => super::script::NEVER,
        }
    }

    fn begin(&mut self, event: usize) {
        self.begun[event] = true;
        let Event { what, .. } = self.script.events[event];
        let now = self.now;
        let up = self.machine == Machine::Up && self.asleep.is_none();
        if let Some(lasts) = what.goes_wrong_for() {
            self.ledger.fault(now, lasts);
        }
        self.troubles.begin(now, &what);
        match what {
            What::Visit { stay, lingers, accept } => {
                self.players.push(Player { wants: Some(now), joined: 0, remaining: stay, lingers, accept });
                self.tries(self.players.len() - 1);
            }
            What::Stranger { kind, hold, accept } if self.reachable() => {
                let id = self.open(None, kind == Stranger::Scanner, accept);
                self.agenda.enter(now + hold, Happening::RowGoes(id));
            }
            What::Blip { lingers, back } => self.cut_links(now + lingers, now + back),
            What::Down { lasts } => {
                self.down_until = self.down_until.max(now + lasts);
                self.agenda.enter(self.down_until, Happening::DownEnds);
                self.server_dies();
            }
            What::Hang { lasts, rows_stay, recovers } if self.server == Server::Open => {
                self.server = Server::Hung { rows_stay };
                for row in self.connections.rows().iter().filter(|row| row.player.is_some()) {
                    self.agenda.enter(now + CLIENT_TIMEOUT, Happening::GivesUp(row.id));
                }
                self.agenda.enter(now + lasts, Happening::HangEnds { recovers });
            }
            What::Aws { trouble: Trouble::NoIdentity, lasts } => {
                self.agenda.enter(now + lasts, Happening::Identity);
            }
            What::Restart { down, kept } if up => self.signals.push_back(Signal::Restart { down, kept }),
            What::Starved { lasts } => self.frozen_until = self.frozen_until.max(now + lasts),
            What::Skipped { samples } if up => {
                let interval = self.settings.interval;
                let until = (self.moment() / interval + 1 + samples) * interval;
                self.frozen_until = self.frozen_until.max(self.when(until));
            }
            What::Asleep { lasts, lingers } if up => {
                self.asleep = Some((now, now + lasts));
                self.frozen_until = self.frozen_until.max(now + lasts);
                self.agenda.enter(now + lasts, Happening::Wakes);
                self.cut_links(now + lasts + lingers, now + RETRY);
            }
            What::Reclaim { comes, lasts } if up => {
                self.noticed = true;
                let (after, happening) = if comes {
                    (NOTICE, Happening::PowerOff(self.boots))
                } else {
                    (lasts, Happening::NoticeEnds(self.boots))
                };
                self.agenda.enter(now + after, happening);
            }
            What::Reload { idle_window } => {
                self.settings.idle_window = idle_window;
                self.signals.push_back(Signal::Reload);
            }
            _ => {}
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begins { event, emptiness } => {
                if self.empty && self.emptiness == emptiness && !self.begun[event] {
                    self.begin(event);
                }
            }
            Happening::Tries(player) => self.tries(player),
            Happening::Leaves(id) => self.leaves(id),
            Happening::GivesUp(id) => self.gives_up(id),
            Happening::Accepts(id) => {
                if self.server == Server::Open {
                    self.connections.accept(id);
                }
            }
            Happening::RowGoes(id) => {
                if self.server == (Server::Hung { rows_stay: true }) {
                    self.connections.cut(id);
                } else {
                    self.connections.remove(id);
                }
            }
            Happening::MachineUp => {
                self.machine = Machine::Up;
                self.booted = self.now;
                self.ledger.boots += 1;
                self.signals.push_back(Signal::Up);
                self.start_server();
            }
            Happening::PowerOff(boot) => {
                if boot == self.boots && self.runs() {
                    self.goes_off();
                }
            }
            Happening::Wakes => {
                // The machine may have been taken in its sleep.
                if let Some((from, until)) = self.asleep.take_if(|(_, until)| *until == self.now) {
                    self.slept += until - from;
                }
            }
            Happening::ServerOpens(run) => match self.asleep {
                Some((_, until)) => self.agenda.enter(until, happening),
                None if run == self.server_run && self.runs() && self.now >= self.down_until => {
                    self.server = Server::Open;
                }
                None => {}
            },
            Happening::DownEnds => {
                if self.now >= self.down_until && self.machine == Machine::Up {
                    self.start_server();
                }
            }
            Happening::HangEnds { recovers } => self.hang_ends(recovers),
            Happening::NoticeEnds(boot) => {
                if boot == self.boots {
                    self.noticed = false;
                }
            }
            Happening::Identity => self.signals.push_back(Signal::Identity),
        }
    }

    /// After every change: is somebody there?
    fn settle(&mut self) {
        let somebody = self.someone_connected() || self.players.iter().any(|player| player.wants.is_some());
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
        self.connections.rows().iter().any(|row| row.alive && row.player.is_some())
    }

    fn reachable(&self) -> bool {
        self.runs() && self.asleep.is_none() && self.server != Server::Down
    }

    fn tries(&mut self, player: usize) {
        let Some(since) = self.players[player].wants else { return };
        if self.now - since > PLAYERS_PATIENCE {
            self.players[player].wants = None;
        } else if self.reachable() {
            self.joins(player);
        } else {
            if let Machine::Off(from) = self.machine
                && from <= self.now
            {
                self.machine = Machine::Booting;
                self.boots += 1;
                self.agenda.enter(self.now + self.script.pace.boot, Happening::MachineUp);
            }
            self.agenda.enter(self.now + RETRY, Happening::Tries(player));
        }
    }

    fn joins(&mut self, player: usize) {
        let (remaining, accept) = (self.players[player].remaining, self.players[player].accept);
        let id = self.open(Some(player), false, accept);
        self.players[player].wants = None;
        self.players[player].joined = self.now;
        self.agenda.enter(self.now + remaining, Happening::Leaves(id));
        if !self.connections.get(id).is_some_and(Connection::accepted) {
            self.agenda.enter(self.now + CLIENT_TIMEOUT, Happening::GivesUp(id));
        }
    }

    fn open(&mut self, player: Option<usize>, scanner: bool, accept: Ms) -> u32 {
        let open = self.server == Server::Open;
        let id = self.connections.open(player, scanner, open && accept == 0);
        if open && accept > 0 {
            self.agenda.enter(self.now + accept, Happening::Accepts(id));
        }
        id
    }

    fn leaves(&mut self, id: u32) {
        let Some(Connection { player: Some(player), alive: true, .. }) = self.connections.get(id).copied() else {
            return;
        };
        match self.players[player].lingers {
            0 => self.connections.remove(id),
            lingers => {
                self.connections.cut(id);
                self.agenda.enter(self.now + lingers, Happening::RowGoes(id));
            }
        }
    }

    /// A client that the server has not answered for too long.
    fn gives_up(&mut self, id: u32) {
        let Some(row) = self.connections.get(id).copied().filter(|row| row.alive) else { return };
        let Server::Hung { rows_stay } = self.server else { return };
        if rows_stay {
            self.connections.cut(id);
        } else {
            self.connections.remove(id);
        }
        self.lost(row, self.now + RETRY);
    }

    /// All players lose their links; the rows go at `rows_go`, and they try again at `again`.
    fn cut_links(&mut self, rows_go: Ms, again: Ms) {
        let rows: Vec<Connection> = self.connections.rows().to_vec();
        for row in rows.into_iter().filter(|row| row.alive && row.player.is_some()) {
            self.connections.cut(row.id);
            self.agenda.enter(rows_go, Happening::RowGoes(row.id));
            self.lost(row, again);
        }
    }

    /// A player whose connection is gone wants back.
    fn lost(&mut self, row: Connection, again: Ms) {
        if let Some(player) = row.player
            && row.alive
        {
            let state = &mut self.players[player];
            state.remaining = state.remaining.saturating_sub(self.now - state.joined);
            if state.remaining > 0 {
                state.wants = Some(self.now);
                self.agenda.enter(again, Happening::Tries(player));
            }
        }
    }

    fn all_lost(&mut self, again: Ms) {
        for row in self.connections.clear() {
            self.lost(row, again);
        }
    }

    fn start_server(&mut self) {
        if self.server == Server::Down && self.now >= self.down_until {
            self.agenda.enter(self.now + self.script.pace.server, Happening::ServerOpens(self.server_run));
        }
    }

    fn server_dies(&mut self) {
        self.server = Server::Down;
        self.server_run += 1;
        self.all_lost(self.now + RETRY);
    }

    fn hang_ends(&mut self, recovers: bool) {
        if !matches!(self.server, Server::Hung { .. }) {
            return;
        }
        if !recovers {
            self.server_dies();
            self.start_server();
            return;
        }
        self.server = Server::Open;
        let rows: Vec<Connection> = self.connections.rows().to_vec();
        for row in rows {
            if !row.alive {
                self.connections.remove(row.id);
            } else if !row.accepted() {
                self.connections.accept(row.id);
            }
        }
    }

    fn goes_off(&mut self) {
        if self.machine == Machine::Up {
            self.ledger.up += self.now - self.booted;
        }
        self.machine = Machine::Off(self.now + STOPPING);
        self.slept = 0;
        self.asleep = None;
        self.frozen_until = 0;
        self.noticed = false;
        self.server = Server::Down;
        self.server_run += 1;
        self.all_lost(self.now + RETRY);
        self.signals.push_back(Signal::Off);
    }
}

impl What {
    /// For how long something goes wrong, if that is what this is.
    fn goes_wrong_for(&self) -> Option<Ms> {
        match *self {
            What::Visit { .. } | What::Stranger { .. } => None,
            What::Blip { lingers: lasts, .. }
            | What::Down { lasts }
            | What::Hang { lasts, .. }
            | What::Omitted { lasts }
            | What::Blind { lasts, .. }
            | What::Aws { lasts, .. }
            | What::Efs { lasts, .. }
            | What::Restart { down: lasts, .. }
            | What::Starved { lasts }
            | What::Hold { lasts }
            | What::Asleep { lasts, .. } => Some(lasts),
            What::Reclaim { lasts, .. } => Some(lasts.max(NOTICE)),
            What::Reload { .. } | What::Skipped { .. } => Some(0),
        }
    }
}
