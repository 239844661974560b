//! The judgement: what the facts of one sample and the answers of the servers mean.
//!
//! Each network, listener and port is judged separately: evidence about one says nothing about another. What was not
//! looked at is unknown, and unknown is never zero.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::answers::{Answers, ListenerId, SILENCE_PATIENCE, Testimony};
use super::facts::{Edition, Facts, Listening, Network, NetworkId, Proxy, Publication, Publisher, Sockets};
use super::moment::Moment;
use super::nearness::nearness;
use super::observation::{Observation, Question, Unknown, WatchedConnection};

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Ports on which a server listens itself, or which Docker publishes.
    pub ports: BTreeSet<u16>,
    /// How long something that is bound to a Bedrock port may be silent from the start before it counts as no server.
    pub bedrock_patience: Duration,
}

/// What is known from earlier samples.
#[derive(Debug, Default)]
pub struct Evidence {
    pub answers: Answers,
    /// Listeners that have been seen to accept connections themselves, with the socket's owner.
    pub accepting: BTreeMap<ListenerId, Option<u32>>,
    /// Ports of containers to which docker-proxy has led. It ends with Docker's daemon, and the players of a container that
    /// lives on (`live-restore`) stay connected.
    pub followed: BTreeSet<(NetworkId, u16)>,
}

/// Turns `facts` into an observation, using `evidence`.
#[must_use]
pub fn judge(facts: &Facts, evidence: &Evidence, watch: &Watch, now: Moment) -> Observation {
    let mut judgement = Judgement { facts, evidence, watch, now, observation: Observation::default() };
    let ports = judgement.watched_ports();
    let containers = ports.iter().filter(|(id, _)| !id.is_host());
    let followed = containers.flat_map(|(id, ports)| ports.difference(&watch.ports).map(|port| (*id, *port)));
    judgement.observation.followed = followed.collect();
    judgement.observation.hidden = facts.hidden.is_some();
    for network in &facts.networks {
        judgement.observation.received.extend(network.received.map(|received| (network.id, received)));
        match &network.sockets {
            Ok(sockets) => {
                judgement.observation.readable.insert(network.id);
                judgement.observation.walked.extend(network.walked.then_some(network.id));
                judgement.network(network, sockets, ports.get(&network.id).unwrap_or(&watch.ports));
            }
            Err(why) => {
                judgement.observation.unreadable.insert(network.id);
                judgement.observation.unknown.push(Unknown::Unreadable { network: network.id, why: why.clone() });
            }
        }
    }
    judgement.hidden();
    judgement.answers();
    judgement.observation
}

/// Whose socket a LISTEN row is.
enum Owner {
    Server,
    /// A publishing proxy's, leading to this address.
    LeadsTo(Proxy, SocketAddr),
    /// A publishing proxy's; where it leads is not known.
    LeadsSomewhere(Proxy),
    /// Either a server's or that proxy's.
    Untold(Proxy),
}

struct Judgement<'a> {
    facts: &'a Facts,
    evidence: &'a Evidence,
    watch: &'a Watch,
    now: Moment,
    observation: Observation,
}

impl Judgement<'_> {
    /// The ports watched in each network: those of the settings, and those to which docker-proxy leads, or has led, from a
    /// watched one.
    fn watched_ports(&self) -> BTreeMap<NetworkId, BTreeSet<u16>> {
        let every = |network: &Network| {
            let mut ports = self.watch.ports.clone();
            let followed = self.evidence.followed.range((network.id, 0)..=(network.id, u16::MAX));
            ports.extend(followed.map(|(_, port)| *port));
            (network.id, ports)
        };
        let mut ports: BTreeMap<NetworkId, BTreeSet<u16>> = self.facts.networks.iter().map(every).collect();
        loop {
            let mut grown = false;
            for network in &self.facts.networks {
                for listening in network.sockets.iter().flat_map(|sockets| &sockets.listening) {
                    let watched = ports.get(&network.id).is_some_and(|ports| ports.contains(&listening.address.port()));
                    let Some(Publication { to, .. }) =
                        self.publication(network.id, listening, Edition::Java).filter(|_| watched)
                    else {
                        continue;
                    };
                    for owner in self.owners_of(to.ip()) {
                        grown |= ports.entry(owner).or_default().insert(to.port());
                    }
                }
            }
            if !grown {
                return ports;
            }
        }
    }

    /// Where this row leads if a docker-proxy made it: one that runs as the row's user and publishes its address and
    /// port. One that names 0.0.0.0 may listen for IPv6 as well, but one that names the row's own address comes first.
    fn publication(&self, network: NetworkId, listening: &Listening, edition: Edition) -> Option<Publication> {
        let row = listening.address;
        let of_this_port =
            |publication: &Publication| publication.edition == edition && publication.from.port() == row.port();
        let publishers = self.publishers_at(network, listening);
        let publications = publishers.filter_map(|publisher| publisher.publication.filter(of_this_port));
        let both_everywhere = |from: SocketAddr| from.ip() == Ipv4Addr::UNSPECIFIED && row.ip().is_unspecified();
        let of_this_row = publications.filter(|it| it.from == row || both_everywhere(it.from));
        of_this_row.min_by_key(|publication| publication.from != row)
    }

    /// Publishers that run as the row's user, or may: users without a number cannot be told apart.
    fn publishers_at(&self, network: NetworkId, listening: &Listening) -> impl Iterator<Item = &Publisher> {
        let uid = listening.uid;
        self.facts.publishers.iter().filter(move |publisher| publisher.network == network && publisher.uid == uid)
    }

    fn owners_of(&self, address: IpAddr) -> impl Iterator<Item = NetworkId> {
        let own = move |network: &&Network| network.addresses.contains(&address);
        self.facts.networks.iter().filter(own).map(|network| network.id)
    }

    fn owner(&self, network: NetworkId, listening: &Listening) -> Owner {
        // A user without a number may be anybody: where he says that his port leads is watched, too, and proves nothing.
        let known = self.publication(network, listening, Edition::Java).filter(|_| is_believed(network, listening));
        if let Some(Publication { to, .. }) = known {
            return Owner::LeadsTo(Proxy::DockerProxy, to);
        }
        let mut untold = None;
        for publisher in self.publishers_at(network, listening) {
            let same_group = match (publisher.control_group, listening.control_group) {
                (Some(publisher), Some(row)) => Some(publisher == row),
                _ => None,
            };
            match (publisher.proxy, publisher.publication, same_group) {
                // Its arguments say where it leads from, and that is not this row.
                (Proxy::DockerProxy, Some(_), _) if listening.uid.is_some() => {}
                // Docker creates its listening sockets itself, in its own control group.
                (Proxy::DockerProxy | Proxy::Dockerd, _, Some(false)) => {}
                (proxy @ (Proxy::DockerProxy | Proxy::Dockerd), _, Some(true)) => return Owner::LeadsSomewhere(proxy),
                // Otherwise another command may have created the socket and handed it to the proxy.
                (proxy, ..) => untold = untold.or(Some(proxy)),
            }
        }
        match untold {
            // Without another network there is nothing to lead to.
            Some(proxy) if self.facts.others || self.facts.hidden.is_some() => Owner::Untold(proxy),
            _ => Owner::Server,
        }
    }

    fn network(&mut self, network: &Network, sockets: &Sockets, ports: &BTreeSet<u16>) {
        let watched = |address: SocketAddr| ports.contains(&address.port());
        let mut speaks_for: BTreeMap<ListenerId, Vec<ListenerId>> = BTreeMap::new();
        let accepted = sockets.connections.iter().filter(|connection| connection.socket.inode.is_some());
        let accepting: BTreeSet<SocketAddr> =
            accepted.filter_map(|connection| acceptor(&sockets.listening, connection.socket.local)).collect();
        for listening in sockets.listening.iter().filter(|listening| watched(listening.address)) {
            let id = ListenerId { network: network.id, edition: Edition::Java, address: listening.address };
            if accepting.contains(&listening.address) {
                self.observation.accepting.insert(id, listening.uid);
            }
            let speakers = self.listener(network, listening, id);
            speaks_for.insert(id, speakers);
        }
        for bound in &sockets.bedrock {
            // A published server is asked at its own address.
            if !self.is_seen_behind(network.id, bound) {
                let id = ListenerId { network: network.id, edition: Edition::Bedrock, address: bound.address };
                self.observation.listeners.insert(id);
                self.question(network, id, true);
            }
        }
        let mut done = BTreeSet::new();
        for connection in &sockets.connections {
            let socket = connection.socket;
            if !watched(socket.local) || !done.insert(socket) {
                continue;
            }
            let listeners = speaks_for.iter().filter(|(id, _)| serves(id.address, socket.local));
            self.observation.connections.push(WatchedConnection {
                connection: *connection,
                listening: speaks_for.keys().any(|id| id.address.port() == socket.local.port()),
                listeners: listeners.flat_map(|(_, speakers)| speakers).copied().collect(),
                from: self.far_end(socket.peer, socket.local),
            });
        }
    }

    /// Judges one LISTEN row, and returns the listeners whose answers apply to it.
    fn listener(&mut self, network: &Network, listening: &Listening, id: ListenerId) -> Vec<ListenerId> {
        let answers = self.evidence.answers.answer(&id, self.now).is_some();
        let accepting = [&self.observation.accepting, &self.evidence.accepting];
        let accepts = accepting.iter().any(|seen| seen.get(&id) == Some(&listening.uid));
        let unknown = match self.owner(network.id, listening) {
            Owner::LeadsTo(proxy, to) => {
                let behind = self.behind(to);
                let speakers: Vec<ListenerId> = behind.iter().flatten().copied().collect();
                if !speakers.is_empty() {
                    // It is not asked, so what it answered before this was known expires as if it had gone.
                    return speakers;
                }
                // Nothing that the kernel knows of listens there: the server is down, or the packet filter of that network leads on.
                // Only an answer can tell; without one there is no server.
                if !behind.is_empty() && !answers {
                    self.observation.listeners.insert(id);
                    self.question(network, id, false);
                    return vec![id];
                }
                Some(Unknown::Published { listener: id, by: proxy.name(), to: Some(to) })
            }
            Owner::LeadsSomewhere(proxy) => Some(Unknown::Published { listener: id, by: proxy.name(), to: None }),
            Owner::Untold(_) if accepts => None,
            Owner::Untold(proxy) => Some(Unknown::Untold { listener: id, perhaps: proxy.name() }),
            Owner::Server => None,
        };
        self.observation.listeners.insert(id);
        // What passes through a proxy, or a rule of the packet filter, may arrive from another address.
        self.question(network, id, unknown.is_none());
        match unknown {
            Some(unknown) if !answers => self.observation.unknown.push(unknown),
            _ => drop(self.observation.servers.insert(id)),
        }
        vec![id]
    }

    /// The listeners at `to`, where a published port leads, for each network that owns that address. Empty: none owns
    /// it.
    fn behind(&self, to: SocketAddr) -> Vec<Vec<ListenerId>> {
        let owners: Vec<NetworkId> = self.owners_of(to.ip()).collect();
        let listeners = |network: &Network| {
            let rows = network.sockets.iter().flat_map(|sockets| &sockets.listening);
            rows.filter(|row| serves(row.address, to))
                .map(|row| ListenerId { network: network.id, edition: Edition::Java, address: row.address })
                .collect()
        };
        self.facts.networks.iter().filter(|network| owners.contains(&network.id)).map(listeners).collect()
    }

    /// Whether a bound UDP port is a proxy's and the server behind it is seen.
    fn is_seen_behind(&self, network: NetworkId, bound: &Listening) -> bool {
        let known = self.publication(network, bound, Edition::Bedrock).filter(|_| is_believed(network, bound));
        let Some(Publication { to, .. }) = known else { return false };
        let owners: Vec<NetworkId> = self.owners_of(to.ip()).collect();
        let networks = self.facts.networks.iter().filter(|network| owners.contains(&network.id));
        networks
            .flat_map(|network| network.sockets.iter().flat_map(|sockets| &sockets.bedrock))
            .any(|row| serves(row.address, to))
    }

    /// Adds how `id` can be asked, if it can be.
    fn question(&mut self, network: &Network, id: ListenerId, direct: bool) {
        let port = id.address.port();
        let ip = match id.address.ip() {
            ip if network.id.is_host() && !ip.is_unspecified() => Some(ip),
            IpAddr::V4(_) if network.id.is_host() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            // A socket that takes both families can be reached even where the host has no IPv6.
            IpAddr::V6(_) if network.id.is_host() => Some(if network.addresses.iter().any(IpAddr::is_ipv6) {
                IpAddr::V6(Ipv6Addr::LOCALHOST)
            } else {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
            ip if ip.is_loopback() => None,
            ip => {
                let fits = |own: &&IpAddr| ip == **own || (ip.is_unspecified() && (ip.is_ipv6() || own.is_ipv4()));
                // The host routes an address to one network only: if two own it, an answer says nothing about either.
                let alone = |own: &&IpAddr| self.owners_of(**own).count() == 1;
                // Not every address can be reached from the host: that of a VPN or an ipvlan cannot, and that of a bridge can.
                network
                    .addresses
                    .iter()
                    .filter(fits)
                    .filter(alone)
                    .max_by_key(|own| nearness(self.facts, **own))
                    .copied()
            }
        };
        let ask = |ip| Question { listener: id, address: SocketAddr::new(ip, port), direct };
        self.observation.questions.extend(ip.map(ask));
    }

    /// The network of a connection's client, if that is on this machine.
    fn far_end(&self, client: SocketAddr, server: SocketAddr) -> Option<NetworkId> {
        let has_it = |network: &&Network| {
            let mut ends = network.sockets.iter().flat_map(|sockets| &sockets.far_ends);
            ends.any(|end| (end.local, end.peer) == (client, server))
        };
        self.facts.networks.iter().find(has_it).map(|network| network.id)
    }

    /// Whether all connections to a server come from this machine, so that another server counts the same players.
    fn is_behind_a_proxy(&self, listener: &ListenerId) -> bool {
        let connections = self.observation.connections.iter();
        let mut own = connections.filter(|watched| watched.listeners == [*listener]).map(|watched| watched.from);
        own.next().is_some_and(|from| from.is_some()) && own.all(|from| from.is_some())
    }

    /// Processes that cannot be seen matter unless a server answers on every watched port.
    fn hidden(&mut self) {
        let Some(why) = &self.facts.hidden else { return };
        // The whole look has failed, which is told already.
        if self.facts.networks.iter().any(|network| network.sockets.as_ref().err() == Some(why)) {
            return;
        }
        let answers = |port: &u16| {
            let servers = self.observation.servers.iter();
            let mut there = servers.filter(|id| id.edition == Edition::Java && id.address.port() == *port);
            there.any(|id| self.evidence.answers.answer(id, self.now).is_some())
        };
        if !self.watch.ports.iter().all(answers) {
            self.observation.unknown.push(Unknown::Hidden { why: why.clone() });
        }
    }

    /// Evaluates the servers' answers, including those of listeners that have only just gone.
    fn answers(&mut self) {
        let Evidence { answers, .. } = self.evidence;
        let listeners: BTreeSet<ListenerId> =
            self.observation.listeners.iter().copied().chain(answers.known().into_iter().map(|(id, ..)| id)).collect();
        let mut most = 0;
        for listener in listeners {
            let (bedrock, here) =
                (listener.edition == Edition::Bedrock, self.observation.listeners.contains(&listener));
            let word = answers.word(&listener, self.now).unwrap_or(Testimony::Never { lasting: Duration::ZERO });
            let unknown = match word {
                Testimony::Online(_) | Testimony::Nobody => {
                    if let Some(answer) = answers.answer(&listener, self.now) {
                        self.observation.somebody_online |= answer.online > 0;
                        self.observation.names.extend(
                            answer
                                .names
                                .iter()
                                .filter(|name| !self.observation.names.contains(name))
                                .cloned()
                                .collect::<Vec<_>>(),
                        );
                        most = most.max(answer.online);
                        let own = if self.is_behind_a_proxy(&listener) { 0 } else { answer.online };
                        self.observation.online = Some(self.observation.online.unwrap_or(0).saturating_add(own));
                    }
                    if bedrock && here {
                        self.observation.servers.insert(listener);
                    }
                    continue;
                }
                // After an answer of zero, a TCP server still shows its connections, and one that has gone has no
                // players.
                Testimony::Silent { online: 0, .. } if !bedrock || !here => continue,
                Testimony::Silent { lasting, .. } => {
                    (lasting < SILENCE_PATIENCE).then_some(Unknown::Silent { listener })
                }
                Testimony::Never { .. } if !bedrock => continue,
                Testimony::Never { lasting } => {
                    (lasting < self.watch.bedrock_patience).then_some(Unknown::Unproven { listener })
                }
            };
            match unknown {
                Some(unknown) => self.observation.unknown.push(unknown),
                None => drop(self.observation.given_up.insert(listener)),
            }
        }
        // Where all come from this machine, as by a tunnel's program, there may be no other server that counts them.
        self.observation.online = self.observation.online.map(|online| online.max(most));
    }
}

/// Whether a docker-proxy of the row's user is believed to have made the row. Users without a number cannot be told apart; but what
/// listens on a loopback address of another network is reached from within it alone, as with a rootless Docker, whose clients show
/// on the host as well.
fn is_believed(network: NetworkId, row: &Listening) -> bool {
    row.uid.is_some() || (!network.is_host() && row.address.ip().is_loopback())
}

/// Which of the `listening` sockets accepts connections to `local`: the one that listens most closely there.
fn acceptor(listening: &[Listening], local: SocketAddr) -> Option<SocketAddr> {
    let there = listening.iter().map(|listening| listening.address).filter(|address| serves(*address, local));
    there.max_by_key(|address| (address.ip() == local.ip(), address.is_ipv4() == local.is_ipv4()))
}

/// Whether a socket listening on `listening` accepts connections to `local`.
fn serves(listening: SocketAddr, local: SocketAddr) -> bool {
    listening.port() == local.port() && (listening.ip().is_unspecified() || listening.ip() == local.ip())
}
