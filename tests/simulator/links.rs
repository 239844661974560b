//! Clients' connections, as they are and as the kernel's tables show them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;

use mc_idle_rule::Socket;
use mc_idle_rule::facts::{ConnectionRow, FarEnd};

use super::script::{Ms, SECOND, Stranger};
use super::site::{Door, id, ip};

/// The last source port that is given out before they begin anew.
const LAST_PORT: u16 = 60_000;
/// Where they begin.
const FIRST_PORT: u16 = 33_000;
/// A scanner with a TCP stack of its own comes from the same port every time.
const SCANNER_PORT: u16 = 61_000;
/// What has come in on a connection when it has just been opened.
const HANDSHAKE: u64 = 300;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody who plays.
    Person(usize),
    /// Somebody who tries to, and is not let in.
    Trying(usize),
    Stranger(Stranger),
}

impl Who {
    pub(crate) fn person(self) -> Option<usize> {
        match self {
            Who::Person(person) | Who::Trying(person) => Some(person),
            Who::Stranger(_) => None,
        }
    }
}

/// What a client does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) who: Who,
    pub(crate) door: usize,
    /// It shows in the kernel's tables.
    pub(crate) rows: bool,
    /// Bytes that it sends in 1000 s.
    pub(crate) rate: u64,
    /// Its address, as a number.
    pub(crate) address: u32,
}

/// A connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// No other ever has this number.
    pub(crate) id: u32,
    pub(crate) client: Client,
    pub(crate) since: Ms,
    /// When the server accepted it.
    pub(crate) accepted: Option<Ms>,
    /// When the other end went without a word.
    pub(crate) cut: Option<Ms>,
    /// It goes on to another door.
    pub(crate) onward: bool,
    port: u16,
    inode: NonZeroU64,
}

impl Link {
    pub(crate) fn alive(&self) -> bool {
        self.cut.is_none()
    }

    pub(crate) fn peer(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.client.address))
    }

    /// How many bytes have come in on it.
    pub(crate) fn received(&self, now: Ms) -> u64 {
        let until = self.cut.unwrap_or(now);
        HANDSHAKE + (until - self.since) / SECOND * self.client.rate / 1000
    }

    /// The row of the server's side.
    pub(crate) fn row(&self, door: &Door, received: Option<u64>) -> ConnectionRow {
        let socket = Socket {
            network: id(door.network),
            local: SocketAddr::new(ip(door.network), door.port),
            peer: SocketAddr::new(self.peer(), self.port),
            inode: self.accepted.map(|_| self.inode),
        };
        ConnectionRow { socket, received }
    }

    /// The row of the connection by which a proxy passes it on, and the proxy's own end of that.
    pub(crate) fn passed_on(&self, from: &Door, to: &Door) -> (ConnectionRow, FarEnd) {
        let local = SocketAddr::new(ip(to.network), to.port);
        let peer = SocketAddr::new(ip(from.network), self.port);
        let inode = NonZeroU64::new(u64::MAX - u64::from(self.id));
        let socket = Socket { network: id(to.network), local, peer, inode };
        (ConnectionRow { socket, received: None }, FarEnd { local: peer, peer: local })
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Link>,
    last_id: u32,
    last_port: u16,
    last_inode: NonZeroU64,
    /// When somebody whom a server may have counted was last seen off.
    company_until: Ms,
    /// When the last row went.
    rows_until: Ms,
    /// Bytes that came in on those that are gone, by the network they were in.
    gone: [u64; 4],
    /// Another number after every change of what the tables show.
    version: u32,
}

impl Default for Links {
    fn default() -> Self {
        let last_inode = NonZeroU64::MIN;
        Links {
            links: Vec::new(),
            last_id: 0,
            last_port: FIRST_PORT,
            last_inode,
            company_until: 0,
            rows_until: 0,
            gone: [0; 4],
            version: 0,
        }
    }
}

impl Links {
    pub(crate) fn all(&self) -> &[Link] {
        &self.links
    }

    /// When the last row went.
    pub(crate) fn rows_until(&self) -> Ms {
        self.rows_until
    }

    /// When somebody whom a server may have counted was last connected.
    pub(crate) fn company_until(&self, now: Ms) -> Ms {
        let counted = |link: &Link| matches!(link.client.who, Who::Person(_) | Who::Stranger(Stranger::Bot));
        if self.links.iter().any(counted) { now } else { self.company_until }
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn open(&mut self, now: Ms, client: Client, accepted: bool, onward: bool) -> u32 {
        self.last_id += 1;
        self.last_port = if self.last_port == LAST_PORT { FIRST_PORT } else { self.last_port + 1 };
        self.last_inode = self.last_inode.saturating_add(1);
        // The tables do not tell two connections from one port apart that were not accepted, so there are none.
        let scanner = client.who == Who::Stranger(Stranger::Scanner) && accepted;
        let free = self.links.iter().all(|link| link.port != SCANNER_PORT);
        self.links.push(Link {
            id: self.last_id,
            client,
            since: now,
            accepted: accepted.then_some(now),
            cut: None,
            onward,
            port: if scanner && free { SCANNER_PORT } else { self.last_port },
            inode: self.last_inode,
        });
        self.version += 1;
        self.last_id
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    pub(crate) fn accept(&mut self, now: Ms, id: u32) {
        self.change(id, |link| link.accepted = link.accepted.or(Some(now)));
    }

    /// The other end goes without a word, so the row stays.
    pub(crate) fn cut(&mut self, now: Ms, id: u32) {
        self.change(id, |link| link.cut = link.cut.or(Some(now)));
    }

    /// It does not go on any more: the server behind the proxy has gone.
    pub(crate) fn stop_going_on(&mut self) {
        self.links.iter_mut().for_each(|link| link.onward = false);
        self.version += 1;
    }

    fn change(&mut self, id: u32, how: impl Fn(&mut Link)) {
        self.links.iter_mut().filter(|link| link.id == id).for_each(how);
        self.version += 1;
    }

    /// Takes those away for which `which` holds, and returns them.
    pub(crate) fn remove(&mut self, now: Ms, doors: &[Door], which: impl Fn(&Link) -> bool) -> Vec<Link> {
        let gone: Vec<Link> = self.links.iter().copied().filter(|link| which(link)).collect();
        for link in &gone {
            if link.client.rows {
                self.rows_until = now;
            }
            if matches!(link.client.who, Who::Person(_) | Who::Stranger(Stranger::Bot)) {
                self.company_until = now;
            }
            self.gone[doors[link.client.door].network] += link.received(now);
        }
        self.links.retain(|link| !which(link));
        self.version += 1;
        gone
    }

    /// Bytes that have come in over TCP in a network since the machine was booted.
    pub(crate) fn received(&self, now: Ms, doors: &[Door], network: usize) -> u64 {
        let links = self.links.iter().filter(|link| doors[link.client.door].network == network);
        let onward = self.links.iter().filter(|link| {
            link.onward && doors[link.client.door].leads_to.is_some_and(|to| doors[to].network == network)
        });
        let open: u64 = links.chain(onward).map(|link| link.received(now)).sum();
        // Headers, and acknowledgements of what the server sends.
        3 * (self.gone[network] + open)
    }
}
