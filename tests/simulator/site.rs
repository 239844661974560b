//! What kind of machine it is: its networks, its servers, how they are reached, and what they say when they are asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mc_idle_rule::facts::Proxy;
use mc_idle_rule::{Edition, ListenerId, NetworkId};

/// How the servers live on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Kind {
    /// One server on the host.
    #[default]
    Host,
    /// One server in a network namespace of its own.
    Namespace,
    /// One in a container that Docker publishes, by docker-proxy.
    Docker,
    /// Two containers: one is published at another port and nobody plays there; the other listens on another port inside.
    TwoContainers,
    /// A published proxy in one container, the server in another.
    Velocity,
    /// A container whose port Podman holds on the host, which does not say where it leads.
    Podman,
    /// The same with Docker itself, which runs without docker-proxy.
    Dockerd,
    /// A server of root's on the host, beside containers of Podman.
    BesideContainers,
    /// Two servers on the host, one of which never answers.
    TwoServers,
    /// A Bedrock server: only UDP.
    Bedrock,
    /// A Java server that Bedrock players come to over UDP.
    Geyser,
    /// Players come by a tunnel that leaves no row.
    Tunnel,
    /// Processes of others cannot be seen, and the server is in a container.
    Hidden,
    /// The kernel tells nothing over netlink.
    NoSockDiag,
}

impl Kind {
    pub(crate) const ALL: [Kind; 14] = [
        Kind::Host,
        Kind::Namespace,
        Kind::Docker,
        Kind::TwoContainers,
        Kind::Velocity,
        Kind::Podman,
        Kind::Dockerd,
        Kind::BesideContainers,
        Kind::TwoServers,
        Kind::Bedrock,
        Kind::Geyser,
        Kind::Tunnel,
        Kind::Hidden,
        Kind::NoSockDiag,
    ];
}

/// What a server says when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Manner {
    /// The truth.
    #[default]
    Honest,
    /// Nothing.
    Off,
    /// That nobody is online: it passes on another server's count, or hides its players.
    Zero,
    /// Three more than there are.
    MadeUp,
    /// The truth, often too late.
    Slow,
}

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) manner: Manner,
    /// The container goes when its server goes.
    pub(crate) goes: bool,
    /// Some process calls itself docker-proxy, and leads the server's port to where nothing is.
    pub(crate) impostor: bool,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Site { kind, manner, goes, impostor } = self;
        write!(f, "{kind:?}, {manner:?}")?;
        write!(f, "{}{}", if *goes { ", goes" } else { "" }, if *impostor { ", beside an impostor" } else { "" })
    }
}

/// Somebody's process that serves, and may end or hang by itself.
pub(crate) type Process = usize;

/// One way into a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) process: Process,
    /// Number 0 is the host's.
    pub(crate) network: usize,
    pub(crate) edition: Edition,
    /// Where it listens.
    pub(crate) port: u16,
    /// The host's port that leads to it, and who holds that.
    pub(crate) published: Option<(u16, Proxy)>,
    pub(crate) manner: Manner,
    /// Its clients go on to this one.
    pub(crate) leads_to: Option<usize>,
    /// People come to it.
    pub(crate) visited: bool,
}

impl Door {
    fn java(process: Process, network: usize, port: u16, manner: Manner) -> Self {
        let edition = Edition::Java;
        Door { process, network, edition, port, published: None, manner, leads_to: None, visited: true }
    }

    fn published(self, port: u16, by: Proxy) -> Self {
        Door { published: Some((port, by)), ..self }
    }

    /// The listener where it listens itself.
    pub(crate) fn listener(&self) -> ListenerId {
        ListenerId { network: id(self.network), edition: self.edition, address: everywhere(self.port) }
    }

    /// The listener on the host that leads to it.
    pub(crate) fn outer(&self) -> Option<ListenerId> {
        let (port, _) = self.published?;
        Some(ListenerId { network: NetworkId::HOST, edition: self.edition, address: everywhere(port) })
    }
}

/// 0.0.0.0 and a port.
pub(crate) fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// The kernel's number for a network.
pub(crate) fn id(network: usize) -> NetworkId {
    NetworkId(if network == 0 { 0 } else { 4_026_532_000 + network as u64 })
}

/// A network's own address.
pub(crate) fn ip(network: usize) -> IpAddr {
    IpAddr::V4(match network {
        0 => Ipv4Addr::new(10, 0, 0, 5),
        other => Ipv4Addr::new(172, 17, 0, 1 + u8::try_from(other).unwrap_or(u8::MAX)),
    })
}

impl Site {
    /// Every way into its servers. What `minecraft.ports` names is 25565, and 25566 where there are two servers on the host.
    pub(crate) fn doors(&self) -> Vec<Door> {
        let manner = self.manner;
        let docker = |door: Door, port| door.published(port, Proxy::DockerProxy);
        match self.kind {
            Kind::Host | Kind::BesideContainers | Kind::Tunnel | Kind::NoSockDiag => {
                vec![Door::java(0, 0, 25565, manner)]
            }
            Kind::Namespace => vec![Door::java(0, 1, 25565, manner)],
            Kind::Docker => vec![docker(Door::java(0, 1, 25565, manner), 25565)],
            Kind::TwoContainers => vec![
                docker(Door::java(0, 1, 25577, manner), 25565),
                Door { visited: false, ..docker(Door::java(1, 2, 25565, Manner::Honest), 25566) },
            ],
            Kind::Velocity => vec![
                Door { leads_to: Some(1), ..docker(Door::java(0, 1, 25577, manner), 25565) },
                Door { visited: false, ..Door::java(1, 2, 25565, Manner::Honest) },
            ],
            Kind::Podman => vec![Door::java(0, 1, 25565, manner).published(25565, Proxy::Conmon)],
            Kind::Dockerd => vec![Door::java(0, 1, 25565, manner).published(25565, Proxy::Dockerd)],
            Kind::TwoServers => vec![Door::java(0, 0, 25565, manner), Door::java(1, 0, 25566, Manner::Off)],
            Kind::Bedrock => vec![Door { edition: Edition::Bedrock, ..Door::java(0, 0, 19132, manner) }],
            Kind::Geyser => vec![
                Door::java(0, 0, 25565, manner),
                Door { edition: Edition::Bedrock, ..Door::java(0, 0, 19132, manner) },
            ],
            Kind::Hidden => vec![docker(Door::java(0, 1, 25565, manner), 25565)],
        }
    }

    /// How many networks there are, the host's included.
    pub(crate) fn networks(&self) -> usize {
        match self.kind {
            Kind::TwoContainers | Kind::Velocity => 3,
            Kind::Namespace | Kind::Docker | Kind::Podman | Kind::Dockerd | Kind::BesideContainers | Kind::Hidden => 2,
            _ => 1,
        }
    }

    /// What `minecraft.ports` names.
    pub(crate) fn ports(&self) -> Vec<u16> {
        if self.kind == Kind::TwoServers { vec![25565, 25566] } else { vec![25565] }
    }

    /// Whether the kernel tells who made a socket and what has come in on it.
    pub(crate) fn has_sock_diag(&self) -> bool {
        self.kind != Kind::NoSockDiag
    }

    /// Whether the processes of others can be seen, and so their networks.
    pub(crate) fn sees_processes(&self) -> bool {
        self.kind != Kind::Hidden
    }
}
