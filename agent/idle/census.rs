//! How old each connection is, and so what it counts as.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::sample::{Moment, Seen, Socket};
use super::view::{Connection, Standing};

/// A connection that the server has not accepted holds off a stop for this long after it was first seen.
/// Longer, and it is the backlog of a frozen server, not a player joining.
pub const BACKLOG_GRACE: Duration = Duration::from_secs(30);

/// What the sockets of one reading count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections old enough to be players.
    pub players: usize,
    /// Accepted connections that are not yet players.
    pub young: usize,
    /// Not yet accepted, first seen less than [`BACKLOG_GRACE`] ago.
    pub joining: usize,
}

impl Counts {
    /// Whether nobody is there: no connection at all, and nobody waiting to be accepted.
    #[must_use]
    pub fn nobody(self) -> bool {
        self == Counts::default()
    }
}

/// When each open connection was first seen in an unbroken run of readable samples.
#[derive(Debug, Default)]
pub struct Census {
    first_seen: BTreeMap<Socket, Moment>,
}

impl Census {
    /// Knows `first_seen` already, as far as it is not later than `now`.
    #[must_use]
    pub fn remembering(first_seen: Vec<(Socket, Moment)>, now: Moment) -> Self {
        Census { first_seen: first_seen.into_iter().filter(|(_, at)| *at <= now).collect() }
    }

    /// What [`Census::remembering`] takes.
    #[must_use]
    pub fn known(&self) -> Vec<(Socket, Moment)> {
        self.first_seen.iter().map(|(socket, at)| (*socket, *at)).collect()
    }

    /// Takes in a readable sample: new sockets are noted, those that are gone forgotten.
    pub fn update(&mut self, now: Moment, seen: &Seen) {
        let open = seen.sockets.iter().map(|socket| (*socket, self.first_seen(socket, now))).collect();
        self.first_seen = open;
    }

    /// Counts `seen` with the ages known so far; a socket never seen before is new.
    #[must_use]
    pub fn count(&self, now: Moment, seen: &Seen, min_connection: Duration) -> Counts {
        let distinct: BTreeSet<Socket> = seen.sockets.iter().copied().collect();
        let mut counts = Counts::default();
        for socket in distinct {
            match standing(&socket, self.age(&socket, now), min_connection) {
                Standing::Player => counts.players += 1,
                Standing::Young => counts.young += 1,
                Standing::Joining => counts.joining += 1,
                Standing::Backlog => {}
            }
        }
        counts
    }

    /// Every connection of the last readable sample.
    pub fn connections(&self, now: Moment, min_connection: Duration) -> impl Iterator<Item = Connection> {
        self.first_seen.keys().map(move |socket| {
            let age = self.age(socket, now);
            Connection { socket: *socket, age, standing: standing(socket, age, min_connection) }
        })
    }

    fn age(&self, socket: &Socket, now: Moment) -> Duration {
        now.since(self.first_seen(socket, now))
    }

    fn first_seen(&self, socket: &Socket, now: Moment) -> Moment {
        self.first_seen.get(socket).copied().unwrap_or(now)
    }
}

fn standing(socket: &Socket, age: Duration, min_connection: Duration) -> Standing {
    match socket.inode {
        Some(_) if age >= min_connection => Standing::Player,
        Some(_) => Standing::Young,
        None if age < BACKLOG_GRACE => Standing::Joining,
        None => Standing::Backlog,
    }
}
