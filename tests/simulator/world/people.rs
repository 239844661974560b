//! Who connects to the servers of the world.

use super::super::agenda::Happening;
use super::super::links::{Client, Link, Who};
use super::super::script::{MINUTE, Ms, SECOND, Stranger, What};
use super::super::site::Kind;
use super::{Machine, RETRY, World};

/// How long a player tries to get in.
const PLAYERS_PATIENCE: Ms = 10 * MINUTE;
/// A client that hears nothing from the server closes.
const CLIENT_TIMEOUT: Ms = 30 * SECOND;
/// What somebody who plays sends in 1000 s, if he only stands there: 26 bytes each second.
const PLAYING: u64 = 26_000;
/// The first address of those who play; strangers have others.
const PEOPLE: u32 = 0x6440_0001;
const STRANGERS: u32 = 0xC633_6401;
const SCANNER: u32 = 0xCB00_7101;

#[derive(Debug)]
pub(super) struct Player {
    /// Since when he tries to get in.
    wants: Option<Ms>,
    joined: Ms,
    /// How long he still wants to play.
    remaining: Ms,
    lingers: Ms,
    accept: Ms,
    door: usize,
    aside: bool,
    /// He still tries to get in, though the server does not let him.
    fails: bool,
}

impl Player {
    pub(super) fn wants_in(&self) -> bool {
        self.wants.is_some() || self.fails
    }

    /// Whether he has tried to get in since then, or before.
    pub(super) fn waits_since(&self, then: Ms) -> bool {
        self.wants.is_some_and(|since| since <= then)
    }
}

impl World<'_> {
    pub(super) fn comes(&mut self, stay: Ms, lingers: Ms, accept: Ms, door: usize, aside: bool) {
        let wants = Some(self.now);
        let remaining = stay;
        self.players.push(Player { wants, joined: 0, remaining, lingers, accept, door, aside, fails: false });
        self.tries(self.players.len() - 1);
    }

    pub(super) fn tries(&mut self, player: usize) {
        let Some(since) = self.players[player].wants else { return };
        if self.now - since > PLAYERS_PATIENCE {
            self.players[player].wants = None;
        } else if self.is_reachable(self.door_of(player)) {
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

    /// One of the doors that people come to.
    fn door_of(&self, player: usize) -> usize {
        let visited: Vec<usize> = (0..self.doors.len()).filter(|door| self.doors[*door].visited).collect();
        visited[self.players[player].door % visited.len()]
    }

    pub(super) fn is_reachable(&self, door: usize) -> bool {
        self.runs() && self.asleep.is_none() && self.is_up(self.doors[door].process)
    }

    /// Whether who comes by this door leaves a row.
    fn leaves_rows(&self, door: usize, aside: bool) -> bool {
        let tunnel = self.site().kind == Kind::Tunnel && !aside;
        self.doors[door].edition == mc_idle_rule::Edition::Java && !tunnel
    }

    fn joins(&mut self, player: usize) {
        let door = self.door_of(player);
        let Player { remaining, accept, aside, .. } = self.players[player];
        let rate = PLAYING * (1 + player as u64 % 7);
        let rows = self.leaves_rows(door, aside);
        let client = Client { who: Who::Person(player), door, rows, rate, address: address_of(player) };
        let onward = !aside && self.doors[door].leads_to.is_some_and(|to| self.is_open(self.doors[to].process));
        let id = self.open(client, accept, onward);
        self.players[player].wants = None;
        self.players[player].joined = self.now;
        self.agenda.enter(self.now + remaining, Happening::Leaves(id));
        if self.links.get(id).is_some_and(|link| link.accepted.is_none()) {
            self.agenda.enter(self.now + CLIENT_TIMEOUT, Happening::GivesUp(id));
        }
    }

    fn open(&mut self, client: Client, accept: Ms, onward: bool) -> u32 {
        let open = self.is_open(self.doors[client.door].process);
        let id = self.links.open(self.now, client, open && accept == 0, onward);
        if open && accept > 0 {
            self.agenda.enter(self.now + accept, Happening::Accepts(id));
        }
        id
    }

    pub(super) fn accepted(&mut self, id: u32) {
        if self.links.get(id).is_some_and(|link| self.is_open(self.doors[link.client.door].process)) {
            self.links.accept(self.now, id);
        }
    }

    pub(super) fn stranger_comes(&mut self, kind: Stranger, hold: Ms, accept: Ms, rate: u64) {
        let last = u32::try_from(self.begun.len()).unwrap_or_default() + self.links.version();
        let address = if kind == Stranger::Scanner { SCANNER } else { STRANGERS + 16 + last % 4000 };
        self.connects(0, kind, address, hold, accept, rate);
    }

    fn connects(&mut self, door: usize, kind: Stranger, address: u32, hold: Ms, accept: Ms, rate: u64) {
        if self.is_reachable(door) {
            let rows = self.leaves_rows(door, true);
            let client = Client { who: Who::Stranger(kind), door, rows, rate, address };
            let id = self.open(client, accept, false);
            self.agenda.enter(self.now + hold, Happening::RowGoes(id));
        }
    }

    /// One of two pings; the other comes before he has gone.
    pub(super) fn pings(&mut self, event: usize, turn: u32, until: Ms) {
        let What::Pingers { hold, friend, door, .. } = self.script.events[event].what else { return };
        if self.now >= until {
            return;
        }
        let address = if turn.is_multiple_of(2) && friend { address_of(0) } else { STRANGERS + turn % 2 };
        self.connects(door % self.doors.len(), Stranger::Ping, address, hold, 0, 1000);
        self.agenda.enter(self.now + hold * 3 / 4, Happening::Pings { event, turn: turn + 1, until });
    }

    /// Somebody comes whom the server does not let in.
    pub(super) fn comes_in_vain(&mut self, event: usize, tries: u32) {
        let (wants, fails) = (None, true);
        self.players.push(Player {
            wants,
            joined: 0,
            remaining: 0,
            lingers: 0,
            accept: 0,
            door: 0,
            aside: true,
            fails,
        });
        self.fails_to_join(self.players.len() - 1, event, tries);
    }

    pub(super) fn fails_to_join(&mut self, player: usize, event: usize, left: u32) {
        let What::FailedJoins { hold, pause, .. } = self.script.events[event].what else { return };
        self.players[player].fails = left > 0;
        if left == 0 {
            return;
        }
        if self.is_reachable(0) {
            let rows = self.leaves_rows(0, true);
            let who = Who::Trying(player);
            let client = Client { who, door: 0, rows, rate: 2000, address: address_of(player) };
            let id = self.open(client, 0, false);
            self.agenda.enter(self.now + hold, Happening::RowGoes(id));
        }
        self.agenda.enter(self.now + hold + pause, Happening::FailsToJoin { player, event, left: left - 1 });
    }

    pub(super) fn leaves(&mut self, id: u32) {
        let Some(link) = self.links.get(id).copied().filter(Link::alive) else { return };
        let Who::Person(player) = link.client.who else { return };
        match self.players[player].lingers {
            0 => self.goes(id),
            lingers => {
                self.links.cut(self.now, id);
                self.agenda.enter(self.now + lingers, Happening::RowGoes(id));
            }
        }
    }

    fn goes(&mut self, id: u32) {
        let doors = self.doors.clone();
        for link in self.links.remove(self.now, &doors, |link| link.id == id) {
            if let (Who::Trying(_), true, Some(accepted)) = (link.client.who, link.alive(), link.accepted) {
                self.failed_join = Some((self.now, self.now - accepted));
            }
        }
    }

    /// The last try of somebody who was not let in: when it ended, and for how long it lasted.
    pub(crate) fn failed_join(&self) -> Option<(Ms, Ms)> {
        self.failed_join
    }

    /// The client has gone. The row goes with it, unless the server hangs.
    pub(super) fn row_goes(&mut self, id: u32) {
        let Some(link) = self.links.get(id) else { return };
        if self.rows_stay(self.doors[link.client.door].process) {
            self.links.cut(self.now, id);
        } else {
            self.goes(id);
        }
    }

    /// A client that the server has not answered for too long.
    pub(super) fn gives_up(&mut self, id: u32) {
        let Some(link) = self.links.get(id).copied().filter(Link::alive) else { return };
        let process = self.doors[link.client.door].process;
        if self.is_open(process) {
            return;
        }
        if self.rows_stay(process) {
            self.links.cut(self.now, id);
        } else {
            self.goes(id);
        }
        self.lost(link, self.now + RETRY);
    }

    /// All players lose their links; the rows go at `rows_go`, and they try again at `again`.
    pub(super) fn cut_links(&mut self, rows_go: Ms, again: Ms) {
        let links: Vec<Link> = self.links.all().to_vec();
        for link in links.into_iter().filter(|link| link.alive() && link.client.who.person().is_some()) {
            self.links.cut(self.now, link.id);
            self.agenda.enter(rows_go, Happening::RowGoes(link.id));
            self.lost(link, again);
        }
    }

    /// Clients of a server that has begun to hang give up in time.
    pub(super) fn will_give_up(&mut self) {
        let people: Vec<u32> =
            self.links.all().iter().filter(|link| link.client.who.person().is_some()).map(|link| link.id).collect();
        for id in people {
            self.agenda.enter(self.now + CLIENT_TIMEOUT, Happening::GivesUp(id));
        }
    }

    /// A player whose connection is gone wants back.
    pub(super) fn lost(&mut self, link: Link, again: Ms) {
        if let Who::Person(player) = link.client.who
            && link.alive()
        {
            let state = &mut self.players[player];
            state.remaining = state.remaining.saturating_sub(self.now - state.joined);
            if state.remaining > 0 {
                state.wants = Some(self.now);
                self.agenda.enter(again, Happening::Tries(player));
            }
        }
    }

    pub(super) fn all_lost(&mut self, again: Ms) {
        let doors = self.doors.clone();
        for link in self.links.remove(self.now, &doors, |_| true) {
            self.lost(link, again);
        }
    }
}

fn address_of(player: usize) -> u32 {
    PEOPLE + u32::try_from(player).unwrap_or_default()
}
