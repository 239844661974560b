//! The agent's own connections to servers, so that they can be told from players in the socket tables: a row on the
//! server's port whose peer is one of these addresses is the agent's.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mc_idle_rule::Moment;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::Clock;

/// The headers of a packet of a connection: Ethernet, IPv4 or IPv6, and TCP with timestamps.
const HEADERS: (u64, u64) = (66, 86);
/// The handshake takes two packets to the server, the request one and the close one.
const PACKETS: u64 = 4;
/// The headers of a datagram: Ethernet, IPv4 or IPv6, and UDP.
const DATAGRAM_HEADERS: (u64, u64) = (42, 62);

/// How long after closing an address may still be in a table: the server's end is ESTABLISHED until the kernel has
/// processed the close, and a table may have been read before that.
pub const LINGER: Duration = Duration::from_secs(1);

/// The local addresses of the TCP connections that ask servers. A handle: all copies share one set.
#[derive(Debug, Clone)]
pub struct OwnSockets {
    clock: Clock,
    addresses: Arc<Mutex<Addresses>>,
}

#[derive(Debug, Default)]
struct Addresses {
    /// Canonical and without a scope id, as in the tables.
    open: BTreeSet<SocketAddr>,
    /// Those that were closed recently.
    closed: Vec<(Moment, SocketAddr)>,
    last_closed: Option<Moment>,
}

impl Addresses {
    fn forget_before(&mut self, now: Moment) {
        self.closed.retain(|(at, _)| now.since(*at) < LINGER);
    }
}

impl OwnSockets {
    /// An empty set.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        OwnSockets { clock, addresses: Arc::default() }
    }

    /// Whether `address` is the local address of one of the agent's own connections that is open, or was less than 1 s
    /// ago.
    #[must_use]
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.snapshot().contains(&canonical(address))
    }

    /// All of them. Take the snapshot for a reading of the tables **after** that reading: an address is registered
    /// before its connection appears in any table, and for [`LINGER`] after it was closed.
    #[must_use]
    pub fn snapshot(&self) -> BTreeSet<SocketAddr> {
        let mut addresses = self.addresses();
        addresses.forget_before(self.clock.now());
        addresses.open.iter().copied().chain(addresses.closed.iter().map(|(_, address)| *address)).collect()
    }

    /// Whether a question is open right now.
    #[must_use]
    pub fn any_open(&self) -> bool {
        !self.addresses().open.is_empty()
    }

    /// When a connection was last closed.
    #[must_use]
    pub fn last_closed(&self) -> Option<Moment> {
        self.addresses().last_closed
    }

    /// Connects to `address` from a local address that is registered before the first packet leaves.
    ///
    /// # Errors
    /// There is no route, no free port, or nobody listens.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<OwnConnection> {
        let address = unmapped(address);
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(source(address)?)?;
        let registration = self.register(socket.local_addr()?);
        Ok(OwnConnection { stream: socket.connect(address).await?, _registration: registration })
    }

    fn register(&self, address: SocketAddr) -> Registration {
        let address = canonical(address);
        self.addresses().open.insert(address);
        Registration { own: self.clone(), address }
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Nothing panics while it holds this lock.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes a question has brought to the network of its server, as far as that is certain: the host's other networks
/// are judged by how little they receive.
#[derive(Debug, Default)]
pub struct Arrived(AtomicU64);

impl Arrived {
    /// Counts a connection to `address` on which a request of `length` bytes was sent.
    pub fn add(&self, address: SocketAddr, length: usize) {
        let headers = if unmapped(address).is_ipv4() { HEADERS.0 } else { HEADERS.1 };
        self.0.fetch_add(PACKETS * headers + u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts a datagram of `length` bytes to `address`. That it arrives is certain only where one has been answered.
    pub fn add_datagram(&self, address: SocketAddr, length: usize) {
        let headers = if unmapped(address).is_ipv4() { DATAGRAM_HEADERS.0 } else { DATAGRAM_HEADERS.1 };
        self.0.fetch_add(headers + u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
    }

    /// So many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that is registered for as long as it is open and a second longer.
#[derive(Debug)]
pub struct OwnConnection {
    // Closed first: fields are dropped in this order.
    stream: TcpStream,
    _registration: Registration,
}

impl OwnConnection {
    /// The connection itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

#[derive(Debug)]
struct Registration {
    own: OwnSockets,
    address: SocketAddr,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let now = self.own.clock.now();
        let mut addresses = self.own.addresses();
        addresses.forget_before(now);
        addresses.open.remove(&self.address);
        addresses.closed.push((now, self.address));
        addresses.last_closed = Some(now);
    }
}

/// The address, with port 0, from which the kernel would connect to `address`. Connecting a UDP socket only looks up
/// the route and sends nothing (udp(7)).
fn source(address: SocketAddr) -> io::Result<SocketAddr> {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    let mut source = socket.local_addr()?;
    source.set_port(0);
    Ok(source)
}

/// As IPv4, if it is an IPv4-mapped address.
fn unmapped(address: SocketAddr) -> SocketAddr {
    if address.ip().to_canonical().is_ipv4() { canonical(address) } else { address }
}

/// As in the socket tables: neither IPv4-mapped nor with a scope id.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
