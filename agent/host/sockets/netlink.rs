//! The kernel's socket diagnosis over netlink (sock_diag(7)), through the crate netstat2.
//!
//! netstat2 ends its list without an error when the kernel answers with one, so an empty list proves nothing;
//! [`super::witness`] decides whether to believe it.

use std::net::SocketAddr;

use mc_idle_rule::NetworkId;
use mc_idle_rule::facts::{FarEnd, Listening, Sockets};
use netstat2::{
    AddressFamilyFlags, ProtocolFlags, ProtocolSocketInfo, SocketInfo, TcpSocketInfo, TcpState,
    iterate_sockets_info_without_pids,
};

use crate::host::sockets::tables::{Tables, Wanted, canonical, known_user, socket};

/// Lists the sockets on a wanted port, and passes the inode of every socket, on any port, to `each`. Does not walk
/// `/proc/*/fd`, and does not block: the kernel answers immediately.
///
/// # Errors
/// The kernel could not be asked, or its answer could not be read.
pub fn read(wanted: &Wanted<'_>, mut each: impl FnMut(u64)) -> Result<Sockets, netstat2::error::Error> {
    let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
    let mut tables = Tables::default();
    for info in iterate_sockets_info_without_pids(families, ProtocolFlags::TCP)? {
        let info = info?;
        let SocketInfo { protocol_socket_info: ProtocolSocketInfo::Tcp(tcp), inode, uid, .. } = info else { continue };
        each(inode.into());
        let (local, peer) = addresses(&tcp);
        let socket = socket(NetworkId::HOST, local, peer, inode.into());
        let (ours, theirs) = (wanted.ports.contains(&local.port()), wanted.ports.contains(&peer.port()));
        match tcp.state {
            TcpState::Listen if ours => tables.sockets.listening.push(Listening {
                address: canonical(local),
                uid: known_user(uid),
                control_group: None,
            }),
            TcpState::Established => {
                if ours {
                    tables.connection(socket, wanted);
                }
                if theirs && !wanted.own.contains(&socket.local) {
                    tables.sockets.far_ends.push(FarEnd { local: socket.local, peer: socket.peer });
                }
            }
            _ => {}
        }
    }
    Ok(tables.sockets)
}

fn addresses(tcp: &TcpSocketInfo) -> (SocketAddr, SocketAddr) {
    (SocketAddr::new(tcp.local_addr, tcp.local_port), SocketAddr::new(tcp.remote_addr, tcp.remote_port))
}
