//! What one sample means, as far as a single sample can tell: the result of the judgement and the input of the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use super::answers::ListenerId;
use super::facts::{ConnectionRow, NetworkId, Socket};

/// A connection on a watched port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedConnection {
    pub connection: ConnectionRow,
    /// Something listens on its port in its network, whoever it belongs to.
    pub listening: bool,
    /// The listeners whose answers apply to it; may be empty.
    pub listeners: Vec<ListenerId>,
    /// The network of its other end, if that is on this machine.
    pub from: Option<NetworkId>,
}

/// Something that is not known. While there is anything of the kind, nothing is stopped and no clock runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// The tables of a network cannot be read.
    Unreadable { network: NetworkId, why: String },
    /// There may be networks that cannot be seen.
    Hidden { why: String },
    /// A port is published, and what it leads to cannot be seen.
    Published {
        listener: ListenerId,
        by: &'static str,
        /// Where it leads, if that is known; nothing there can be seen.
        to: Option<SocketAddr>,
    },
    /// A listener that is either a server or publishes the port of one.
    Untold {
        listener: ListenerId,
        /// The program it may belong to.
        perhaps: &'static str,
    },
    /// A server that said that somebody is online no longer answers.
    Silent { listener: ListenerId },
    /// A Bedrock port is bound by something that has never answered.
    Unproven { listener: ListenerId },
}

impl Unknown {
    /// The listener that this is about.
    #[must_use]
    pub fn listener(&self) -> Option<&ListenerId> {
        match self {
            Unknown::Unreadable { .. } | Unknown::Hidden { .. } => None,
            Unknown::Published { listener, .. }
            | Unknown::Untold { listener, .. }
            | Unknown::Silent { listener }
            | Unknown::Unproven { listener } => Some(listener),
        }
    }
}

/// What is not known and how to change that, without a full stop.
impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::Unreadable { network, why } if network.is_host() => write!(f, "{why}"),
            Unknown::Unreadable { why, .. } => write!(f, "cannot read the sockets of a container: {why}"),
            Unknown::Hidden { why } => write!(f, "{why}"),
            Unknown::Published { listener, by, to: Some(to) } => write!(
                f,
                "{by} publishes {} and forwards it to {to}, but no visible network has that address, and no server \
                 answers there; start the server, or set minecraft.containers = true if it is not",
                listener.address
            ),
            Unknown::Published { listener, by, to: None } => write!(
                f,
                "{by} publishes {}, but its destination is unknown, and no server answers there; let the server answer \
                 status pings (enable-status, minecraft.ask)",
                listener.address
            ),
            Unknown::Untold { listener, perhaps } => write!(
                f,
                "cannot tell whether {} belongs to a server on this host or to {perhaps}, which may publish the port \
                 of a container, until the server answers or a player connects; let it answer status pings \
                 (enable-status, minecraft.ask), or run it as a separate user",
                listener.address
            ),
            Unknown::Silent { listener } => write!(
                f,
                "the server at {} has stopped answering, and its last answer reported players online",
                listener.address
            ),
            Unknown::Unproven { listener } => write!(
                f,
                "something is bound to Bedrock port {} but has never answered; if it is not a Bedrock server, remove \
                 the port from minecraft.bedrock_ports",
                listener.address
            ),
        }
    }
}

/// A question that can be put to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub listener: ListenerId,
    /// Where the listener is reached from the host.
    pub address: SocketAddr,
    /// The connection arrives unchanged, from the address it was sent from, so its row can be told from others.
    pub direct: bool,
}

/// What one sample means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// All connections on watched ports, without duplicates.
    pub connections: Vec<WatchedConnection>,
    /// The servers' own listeners.
    pub servers: BTreeSet<ListenerId>,
    /// All listeners that can be asked, and how. Their answers are kept even if they may not be a server's.
    pub questions: BTreeSet<Question>,
    /// All listeners that were seen, whoever they belong to, except those that lead to another one that was seen.
    pub listeners: BTreeSet<ListenerId>,
    /// Listeners seen to accept connections themselves, with the socket's owner: another one's is another listener.
    pub accepting: BTreeMap<ListenerId, Option<u32>>,
    /// Ports of containers that are watched because docker-proxy leads, or has led, there.
    pub followed: BTreeSet<(NetworkId, u16)>,
    pub readable: BTreeSet<NetworkId>,
    /// Those of the readable ones that were read for this very look.
    pub walked: BTreeSet<NetworkId>,
    pub unreadable: BTreeSet<NetworkId>,
    /// There may be other networks that could not be seen at all.
    pub hidden: bool,
    pub unknown: Vec<Unknown>,
    /// A server says that somebody is online.
    pub somebody_online: bool,
    /// How many are online in total on all servers that answer, except those behind a proxy on this machine; `None`:
    /// none answers.
    pub online: Option<u32>,
    /// As far as the servers name them.
    pub names: Vec<String>,
    /// Bytes that the interfaces of each network have received.
    pub received: BTreeMap<NetworkId, u64>,
    /// Listeners whose silence is disregarded, which the operator must be told about.
    pub given_up: BTreeSet<ListenerId>,
}

impl Observation {
    /// Whether something in `network` may still exist although it was not seen.
    #[must_use]
    pub fn may_hide(&self, network: NetworkId) -> bool {
        self.unreadable.contains(&network) || (self.hidden && !self.readable.contains(&network))
    }

    /// The bare sockets of all connections.
    pub fn sockets(&self) -> impl Iterator<Item = Socket> {
        self.connections.iter().map(|watched| watched.connection.socket)
    }
}
