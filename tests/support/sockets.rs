//! Real connections in a network namespace of the test's own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::process::Command;

use mc_idle::config::Settings;
use mc_idle::config::settings::Scope;
use mc_idle_rule::facts::Sockets;
use mc_idle_rule::{Facts, NetworkId, Socket};

/// A second address, for a peer that differs from the usual one.
pub const OTHER_V6: &str = "fd00:7::9";

/// Runs `program`, which has to work.
pub fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

/// Brings loopback up, which a new network namespace has down.
pub fn loopback() {
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["-6", "address", "add", &format!("{OTHER_V6}/128"), "dev", "lo", "nodad"]);
}

/// A server on `ports`, with no further settings.
pub fn scope(ports: &[u16]) -> Scope {
    Scope { ports: ports.iter().copied().collect(), ..Settings::default().scope }
}

/// What the host's own tables show; fails the test if they show nothing.
pub fn on_the_host(facts: &Facts) -> Sockets {
    let host = facts.networks.iter().find(|network| network.id.is_host()).unwrap();
    host.sockets.clone().unwrap_or_else(|why| panic!("unknown: {why}"))
}

/// A connection with both its ends.
pub struct Pair {
    /// Whoever has come.
    pub client: TcpStream,
    /// Its end on the server.
    pub server: TcpStream,
}

impl Pair {
    /// Connects to `listener` by its address `to`.
    pub fn open(listener: &TcpListener, to: IpAddr) -> Self {
        Pair::accept(listener, TcpStream::connect((to, port(listener))).unwrap())
    }

    /// The connection of `client`, which waits.
    pub fn accept(listener: &TcpListener, client: TcpStream) -> Self {
        Pair { client, server: listener.accept().unwrap().0 }
    }

    /// How both witnesses are to show it: as the client sees the addresses, with the inode of the server's end.
    pub fn row(&self) -> Socket {
        Socket { inode: Some(inode(&self.server)), ..waiting(&self.client) }
    }
}

/// The row of a connection that the server has not accepted.
pub fn waiting(client: &TcpStream) -> Socket {
    let (local, peer) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    Socket { network: NetworkId::HOST, local, peer, inode: None }
}

/// Its inode, as the tables have it.
pub fn inode(stream: &TcpStream) -> NonZeroU64 {
    let link = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
    let text = link.to_str().unwrap();
    text.trim_start_matches("socket:[").trim_end_matches(']').parse().unwrap()
}

/// Where it listens.
pub fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Listens on 127.0.0.1.
pub fn v4() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// Listens on `::1`.
pub fn v6() -> TcpListener {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap()
}

/// Takes IPv4 and IPv6, as a server does by default.
pub fn dual() -> TcpListener {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap()
}

/// Loopback.
pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Loopback.
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
