//! Machines of several networks: a host, and whatever else lives on it.

use std::num::NonZeroU64;

use mc_idle_rule::facts::{ConnectionRow, Network, Proxy, Publication, Publisher, Sockets};
use mc_idle_rule::{Edition, Facts, ListenerId, NetworkId, Socket};

use crate::rule::run::{address, listening};

/// Networks beside the host's.
pub(crate) const A: NetworkId = NetworkId(4_026_532_001);
pub(crate) const B: NetworkId = NetworkId(4_026_532_002);

/// The host, and these.
pub(crate) fn machine(host: Sockets, others: Vec<Network>) -> Facts {
    let mut facts = Facts::of_host(host);
    facts.networks[0].addresses.insert(address("10.0.0.5:0").ip());
    facts.networks.extend(others);
    facts.others = true;
    facts
}

pub(crate) fn network(id: NetworkId, ip: &str, sockets: Sockets) -> Network {
    Network { addresses: [ip.parse().unwrap()].into(), ..Network::showing(id, sockets) }
}

/// Whoever listens at these addresses, and nobody connected.
pub(crate) fn listens(addresses: &[&str]) -> Sockets {
    Sockets { listening: addresses.iter().map(|text| listening(text)).collect(), ..Sockets::default() }
}

/// The same with root's sockets, as those of docker-proxy are.
pub(crate) fn root_listens(addresses: &[&str]) -> Sockets {
    let mut sockets = listens(addresses);
    sockets.listening.iter_mut().for_each(|listening| listening.uid = Some(0));
    sockets
}

pub(crate) fn connection(network: NetworkId, local: &str, peer: &str, inode: u64) -> ConnectionRow {
    let socket = Socket { network, local: address(local), peer: address(peer), inode: NonZeroU64::new(inode) };
    ConnectionRow { socket, received: None }
}

pub(crate) fn docker_proxy(from: &str, to: &str) -> Publisher {
    let publication = Publication { edition: Edition::Java, from: address(from), to: address(to) };
    Publisher { publication: Some(publication), ..publisher(Proxy::DockerProxy) }
}

/// A process of root's on the host that says nothing of where it leads.
pub(crate) fn publisher(proxy: Proxy) -> Publisher {
    Publisher { proxy, network: NetworkId::HOST, uid: Some(0), control_group: None, publication: None }
}

pub(crate) fn java(network: NetworkId, text: &str) -> ListenerId {
    ListenerId { network, edition: Edition::Java, address: address(text) }
}

pub(crate) fn bedrock(network: NetworkId, text: &str) -> ListenerId {
    ListenerId { network, edition: Edition::Bedrock, address: address(text) }
}
