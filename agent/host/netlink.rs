//! The second witness: the kernel's socket diagnosis over netlink (sock_diag(7)), through the crate netstat2.
//!
//! netstat2 ends its list without an error when the kernel answers with one, so an empty list proves nothing. The
//! witness is believed only if, for IPv4 and for IPv6, it saw as many listening sockets on all ports as the tables had
//! just shown, and any established one at all if they showed some. An exact count of those would never agree for long.

use std::net::SocketAddr;

use netstat2::{
    AddressFamilyFlags, ProtocolFlags, ProtocolSocketInfo, SocketInfo, TcpSocketInfo, TcpState,
    iterate_sockets_info_without_pids,
};

use super::tables::{Landmarks, Rows, socket};
use crate::config::settings::Scope;
use crate::idle::Seen;

/// Why the second witness is not believed.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The kernel could not be asked, or its answer not be read.
    #[error("cannot list sockets over netlink")]
    Netlink(#[from] netstat2::error::Error),
    /// It did not see what must be there.
    #[error("netlink does not show the sockets that /proc shows: {found:?}, {expected:?}")]
    Landmarks {
        /// Rows of the tables.
        expected: Landmarks,
        /// Sockets that it saw.
        found: Landmarks,
    },
}

/// Lists the sockets on a Minecraft port. Does not walk `/proc/*/fd`, and does not wait: the kernel answers in place.
///
/// # Errors
/// Whatever makes the answer not one to be believed.
pub fn read(scope: &Scope, landmarks: Landmarks) -> Result<Seen, WitnessError> {
    let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
    let mut seen = Seen::default();
    let mut found = Landmarks::default();
    for info in iterate_sockets_info_without_pids(families, ProtocolFlags::TCP)? {
        let info = info?;
        let SocketInfo { protocol_socket_info: ProtocolSocketInfo::Tcp(tcp), inode, .. } = info else { continue };
        let (local, peer) = addresses(&tcp);
        let rows = if tcp.local_addr.is_ipv4() { &mut found.ipv4 } else { &mut found.ipv6 };
        rows.count(tcp.state == TcpState::Listen, tcp.state == TcpState::Established);
        if scope.covers(local) {
            match tcp.state {
                TcpState::Listen => seen.listener = true,
                TcpState::Established => {
                    let socket = socket(local, peer, inode.into());
                    seen.sockets.extend((!scope.ignores(socket.peer.ip())).then_some(socket));
                }
                _ => {}
            }
        }
    }
    if agrees(found.ipv4, landmarks.ipv4) && agrees(found.ipv6, landmarks.ipv6) {
        Ok(seen)
    } else {
        Err(WitnessError::Landmarks { expected: landmarks, found })
    }
}

fn agrees(found: Rows, expected: Rows) -> bool {
    found.listening == expected.listening && (found.established > 0 || expected.established == 0)
}

fn addresses(tcp: &TcpSocketInfo) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(tcp.local_addr, tcp.local_port), SocketAddr::new(tcp.remote_addr, tcp.remote_port))
}
