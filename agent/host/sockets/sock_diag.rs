//! What only the kernel's socket diagnosis tells (sock_diag(7)), and only about the agent's own network: who made a
//! listening socket, and how many bytes a connection has received. Needs no privileges.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_packet_utils::nla::Nla as _;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr as NetlinkAddr};

use crate::host::sockets::tables::canonical;

/// Attribute of a response: the control group of the process that created the socket (`INET_DIAG_CGROUP_ID`,
/// linux/inet_diag.h).
const CGROUP_ID: u16 = 21;
/// The position of `tcpi_bytes_received` in `struct tcp_info` (linux/tcp.h).
const BYTES_RECEIVED: std::ops::Range<usize> = 128..136;
/// In bytes; the kernel puts a memory page or two into one answer.
const ANSWER: usize = 32 * 1024;
/// In bytes; what it says about one socket is shorter.
const ONE: usize = 4 * 1024;
/// Any socket that has these ends (`INET_DIAG_NOCOOKIE`, linux/inet_diag.h).
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// What the kernel says about the sockets of the agent's own network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// The control group of the process that created a listening socket, by the socket's address.
    pub control_groups: BTreeMap<SocketAddr, u64>,
    /// Bytes received on a connection, by both its ends, this side's first.
    pub received: BTreeMap<(SocketAddr, SocketAddr), u64>,
}

/// Asks about the listeners on `ports`, and about `connections`, each by both its ends, this side's first.
///
/// The kernel finds each by its hash; its table of connections, which is long on a large machine, is not walked.
///
/// # Errors
/// The kernel has no socket diagnosis of TCP (module `tcp_diag`), or a filter denies it to the agent.
pub fn ask(
    ports: &BTreeSet<u16>,
    connections: impl IntoIterator<Item = (SocketAddr, SocketAddr)>,
) -> io::Result<Diagnosis> {
    let mut diagnosis = Diagnosis::default();
    let channel = Channel::open()?;
    for family in [AF_INET, AF_INET6] {
        channel.listeners(family, |response| {
            if ports.contains(&response.header.socket_id.source_port) {
                diagnosis.take_in(response);
            }
        })?;
    }
    for (local, peer) in connections {
        channel.connection(local, peer, |response| diagnosis.take_in(response))?;
    }
    Ok(diagnosis)
}

/// Whether the kernel answers at all.
///
/// # Errors
/// Why not.
pub fn probe() -> io::Result<()> {
    ask(&BTreeSet::new(), []).map(drop)
}

impl Diagnosis {
    fn take_in(&mut self, response: &InetResponse) {
        let id = &response.header.socket_id;
        let local = canonical(SocketAddr::new(id.source_address, id.source_port));
        let peer = canonical(SocketAddr::new(id.destination_address, id.destination_port));
        for attribute in &response.nlas {
            match attribute {
                Nla::TcpInfo(info) if id.destination_port != 0 => {
                    // The structure of an old kernel is shorter.
                    let bytes = info.get(BYTES_RECEIVED).and_then(|bytes| bytes.try_into().ok());
                    self.received.extend(bytes.map(|bytes| ((local, peer), u64::from_ne_bytes(bytes))));
                }
                Nla::Other(other) if other.kind() == CGROUP_ID && id.destination_port == 0 => {
                    let mut value = [0; 8];
                    if other.value_len() == value.len() {
                        other.emit_value(&mut value);
                        self.control_groups.insert(local, u64::from_ne_bytes(value));
                    }
                }
                _ => {}
            }
        }
    }
}

/// A netlink socket to the kernel, which answers immediately: nothing here blocks.
struct Channel(Socket);

impl Channel {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.connect(&NetlinkAddr::new(0, 0))?;
        Ok(Channel(socket))
    }

    fn send(&self, flags: u16, request: InetRequest) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.0.send(&buffer, 0).map(drop)
    }

    /// Reads the next part of an answer, and returns whether it was the last.
    fn receive(&self, buffer: &mut [u8], mut each: impl FnMut(&InetResponse)) -> io::Result<bool> {
        let length = self.0.recv(&mut &mut *buffer, 0)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let answer = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match answer.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => each(&response),
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Each message begins at a multiple of four bytes (netlink(7)).
            let next = usize::try_from(answer.header.length).map_or(usize::MAX, |length| length.next_multiple_of(4));
            rest = rest.get(next.max(4)..).unwrap_or_default();
        }
        Ok(false)
    }

    fn listeners(&self, family: u8, mut each: impl FnMut(&InetResponse)) -> io::Result<()> {
        self.send(NLM_F_DUMP, request(family, StateFlags::LISTEN, SocketId::new_v4()))?;
        let mut buffer = vec![0; ANSWER];
        while !self.receive(&mut buffer, &mut each)? {}
        Ok(())
    }

    /// A connection that has gone is not an error.
    fn connection(&self, local: SocketAddr, peer: SocketAddr, each: impl FnMut(&InetResponse)) -> io::Result<()> {
        let id = SocketId {
            source_port: local.port(),
            destination_port: peer.port(),
            source_address: local.ip(),
            destination_address: peer.ip(),
            cookie: ANY_COOKIE,
            ..SocketId::new_v4()
        };
        let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
        self.send(0, request(family, StateFlags::ESTABLISHED, id))?;
        let mut buffer = [0; ONE];
        match self.receive(&mut buffer, each) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            answer => answer.map(drop),
        }
    }
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::INFO, states, socket_id }
}
