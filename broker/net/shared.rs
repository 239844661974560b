//! What all connections have in common.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use mc_broker_core::connection::machine::Face;
use mc_broker_core::connection::{Common, Vouched};
use mc_broker_core::gate::addresses::AddressLimits;
use mc_broker_core::lobby::{Id, Order};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::coordinator::Message;
use crate::counters::Counters;
use crate::journal::Journal;
use crate::key_pair::KeyPair;
use crate::session_server::SessionServer;

/// Connections at once.
pub const MOST_CONNECTIONS: usize = 12_000;
/// Of them, those of whom nothing is known yet. The oldest one makes room for a new one.
const MOST_ANONYMOUS: usize = 4096;

/// What a connection was waiting for.
#[derive(Debug)]
pub enum Reply {
    Order(Order),
    Vouched(Vouched),
}

/// What all connections have in common.
#[derive(Debug)]
pub struct Shared {
    pub common: Common,
    pub key_pair: KeyPair,
    pub clock: Clock,
    pub coordinator: mpsc::UnboundedSender<Message>,
    pub session_server: SessionServer,
    pub counters: Counters,
    pub journal: Journal,
    /// From where anybody may log in; `None`: from everywhere.
    pub networks: Option<Vec<IpNet>>,
    /// Whether the server is told who a relayed player is.
    pub relay_proxy_header: bool,
    face: Mutex<Arc<Face>>,
    limits: Mutex<AddressLimits>,
    anonymous: Mutex<BTreeMap<Id, AbortHandle>>,
    connections: AtomicUsize,
    next_id: AtomicU64,
}

/// What has to be given to make it.
pub struct SharedParts {
    pub common: Common,
    pub key_pair: KeyPair,
    pub clock: Clock,
    pub coordinator: mpsc::UnboundedSender<Message>,
    pub session_server: SessionServer,
    pub journal: Journal,
    pub networks: Option<Vec<IpNet>>,
    pub relay_proxy_header: bool,
}

/// Never poisoned: a panic would have ended the broker.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    #[must_use]
    pub fn new(parts: SharedParts) -> Self {
        let SharedParts { common, key_pair, clock, coordinator, session_server, journal, networks, relay_proxy_header } =
            parts;
        Shared {
            common,
            key_pair,
            clock,
            coordinator,
            session_server,
            counters: Counters::default(),
            journal,
            networks,
            relay_proxy_header,
            face: Mutex::new(Arc::new(Face::Text(String::new()))),
            limits: Mutex::default(),
            anonymous: Mutex::default(),
            connections: AtomicUsize::new(0),
            next_id: AtomicU64::new(0),
        }
    }

    /// What the server list shows.
    #[must_use]
    pub fn face(&self) -> Arc<Face> {
        Arc::clone(&lock(&self.face))
    }

    /// From now on the list shows this.
    pub fn show(&self, face: Face) {
        *lock(&self.face) = Arc::new(face);
    }

    /// The limits of each address.
    pub fn limits(&self) -> MutexGuard<'_, AddressLimits> {
        lock(&self.limits)
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether somebody at `address` may log in.
    #[must_use]
    pub fn may_log_in_from(&self, address: IpAddr) -> bool {
        self.networks
            .as_ref()
            .is_none_or(|networks| networks.iter().any(|network| network.contains(&address.to_canonical())))
    }

    /// Takes one more connection; `None`: there are too many.
    pub fn open(self: &Arc<Self>) -> Option<OpenConnection> {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Some(OpenConnection { shared: Arc::clone(self), id, address: None, asked: false })
    }

    /// The connection `id`, run by this task, is anonymous until [`Shared::known`] is called. Too many of them: the oldest
    /// one is closed.
    pub fn anonymous(&self, id: Id, task: AbortHandle) {
        let mut anonymous = lock(&self.anonymous);
        anonymous.insert(id, task);
        if anonymous.len() > MOST_ANONYMOUS
            && let Some((_, oldest)) = anonymous.pop_first()
        {
            oldest.abort();
            Counters::add(&self.counters.refused);
        }
    }

    /// Something is known of the connection `id`, or it has ended.
    pub fn known(&self, id: Id) {
        lock(&self.anonymous).remove(&id);
    }
}

/// An open connection: counted until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    pub shared: Arc<Shared>,
    pub id: Id,
    /// The client's, once it is known and counted.
    address: Option<IpAddr>,
    /// Whether the coordinator knows of it.
    asked: bool,
}

impl OpenConnection {
    /// Counts it as one of `address`; whether that may have one more.
    pub fn enter(&mut self, address: IpAddr) -> bool {
        let may = self.shared.limits().enter(address);
        self.address = may.then_some(address);
        may
    }

    /// Tells the coordinator something.
    pub fn tell_coordinator(&mut self, message: Message) {
        self.asked = true;
        // The coordinator ends with the program; whoever waits for it notices.
        let _ = self.shared.coordinator.send(message);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.address {
            self.shared.limits().leave(address, self.shared.clock.now());
        }
        self.shared.known(self.id);
        if self.asked {
            self.tell_coordinator(Message::Leave(self.id));
        }
    }
}
