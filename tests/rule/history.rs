//! The rule's terms as plain statements about a whole history of samples.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use mc_idle::idle::{Efs, Patience, Reading, Seen, Socket, Terms};

/// A connection from peer number `peer`; inode 0 is not accepted.
pub(crate) fn socket(peer: u16, inode: u64) -> Socket {
    let address = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    Socket { local: address(25565), peer: address(40000 + peer), inode: NonZeroU64::new(inode) }
}

/// A sample, and how long after the one before it was taken.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub gap: Duration,
    pub reading: Reading,
}

pub(crate) struct History {
    terms: Terms,
    samples: Vec<(Sample, Efs)>,
}

impl History {
    pub(crate) fn new(terms: Terms) -> Self {
        History { terms, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample, efs: Efs) {
        self.samples.push((sample, efs));
    }

    fn seen(&self, at: usize) -> Option<&Seen> {
        match &self.samples[at].0.reading {
            Reading::Seen(seen) => Some(seen),
            Reading::Unknown(_) => None,
        }
    }

    fn between(&self, from: usize, to: usize) -> Duration {
        self.samples[from + 1..=to].iter().map(|(sample, _)| sample.gap).sum()
    }

    /// How long `socket` has been seen at sample `at`, in readable samples without a break.
    fn age(&self, socket: &Socket, at: usize) -> Duration {
        let readable = (0..=at).rev().filter_map(|index| self.seen(index).map(|seen| (index, seen)));
        let first = readable.take_while(|(_, seen)| seen.sockets.contains(socket)).last();
        first.map_or(Duration::ZERO, |(index, _)| self.between(index, at))
    }

    fn players_at(&self, at: usize) -> Option<usize> {
        let mut accepted: Vec<&Socket> =
            self.seen(at)?.sockets.iter().filter(|socket| socket.inode.is_some()).collect();
        accepted.sort();
        accepted.dedup();
        Some(accepted.into_iter().filter(|socket| self.age(socket, at) >= self.terms.min_connection).count())
    }

    /// Readable, and nobody plays: whether a server listens.
    fn empty_with(&self, at: usize) -> Option<bool> {
        (self.players_at(at)? == 0).then_some(self.seen(at)?.listener)
    }

    /// The time counted on the clock that runs at sample `at`.
    fn elapsed_at(&self, at: usize) -> Option<Duration> {
        let last_readable = (0..=at).rev().find(|index| self.seen(*index).is_some())?;
        let listener = self.seen(last_readable)?.listener;
        // The clock began after the last player, and after the last sample that had it the other way with the listener.
        let ends_it = |index: &usize| {
            self.seen(*index).is_some_and(|seen| seen.listener != listener)
                || self.players_at(*index).is_some_and(|players| players > 0)
        };
        let begin = (0..=at).rev().find(ends_it).map_or(0, |index| index + 1);
        let counted = (begin + 1..=at)
            .filter(|index| self.empty_with(*index) == Some(listener) && self.empty_with(*index - 1) == Some(listener));
        Some(counted.map(|index| self.counted_gap(index)).sum())
    }

    fn counted_gap(&self, at: usize) -> Duration {
        let gap = self.samples[at].0.gap;
        if gap > self.terms.interval * 2 { self.terms.interval } else { gap }
    }

    fn due_at(&self, at: usize) -> bool {
        let Some(last_readable) = (0..=at).rev().find_map(|index| self.seen(index)) else { return false };
        let window = if last_readable.listener { self.terms.idle_window } else { self.terms.no_server_window };
        self.elapsed_at(at).is_some_and(|elapsed| elapsed >= window)
    }

    fn last(&self) -> usize {
        self.samples.len() - 1
    }

    pub(crate) fn elapsed(&self) -> Option<Duration> {
        self.elapsed_at(self.last())
    }

    pub(crate) fn players(&self) -> Option<usize> {
        self.players_at(self.last())
    }

    pub(crate) fn due(&self) -> bool {
        self.due_at(self.last())
    }

    /// Nobody at all in the last sample, which was readable: nor anybody waiting for less than half a minute.
    pub(crate) fn nobody(&self) -> bool {
        self.nobody_in(&self.samples[self.last()].0.reading)
    }

    /// The same of another reading at the same time.
    pub(crate) fn nobody_in(&self, reading: &Reading) -> bool {
        let Reading::Seen(seen) = reading else { return false };
        let at = self.last();
        seen.sockets.iter().all(|socket| {
            let known = self.seen(at).is_some_and(|seen| seen.sockets.contains(socket));
            socket.inode.is_none() && known && self.age(socket, at) >= Duration::from_secs(30)
        })
    }

    /// EFS is there, or has been waited for long enough since the stop became due.
    pub(crate) fn efs_allows(&self) -> bool {
        let last = self.last();
        if self.samples[last].1.ready() {
            return true;
        }
        let Patience::AtMost(patience) = self.terms.efs_patience else { return false };
        let became_due = (0..=last).rev().take_while(|index| self.due_at(*index)).last().unwrap_or(last);
        let waited = (became_due + 1..=last)
            .filter(|index| !self.samples[*index - 1].1.ready())
            .map(|index| self.counted_gap(index));
        waited.sum::<Duration>() >= patience
    }
}
