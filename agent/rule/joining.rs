//! How long a due stop waits for connections that may be somebody joining.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::answers::ListenerId;
use super::facts::Socket;
use super::moment::Moment;
use super::tracker::{ConnectionClass, EndedConnection, Tracked};

/// A connection that was open for this long was not a scanner's: scanners, and the game's server list, stay connected
/// for 30 s.
pub const SERIOUS: Duration = Duration::from_secs(35);
/// Samples may be late by up to this much.
const LATE: Duration = Duration::from_secs(1);
/// After a connection of that kind has ended, its client has this long to come back.
pub const AGAIN: Duration = Duration::from_mins(2);
/// At most this many addresses are remembered; beyond that, the oldest are forgotten and count as new.
const ADDRESSES: usize = 4096;

/// Whether connections delay a due stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There are none.
    Clear,
    Waits,
    /// Patience has run out: they do, unless each of these listeners says again, now, that nobody is online.
    UnlessNobody(BTreeSet<ListenerId>),
    /// Patience has run out, but there is no listener that could say that.
    Unanswerable,
}

/// What matters here of a connection.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub socket: Socket,
    /// How long it has been open; `None`: unknown, perhaps long.
    pub open_for: Option<Duration>,
    /// The listeners whose answers apply to it.
    pub listeners: Vec<ListenerId>,
}

impl Candidate {
    /// `tracked`, if it may be somebody joining.
    #[must_use]
    pub fn of(tracked: &Tracked<'_>) -> Option<Self> {
        let joins = matches!(tracked.class, ConnectionClass::Young | ConnectionClass::Joining);
        joins.then(|| Candidate {
            socket: tracked.socket,
            open_for: tracked.open_for,
            listeners: tracked.listeners.to_vec(),
        })
    }
}

/// How long a due stop has waited in total since somebody last played.
#[derive(Debug, Default)]
pub struct Joining {
    waited: Duration,
    /// When each address was first seen during this wait.
    addresses: BTreeMap<IpAddr, Moment>,
    /// When a connection that was not a scanner's last ended, by the listeners whose answers apply to it.
    ended: BTreeMap<Vec<ListenerId>, Moment>,
}

impl Joining {
    /// Continues a wait that has already lasted for `waited`; a connection that was not a scanner's last ended at
    /// `ended`.
    #[must_use]
    pub fn resuming(waited: Duration, ended: Option<Moment>) -> Self {
        Joining { waited, ended: ended.map(|at| (Vec::new(), at)).into_iter().collect(), ..Joining::default() }
    }

    /// When a connection that was not a scanner's last ended.
    #[must_use]
    pub fn last_ended(&self) -> Option<Moment> {
        self.ended.values().max().copied()
    }

    /// How long the due stop has waited so far.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Records which connections have gone. Each may have begun almost an `interval` before it was first seen and ended
    /// as long after it was last seen; in a network that had only just been found it may have begun long before.
    pub fn ended(&mut self, now: Moment, gone: &[EndedConnection], min_connection: Duration, interval: Duration) {
        let long =
            |gone: &&EndedConnection| gone.open_for.is_none_or(|open_for| open_for + interval * 2 > SERIOUS + LATE);
        let serious = |gone: &&EndedConnection| gone.seen_for < min_connection && long(gone);
        self.ended.retain(|_, at| now.since(*at) < AGAIN);
        self.ended.extend(gone.iter().filter(serious).map(|gone| (gone.listeners.clone(), now)));
    }

    /// Records what a sample shows while the stop is due, `gap` after the previous one.
    pub fn take_in(&mut self, now: Moment, gap: Duration, candidates: &[Candidate]) {
        if !candidates.is_empty() || self.may_come_again(now).next().is_some() {
            self.waited += gap;
        }
        self.meet(now, candidates);
    }

    /// Records which addresses have connections while the stop is due.
    pub fn meet(&mut self, now: Moment, candidates: &[Candidate]) {
        for candidate in candidates {
            self.addresses.entry(candidate.socket.peer.ip()).or_insert(now);
        }
        while self.addresses.len() > ADDRESSES {
            let Some(oldest) = self.addresses.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip) else { break };
            self.addresses.remove(&oldest);
        }
    }

    /// Starts over, because somebody plays: the next stop gets its full patience.
    pub fn reset(&mut self) {
        self.waited = Duration::ZERO;
        self.addresses.clear();
    }

    /// Whether `candidates` delay the stop at `now`, before or after `patience` has run out.
    #[must_use]
    pub fn verdict(
        &self,
        now: Moment,
        candidates: &[Candidate],
        patience: Duration,
        min_connection: Duration,
    ) -> Verdict {
        if candidates.is_empty() && self.may_come_again(now).next().is_none() {
            return Verdict::Clear;
        }
        let newcomer = |ip: IpAddr| {
            let grace = min_connection.saturating_add(AGAIN);
            self.addresses.get(&ip).is_none_or(|first| now.since(*first) < grace)
        };
        let holds = |candidate: &Candidate| {
            candidate.open_for.is_none_or(|open_for| open_for >= SERIOUS) || newcomer(candidate.socket.peer.ip())
        };
        if self.waited < patience || candidates.iter().any(holds) {
            return Verdict::Waits;
        }
        let concerned = candidates.iter().map(|candidate| &candidate.listeners).chain(self.may_come_again(now));
        if concerned.clone().any(Vec::is_empty) {
            return Verdict::Unanswerable;
        }
        Verdict::UnlessNobody(concerned.flatten().copied().collect())
    }

    /// For each ended connection whose client may come back, the listeners whose answers apply to it.
    fn may_come_again(&self, now: Moment) -> impl Iterator<Item = &Vec<ListenerId>> + Clone {
        self.ended.iter().filter(move |(_, at)| now.since(**at) < AGAIN).map(|(listeners, _)| listeners)
    }
}
