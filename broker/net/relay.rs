//! Relays the bytes of a player whose version of the game cannot be handed over.

use std::net::SocketAddr;
use std::time::Duration;

use mc_broker_core::wire::proxy_header;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::counters::Counters;
use crate::net::shared::OpenConnection;

/// How long the server may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is read at once, in each direction, in bytes.
const PIECE: usize = 8 * 1024;

/// Relays everything between `client`, who is `peer`, and the server at `to`, after the bytes `first`, until both have
/// nothing more to say or one of them is gone.
pub async fn relay(mut client: TcpStream, peer: SocketAddr, to: SocketAddr, first: Vec<u8>, open: OpenConnection) {
    let Ok(Ok(mut server)) = timeout(PATIENCE, TcpStream::connect(to)).await else { return };
    Counters::add(&open.shared.counters.relayed);
    let _ = server.set_nodelay(true);
    let mut begin = Vec::new();
    if open.shared.relay_proxy_header {
        begin.extend(proxy_header::written(peer, to));
    }
    begin.extend(first);
    if server.write_all(&begin).await.is_ok() {
        // An error is one side's going.
        let _ = copy_bidirectional_with_sizes(&mut client, &mut server, PIECE, PIECE).await;
    }
}
