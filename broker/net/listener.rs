//! Accepts connections. Nothing is read here: whoever says nothing keeps nobody else waiting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustix::net::sockopt::set_tcp_nodelay;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::Level;

use mc_broker_core::connection::HANDSHAKE;
use mc_broker_core::wire::proxy_header::{self, Source};

use crate::counters::Counters;
use crate::journal::Kind;
use crate::net::session;
use crate::net::shared::{OpenConnection, Shared};

/// After a failure of accept(2), which passes: too many open files.
const BREATH: Duration = Duration::from_millis(100);
/// How many connections may wait to be accepted.
pub const BACKLOG: u32 = 1024;

/// Accepts connections on `listener`, forever. Those from `proxies` say who their client is.
pub async fn accept(listener: TcpListener, proxies: Arc<[IpNet]>, shared: Arc<Shared>) {
    // Packets are small, and each is waited for. What is accepted has it from the listener (tcp(7)).
    let _ = set_tcp_nodelay(&listener, true);
    let mut fails = false;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => {
                fails = false;
                accepted
            }
            Err(error) => {
                if !std::mem::replace(&mut fails, true) {
                    shared.journal.tell(
                        Level::WARN,
                        Kind::Accept,
                        None,
                        format!("Cannot accept connections: {error}."),
                    );
                }
                sleep(BREATH).await;
                continue;
            }
        };
        let Some(open) = shared.open() else {
            Counters::add(&shared.counters.refused);
            continue;
        };
        let id = open.id;
        let is_proxy = proxies.iter().any(|proxy| proxy.contains(&peer.ip().to_canonical()));
        let task = if is_proxy {
            tokio::spawn(proxied(stream, peer, open))
        } else {
            // Who has too many takes no place from anybody.
            let Some((stream, peer, open)) = enter(stream, peer, open) else { continue };
            tokio::spawn(session::serve(stream, peer, open))
        };
        // There is one thread, so it has not begun yet.
        shared.anonymous(id, task.abort_handle());
    }
}

/// Counts the connection as one of its client's address; `None`: that has too many.
fn enter(
    stream: TcpStream,
    client: SocketAddr,
    mut open: OpenConnection,
) -> Option<(TcpStream, SocketAddr, OpenConnection)> {
    if open.enter(client.ip()) {
        return Some((stream, client, open));
    }
    Counters::add(&open.shared.counters.refused);
    None
}

/// A connection that begins with a PROXY header.
async fn proxied(mut stream: TcpStream, proxy: SocketAddr, open: OpenConnection) {
    let Ok(Some(client)) = timeout(HANDSHAKE, Box::pin(source(&mut stream, proxy))).await else {
        Counters::add(&open.shared.counters.malformed);
        return;
    };
    if let Some((stream, client, open)) = enter(stream, client, open) {
        session::serve(stream, client, open).await;
    }
}

/// Who the client is. Exactly the header is read: what comes behind it is the client's.
async fn source(stream: &mut TcpStream, proxy: SocketAddr) -> Option<SocketAddr> {
    let mut header = Vec::new();
    loop {
        header.push(stream.read_u8().await.ok()?);
        if let Some((source, _)) = proxy_header::read(&header).ok()? {
            return Some(match source {
                Source::Proxy => proxy,
                Source::Client(client) => client,
            });
        }
    }
}
