//! The kernel's socket diagnosis over netlink (sock_diag(7)), through the crate netstat2.
//!
//! netstat2 ends its list without an error when the kernel answers with one, so an empty list proves nothing;
//! [`super::witness`] decides whether it is believed.

use std::net::SocketAddr;

use netstat2::{
    AddressFamilyFlags, ProtocolFlags, ProtocolSocketInfo, SocketInfo, TcpSocketInfo, TcpState,
    iterate_sockets_info_without_pids,
};

use super::tables::socket;
use crate::config::settings::Scope;
use crate::idle::Seen;

/// Lists the sockets on a Minecraft port, and hands the inode of every socket, on any port, to `each`. Does not walk
/// `/proc/*/fd`, and does not wait: the kernel answers in place.
///
/// # Errors
/// The kernel could not be asked, or its answer not be read.
pub fn read(scope: &Scope, mut each: impl FnMut(u64)) -> Result<Seen, netstat2::error::Error> {
    let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
    let mut seen = Seen::default();
    for info in iterate_sockets_info_without_pids(families, ProtocolFlags::TCP)? {
        let info = info?;
        let SocketInfo { protocol_socket_info: ProtocolSocketInfo::Tcp(tcp), inode, .. } = info else { continue };
        each(inode.into());
        let (local, peer) = addresses(&tcp);
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
    Ok(seen)
}

fn addresses(tcp: &TcpSocketInfo) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(tcp.local_addr, tcp.local_port), SocketAddr::new(tcp.remote_addr, tcp.remote_port))
}
