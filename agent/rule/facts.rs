//! What one sample of the host shows, network by network, before any conclusion is drawn from it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;

/// The edition of the game, and with it the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edition {
    /// TCP.
    Java,
    /// `RakNet` over UDP.
    Bedrock,
}

/// A network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u64);

impl NetworkId {
    /// The host's own. All others have the inode of their socket table, which is never 0.
    pub const HOST: NetworkId = NetworkId(0);

    /// Whether this is the host's own network.
    #[must_use]
    pub fn is_host(self) -> bool {
        self == NetworkId::HOST
    }
}

/// An ESTABLISHED row on a port that may be watched, from a peer that is not ignored.
///
/// Addresses are canonical: an IPv4-mapped IPv6 address is written as the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    pub network: NetworkId,
    /// The server's side.
    pub local: SocketAddr,
    /// The client's side.
    pub peer: SocketAddr,
    /// `None` (0 in the kernel's table): established by the kernel, not yet accepted by the server.
    pub inode: Option<NonZeroU64>,
}

/// Such a row, and how much the kernel has received on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRow {
    pub socket: Socket,
    /// Bytes received since it was opened (`tcpi_bytes_received`, tcp(7)); `None`: not requested, or not available.
    pub received: Option<u64>,
}

/// A LISTEN row on a port that may be watched, or an unconnected UDP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listening {
    /// Canonical.
    pub address: SocketAddr,
    /// The socket's owner; `None`: a user without a number in the agent's user namespace (user_namespaces(7)).
    pub uid: Option<u32>,
    /// The control group of the process that created the socket (`INET_DIAG_CGROUP_ID`, kernel 5.8, cgroup v2).
    pub control_group: Option<u64>,
}

/// The client's end of a connection to a port that may be watched, where the client is on this machine too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarEnd {
    /// The client's side.
    pub local: SocketAddr,
    /// The server's side.
    pub peer: SocketAddr,
}

/// What the tables of one network show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sockets {
    pub listening: Vec<Listening>,
    /// May hold a row twice, since the kernel's tables are not a snapshot.
    pub connections: Vec<ConnectionRow>,
    /// Clients on this machine.
    pub far_ends: Vec<FarEnd>,
    /// UDP sockets bound to a Bedrock port.
    pub bedrock: Vec<Listening>,
}

/// A network, and what was read of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    pub id: NetworkId,
    /// Its own addresses, except those of the loopback interface.
    pub addresses: BTreeSet<IpAddr>,
    /// What its tables show, or what could not be read and why.
    pub sockets: Result<Sockets, String>,
    /// Bytes that its interfaces, loopback included, have received since it was created; `None`: not requested, or not
    /// available.
    pub received: Option<u64>,
    /// Whether it was read for this look. Otherwise nothing of interest was in it when it was last read, and what has come
    /// since then does not show.
    pub walked: bool,
}

impl Network {
    /// A network whose tables show `sockets`.
    #[must_use]
    pub fn showing(id: NetworkId, sockets: Sockets) -> Self {
        Network { id, addresses: BTreeSet::new(), sockets: Ok(sockets), received: None, walked: true }
    }
}

/// A program that listens on behalf of a server in another network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proxy {
    /// Docker's: one process per port, whose arguments say where the port leads.
    DockerProxy,
    /// Docker itself, with `userland-proxy=false`.
    Dockerd,
    /// Podman's.
    Conmon,
    /// Used by rootless engines, like the three below.
    Rootlessport,
    Rootlesskit,
    Slirp4netns,
    Pasta,
}

impl Proxy {
    /// All of them, with the name of their process (`comm`, proc_pid_comm(5), at most 15 characters).
    pub const ALL: [(Proxy, &str); 7] = [
        (Proxy::DockerProxy, "docker-proxy"),
        (Proxy::Dockerd, "dockerd"),
        (Proxy::Conmon, "conmon"),
        (Proxy::Rootlessport, "rootlessport"),
        (Proxy::Rootlesskit, "rootlesskit"),
        (Proxy::Slirp4netns, "slirp4netns"),
        (Proxy::Pasta, "pasta"),
    ];

    /// The proxy whose process is called `comm`.
    #[must_use]
    pub fn of(comm: &str) -> Option<Self> {
        // Where the CPU has AVX2, pasta runs as "pasta.avx2".
        let name = comm.strip_suffix(".avx2").unwrap_or(comm);
        Proxy::ALL.iter().find(|(_, other)| *other == name).map(|(proxy, _)| *proxy)
    }

    /// The name of its process.
    #[must_use]
    pub fn name(self) -> &'static str {
        Proxy::ALL.iter().find(|(proxy, _)| *proxy == self).map_or("", |(_, name)| name)
    }
}

/// Where a published port leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publication {
    pub edition: Edition,
    /// What the proxy listens on; the address may be unspecified.
    pub from: SocketAddr,
    /// The server's own address and port.
    pub to: SocketAddr,
}

/// A process that may listen on behalf of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publisher {
    /// Going by the name that the process gives itself.
    pub proxy: Proxy,
    pub network: NetworkId,
    /// Its effective user; `None`: a user without a number in the agent's user namespace.
    pub uid: Option<u32>,
    /// Its control group, numbered as in [`Listening::control_group`].
    pub control_group: Option<u64>,
    /// Where it leads, as far as its arguments say; read for docker-proxy only.
    pub publication: Option<Publication>,
}

/// One sample of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The host's network, and all others that show anything of interest.
    pub networks: Vec<Network>,
    /// Whether there is any other network than the host's, of interest or not.
    pub others: bool,
    pub publishers: Vec<Publisher>,
    /// Why there may be networks that cannot be seen.
    pub hidden: Option<String>,
}

impl Facts {
    /// A host without other networks, whose tables show `sockets`.
    #[must_use]
    pub fn of_host(sockets: Sockets) -> Self {
        Facts { networks: vec![Network::showing(NetworkId::HOST, sockets)], ..Facts::default() }
    }

    /// A host whose own tables cannot be read. Nothing else was looked at either: what does not show has not gone.
    #[must_use]
    pub fn unreadable(why: String) -> Self {
        let host = Network { sockets: Err(why.clone()), ..Network::showing(NetworkId::HOST, Sockets::default()) };
        Facts { networks: vec![host], hidden: Some(why), ..Facts::default() }
    }
}
