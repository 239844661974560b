//! The servers of the world: what runs, what hangs, and what they say when they are asked.

use mc_idle_rule::ListenerId;

use super::super::agenda::Happening;
use super::super::links::{Link, Who};
use super::super::script::{Ms, SECOND, Stranger};
use super::super::site::{Manner, Process};
use super::{ASKED, RETRY, World};

/// A server counts a player so long after it has accepted his connection.
const LOGIN: Ms = 2 * SECOND;
/// The agent waits so long for an answer.
pub(crate) const DEADLINE: Ms = 3 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Down,
    Open,
    Hung {
        rows_stay: bool,
    },
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Server {
    pub(super) state: State,
    /// Another number after every death.
    run: u32,
    /// Since when it is in this state.
    since: Ms,
    down_until: Ms,
    /// Until when it crashes, for how long it is up, and for how long down.
    crashes: Option<(Ms, Ms, Ms)>,
}

impl World<'_> {
    /// Whether the server listens, if only since the kernel does.
    pub(crate) fn is_up(&self, process: Process) -> bool {
        self.servers[process].state != State::Down
    }

    /// Whether it serves.
    pub(crate) fn is_open(&self, process: Process) -> bool {
        self.servers[process].state == State::Open
    }

    /// Since when the server is as it is: down, hung or open.
    pub(crate) fn state_since(&self, process: Process) -> Ms {
        self.servers[process].since
    }

    /// Another number after every change of the servers.
    pub(crate) fn servers_version(&self) -> u32 {
        self.servers_version
    }

    /// Whether any server listens.
    pub(crate) fn listening(&self) -> bool {
        self.servers.iter().any(|server| server.state != State::Down)
    }

    /// Whether a network is there.
    pub(crate) fn has_network(&self, network: usize) -> bool {
        let mut doors = self.doors.iter().filter(|door| door.network == network);
        network == 0
            || !self.site().goes
            || doors.clone().next().is_none()
            || doors.any(|door| self.is_up(door.process))
    }

    /// How many the server of this process counts.
    pub(crate) fn online(&self, process: Process) -> usize {
        let is_in = |link: &&Link| link.accepted.is_some_and(|at| at + LOGIN <= self.now);
        let counted = |link: &&Link| matches!(link.client.who, Who::Person(_) | Who::Stranger(Stranger::Bot));
        let reaches = |link: &&Link| self.reaches(link, process);
        self.links.all().iter().filter(counted).filter(is_in).filter(reaches).count()
    }

    /// Whether a connection ends at this server, or goes on to it.
    pub(crate) fn reaches(&self, link: &Link, process: Process) -> bool {
        let door = &self.doors[link.client.door];
        let goes_on = || door.leads_to.is_some_and(|to| self.doors[to].process == process);
        door.process == process || (link.onward && goes_on())
    }

    /// What is answered at this door to a question that is put now, if anything, and how long that takes.
    pub(crate) fn answer_at(&self, door: usize) -> Option<(u32, Ms)> {
        let door = &self.doors[door];
        let silent = !self.is_open(door.process) || self.asleep.is_some() || self.troubles.mute(self.now);
        let online = u32::try_from(self.online(door.process)).unwrap_or(u32::MAX);
        // Whether a slow server is too slow changes from minute to minute.
        let late = !(self.now / (61 * SECOND)).is_multiple_of(3);
        let usual = self.script.pace.latency;
        match door.manner {
            _ if silent => None,
            Manner::Off => None,
            Manner::Slow if late => None,
            Manner::Honest => Some((online, usual)),
            Manner::Slow => Some((online, DEADLINE - SECOND)),
            Manner::Zero => Some((0, usual)),
            Manner::MadeUp => Some((online + 3, usual)),
        }
    }

    /// The same for a listener.
    pub(crate) fn ask(&mut self, listener: ListenerId) -> Option<(u32, Ms)> {
        let asked = |door: &super::Door| door.listener() == listener || door.outer() == Some(listener);
        let door = self.doors.iter().position(asked)?;
        self.asked[self.doors[door].network] += ASKED;
        self.answer_at(door)
    }

    pub(super) fn turn(&mut self, process: Process, state: State) {
        let server = &mut self.servers[process];
        (server.state, server.since) = (state, self.now);
        self.servers_version += 1;
    }

    pub(super) fn start_servers(&mut self) {
        (0..self.servers.len()).for_each(|process| self.start_server(process));
    }

    pub(super) fn start_server(&mut self, process: Process) {
        let server = self.servers[process];
        if server.state == State::Down && self.now >= server.down_until {
            let after = server
                .crashes
                .filter(|(until, ..)| self.now < *until)
                .map_or(self.script.pace.server, |(_, _, down)| down);
            self.agenda.enter(self.now + after, Happening::ServerOpens { process, run: server.run });
        }
    }

    pub(super) fn opens(&mut self, process: Process, run: u32) {
        let server = self.servers[process];
        if let Some((_, until)) = self.asleep {
            self.agenda.enter(until, Happening::ServerOpens { process, run });
        } else if run == server.run && server.state == State::Down && self.runs() && self.now >= server.down_until {
            self.turn(process, State::Open);
            if let Some((_, up, _)) = server.crashes.filter(|(until, ..)| self.now < *until) {
                self.agenda.enter(self.now + up, Happening::ServerDies { process, run });
            }
        }
    }

    pub(super) fn crashes(&mut self, lasts: Ms, up: Ms, down: Ms) {
        self.servers[0].crashes = Some((self.now + lasts, up, down));
        self.dies(0);
        self.start_server(0);
    }

    pub(super) fn crashed(&mut self, process: Process, run: u32) {
        if self.servers[process].run == run {
            self.dies(process);
            self.start_server(process);
        }
    }

    /// The server cannot be up before `until`.
    pub(super) fn down_until(&mut self, process: Process, until: Ms) {
        let server = &mut self.servers[process];
        server.down_until = server.down_until.max(until);
        self.agenda.enter(server.down_until, Happening::DownEnds(process));
        self.dies(process);
    }

    pub(super) fn dies(&mut self, process: Process) {
        self.turn(process, State::Down);
        self.servers[process].run += 1;
        if self.doors.iter().any(|door| door.leads_to.is_some_and(|to| self.doors[to].process == process)) {
            self.links.stop_going_on();
        }
        let doors = self.doors.clone();
        let gone = self.links.remove(self.now, &doors, |link| doors[link.client.door].process == process);
        for link in gone {
            self.lost(link, self.now + RETRY);
        }
    }

    pub(super) fn hang_ends(&mut self, recovers: bool) {
        if !matches!(self.servers[0].state, State::Hung { .. }) {
            return;
        }
        if !recovers {
            self.dies(0);
            self.start_server(0);
            return;
        }
        self.turn(0, State::Open);
        let doors = self.doors.clone();
        self.links.remove(self.now, &doors, |link| !link.alive() && doors[link.client.door].process == 0);
        let waiting: Vec<u32> =
            self.links.all().iter().filter(|link| link.accepted.is_none()).map(|link| link.id).collect();
        for id in waiting {
            self.links.accept(self.now, id);
        }
    }

    /// Whether rows of clients that close stay, since the server that should close them hangs.
    pub(super) fn rows_stay(&self, process: Process) -> bool {
        self.servers[process].state == State::Hung { rows_stay: true }
    }
}
