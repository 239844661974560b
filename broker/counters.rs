//! What has happened since the broker started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts; each only ever grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Status pings that were answered, of whatever age.
    pub pings: AtomicU64,
    /// Logins that got as far as a name.
    pub logins: AtomicU64,
    pub handed_over: AtomicU64,
    pub relayed: AtomicU64,
    /// Starts that the launcher has accepted.
    pub starts: AtomicU64,
    /// Connections that were refused: too many of one address, or of all.
    pub refused: AtomicU64,
    /// Connections that sent something else than a login or a ping.
    pub malformed: AtomicU64,
    /// Connections on which nothing came in for too long.
    pub silent: AtomicU64,
    /// Players who were turned away, by the word for why.
    turned_away: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// One more.
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// One more player was turned away.
    pub fn turned_away(&self, why: &'static str) {
        *self.reasons().entry(why).or_default() += 1;
    }

    /// How many players were turned away, by the word for why.
    #[must_use]
    pub fn all_turned_away(&self) -> BTreeMap<&'static str, u64> {
        self.reasons().clone()
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // Never poisoned: a panic would have ended the broker.
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
