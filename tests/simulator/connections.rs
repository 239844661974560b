//! Connections to the server's port, as they are and as the tables show them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;

use mc_idle::idle::{Seen, Socket};

/// The last source port that is given out before they begin anew.
const LAST_PORT: u16 = 60_000;
/// Where they begin.
const FIRST_PORT: u16 = 33_000;
/// A scanner with a TCP stack of its own comes from the same port every time.
const SCANNER_PORT: u16 = 61_000;

/// A connection that is ESTABLISHED in the kernel's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    /// No other connection ever has this number.
    pub id: u32,
    /// The player whose it is.
    pub player: Option<usize>,
    /// The other end is still there.
    pub alive: bool,
    port: u16,
    inode: Option<NonZeroU64>,
}

impl Connection {
    pub(crate) fn accepted(&self) -> bool {
        self.inode.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Connections {
    rows: Vec<Connection>,
    last_id: u32,
    last_port: u16,
    last_inode: NonZeroU64,
    /// Another number after every change of what the tables show.
    version: u32,
}

impl Default for Connections {
    fn default() -> Self {
        Connections { rows: Vec::new(), last_id: 0, last_port: FIRST_PORT, last_inode: NonZeroU64::MIN, version: 0 }
    }
}

impl Connections {
    pub(crate) fn rows(&self) -> &[Connection] {
        &self.rows
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// A new connection; `scanner`: from the scanner's own port, if that is free.
    pub(crate) fn open(&mut self, player: Option<usize>, scanner: bool, accepted: bool) -> u32 {
        self.last_id += 1;
        self.last_port = if self.last_port == LAST_PORT { FIRST_PORT } else { self.last_port + 1 };
        // The tables do not tell two connections from one port apart that were not accepted, so there are none.
        let free = accepted && self.rows.iter().all(|row| row.port != SCANNER_PORT);
        let port = if scanner && free { SCANNER_PORT } else { self.last_port };
        let inode = accepted.then(|| self.inode());
        self.rows.push(Connection { id: self.last_id, player, alive: true, port, inode });
        self.version += 1;
        self.last_id
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Connection> {
        self.rows.iter().find(|row| row.id == id)
    }

    pub(crate) fn accept(&mut self, id: u32) {
        let inode = self.inode();
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.inode.get_or_insert(inode);
            self.version += 1;
        }
    }

    /// The other end goes without a word, so the row stays.
    pub(crate) fn cut(&mut self, id: u32) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.alive = false;
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        self.rows.retain(|row| row.id != id);
        self.version += 1;
    }

    /// Takes all away, and says whose they were.
    pub(crate) fn clear(&mut self) -> Vec<Connection> {
        self.version += 1;
        std::mem::take(&mut self.rows)
    }

    fn inode(&mut self) -> NonZeroU64 {
        self.last_inode = self.last_inode.saturating_add(1);
        self.last_inode
    }
}

/// What a table that shows `rows` looks like.
pub(crate) fn table(listener: bool, rows: &[Connection]) -> Seen {
    let address = |ip, port| SocketAddr::new(IpAddr::V4(ip), port);
    let local = address(Ipv4Addr::new(10, 0, 0, 5), 25565);
    let peer = |port| address(Ipv4Addr::new(203, 0, 113, 7), port);
    let mut sockets: Vec<Socket> =
        rows.iter().map(|row| Socket { local, peer: peer(row.port), inode: row.inode }).collect();
    // The kernel's tables are not a snapshot: a row may be there twice.
    if rows.len() % 3 == 2 {
        sockets.extend(sockets.first().copied());
    }
    Seen { listener, sockets }
}
