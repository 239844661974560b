//! What the agent's host shows of the world: facts, as its tables and the kernel tell them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mc_idle_rule::facts::{ConnectionRow, Listening, Network, Proxy, Publication, Publisher, Sockets};
use mc_idle_rule::{Edition, Facts, NetworkId};

use super::script::{Ms, SECOND};
use super::site::{Door, Kind, everywhere, id, ip};
use super::world::{Version, World};

/// The time between two walks through all processes, in which networks, owners and bytes are looked for anew.
const SURVEY: Ms = 30 * SECOND;
/// Control groups: Docker's, Podman's, a unit's.
const DOCKER: u64 = 7;
const PODMAN: u64 = 8;
const UNIT: u64 = 9;
/// Users.
const ROOT: u32 = 0;
const MINECRAFT: u32 = 1000;
const MALLORY: u32 = 1001;

/// Which of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kernel's tables.
    Tables,
    /// Netlink for the host's network, the tables once more for others; the tables for all where there is no netlink.
    Witness,
}

/// The samples of one agent.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    facts: Facts,
    /// What the facts are of.
    version: Option<Version>,
    surveyed: Option<Ms>,
    /// There are bytes in the facts, of the moment at which they were looked for.
    has_bytes: bool,
}

impl Sight {
    /// What a sample shows.
    pub(crate) fn sample(&mut self, world: &World) -> &Facts {
        let (now, version) = (world.moment(), world.version());
        let survey = self.surveyed.is_none_or(|at| now >= at + SURVEY);
        if survey || self.version != Some(version) {
            let mut facts = look(world, Source::Tables, survey);
            if survey {
                self.surveyed = Some(now);
            } else {
                self.leave_quiet_ones(&mut facts);
            }
            (self.facts, self.version, self.has_bytes) = (facts, Some(version), survey);
        } else if self.has_bytes {
            forget_bytes(&mut self.facts);
            self.has_bytes = false;
        }
        for network in self.facts.networks.iter_mut().filter(|network| !network.id.is_host()) {
            network.walked = survey || !is_quiet(network);
        }
        &self.facts
    }

    /// A last look reads everything, and what it has found is read from then on.
    pub(crate) fn last_look(&mut self, world: &World) -> Facts {
        let facts = look(world, Source::Tables, true);
        (self.facts, self.version, self.has_bytes) = (facts.clone(), Some(world.version()), true);
        self.surveyed = Some(world.moment());
        facts
    }

    /// Networks in which nothing was last time are only looked at in a survey, and new ones are not found before.
    fn leave_quiet_ones(&self, facts: &mut Facts) {
        let before = |id: NetworkId| self.facts.networks.iter().find(|network| network.id == id);
        facts.networks.retain(|network| before(network.id).is_some());
        for network in facts.networks.iter_mut().filter(|network| !network.id.is_host()) {
            if let Some(before) = before(network.id).filter(|before| is_quiet(before)) {
                network.clone_from(before);
            }
        }
        facts.others = self.facts.others;
        facts.publishers.clone_from(&self.facts.publishers);
    }
}

fn is_quiet(network: &Network) -> bool {
    network.sockets.as_ref().is_ok_and(|sockets| sockets.listening.is_empty() && sockets.connections.is_empty())
}

fn forget_bytes(facts: &mut Facts) {
    for network in &mut facts.networks {
        network.received = None;
        for connection in network.sockets.iter_mut().flat_map(|sockets| &mut sockets.connections) {
            connection.received = None;
        }
    }
}

/// All that this source shows now, and, with `bytes`, what has come in.
pub(crate) fn look(world: &World, source: Source, bytes: bool) -> Facts {
    let site = world.site();
    let seen = if site.sees_processes() { site.networks() } else { 1 };
    let networks = (0..seen).filter(|network| world.has_network(*network));
    let networks: Vec<Network> = networks.map(|number| network(world, source, number, bytes)).collect();
    Facts {
        others: networks.len() > 1,
        networks,
        publishers: if site.sees_processes() { publishers(world) } else { Vec::new() },
        hidden: (!site.sees_processes()).then(|| "processes of others are hidden (hidepid)".to_owned()),
    }
}

/// Whether this source can tell what is in a network.
pub(crate) fn readable(world: &World, source: Source, network: usize) -> bool {
    let troubles = world.troubles();
    let by_netlink = source == Source::Witness && world.site().has_sock_diag();
    match network {
        0 if by_netlink => troubles.witness_readable(world.now()),
        // Where there is no netlink the tables are read once more.
        0 => troubles.own_readable(world.now()),
        1 => troubles.network_readable(world.now()),
        _ => true,
    }
}

fn network(world: &World, source: Source, number: usize, bytes: bool) -> Network {
    let sockets = if readable(world, source, number) {
        Ok(sockets(world, source, number, bytes))
    } else {
        Err("the table is cut".to_owned())
    };
    let busy = sockets.as_ref().is_ok_and(|sockets| !sockets.connections.is_empty());
    let received = (number != 0 && bytes && busy).then(|| world.received(number));
    Network { id: id(number), addresses: [ip(number)].into(), sockets, received, walked: true }
}

fn sockets(world: &World, source: Source, number: usize, bytes: bool) -> Sockets {
    let mut sockets = Sockets::default();
    let told = world.site().has_sock_diag();
    let root = world.site().kind == Kind::BesideContainers;
    for door in world.doors() {
        if door.network == number && world.is_up(door.process) {
            let row = listening(door.port, if root { ROOT } else { MINECRAFT }, told.then_some(UNIT));
            match door.edition {
                Edition::Java => sockets.listening.push(row),
                Edition::Bedrock => sockets.bedrock.push(row),
            }
        }
        if let Some((port, by)) = door.published
            && number == 0
            && world.has_network(door.network)
        {
            // Podman's was made by the command that has started the container.
            let group = if by == Proxy::Conmon { PODMAN + 1 } else { DOCKER };
            sockets.listening.push(listening(port, ROOT, told.then_some(group)));
        }
    }
    let doors = world.doors();
    for link in world.links().iter().filter(|link| link.client.rows) {
        let door = &doors[link.client.door];
        if door.network == number {
            let received = (bytes && told && number == 0).then(|| link.received(world.now()));
            sockets.connections.push(link.row(door, received));
        }
        if let Some(to) = door.leads_to.filter(|_| link.onward).map(|to| &doors[to]) {
            let (row, far_end) = link.passed_on(door, to);
            if to.network == number {
                sockets.connections.push(row);
            }
            if door.network == number {
                sockets.far_ends.push(far_end);
            }
        }
    }
    if source == Source::Tables && world.omits() && number == omitted_from(world) && !sockets.connections.is_empty() {
        sockets.connections.remove(0);
    }
    // The kernel's tables are not a snapshot: a row may be there twice.
    if source == Source::Tables && sockets.connections.len() % 3 == 2 {
        let first: ConnectionRow = sockets.connections[0];
        sockets.connections.push(first);
    }
    sockets
}

/// The network whose table leaves out its first row: the first that has one.
fn omitted_from(world: &World) -> usize {
    let mut rows = world.links().iter().filter(|link| link.client.rows);
    rows.next().map_or(0, |link| world.doors()[link.client.door].network)
}

fn listening(port: u16, uid: u32, control_group: Option<u64>) -> Listening {
    Listening { address: everywhere(port), uid: Some(uid), control_group }
}

fn publishers(world: &World) -> Vec<Publisher> {
    let told = world.site().has_sock_diag();
    let of = |proxy, group: u64| Publisher {
        proxy,
        network: NetworkId::HOST,
        uid: Some(ROOT),
        control_group: told.then_some(group),
        publication: None,
    };
    let leads = |port, to: SocketAddr| Publication { edition: Edition::Java, from: everywhere(port), to };
    let inner = |door: &Door| SocketAddr::new(ip(door.network), door.port);
    let there = world.doors().iter().filter(|door| world.has_network(door.network));
    let published = there.filter_map(|door| Some((door.published?, inner(door))));
    let mut publishers: Vec<Publisher> = published
        .map(|((port, by), to)| match by {
            Proxy::DockerProxy => Publisher { publication: Some(leads(port, to)), ..of(by, DOCKER) },
            Proxy::Dockerd => of(by, DOCKER),
            _ => of(by, PODMAN),
        })
        .collect();
    if world.site().kind == Kind::BesideContainers {
        publishers.push(of(Proxy::Conmon, PODMAN));
    }
    if world.site().impostor {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(172, 17, 0, 99)), 25565);
        let publication = Some(leads(25565, nowhere));
        publishers.push(Publisher { uid: Some(MALLORY), publication, ..of(Proxy::DockerProxy, UNIT) });
    }
    publishers
}
