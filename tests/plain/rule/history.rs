//! The rule's terms as plain statements about a whole history of samples.

use std::time::Duration;

use mc_idle_rule::facts::Sockets;
use mc_idle_rule::{Efs, Facts, Patience, RuleSettings, Socket};

/// A sample, and how long after the one before it was taken.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) gap: Duration,
    pub(crate) facts: Facts,
}

pub(crate) struct History {
    rule_settings: RuleSettings,
    samples: Vec<(Sample, Efs)>,
    /// Whether a stop was due at each of them: what has been does not change.
    due: Vec<bool>,
}

/// What the host's tables show, if they could be read. There is no other network in these histories.
fn seen(facts: &Facts) -> Option<&Sockets> {
    facts.networks.first().and_then(|host| host.sockets.as_ref().ok())
}

fn shows(sockets: &Sockets, socket: &Socket) -> bool {
    sockets.connections.iter().any(|connection| connection.socket == *socket)
}

impl History {
    pub(crate) fn new(rule_settings: RuleSettings) -> Self {
        History { rule_settings, samples: Vec::new(), due: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample, efs: Efs) {
        self.samples.push((sample, efs));
        self.due.push(self.due_at(self.last()));
    }

    fn seen(&self, at: usize) -> Option<&Sockets> {
        seen(&self.samples[at].0.facts)
    }

    fn listener(&self, at: usize) -> Option<bool> {
        self.seen(at).map(|sockets| !sockets.listening.is_empty())
    }

    fn between(&self, from: usize, to: usize) -> Duration {
        self.samples[from + 1..=to].iter().map(|(sample, _)| sample.gap).sum()
    }

    /// The readable samples without a break, up to the one at `at`, that show `socket`.
    fn run_of(&self, socket: &Socket, at: usize) -> impl Iterator<Item = usize> {
        let readable = (0..=at).rev().filter_map(|index| self.seen(index).map(|sockets| (index, sockets)));
        readable.take_while(|(_, sockets)| shows(sockets, socket)).map(|(index, _)| index)
    }

    /// How long `socket` has been seen at sample `at`.
    fn age(&self, socket: &Socket, at: usize) -> Duration {
        self.run_of(socket, at).last().map_or(Duration::ZERO, |first| self.between(first, at))
    }

    /// Something listens, or has since the row was first seen.
    fn listened(&self, socket: &Socket, at: usize) -> bool {
        self.run_of(socket, at).any(|index| self.listener(index) == Some(true))
    }

    fn players_at(&self, at: usize) -> Option<usize> {
        let rows = self.seen(at)?.connections.iter().map(|connection| &connection.socket);
        let mut accepted: Vec<&Socket> = rows.filter(|socket| socket.inode.is_some()).collect();
        accepted.sort();
        accepted.dedup();
        let plays =
            |socket: &&Socket| self.age(socket, at) >= self.rule_settings.min_connection && self.listened(socket, at);
        Some(accepted.into_iter().filter(plays).count())
    }

    /// Readable, and nobody plays: whether a server listens.
    fn empty_with(&self, at: usize) -> Option<bool> {
        (self.players_at(at)? == 0).then(|| self.listener(at)).flatten()
    }

    /// The time counted on the idle or the no-server clock, whichever runs at sample `at`.
    fn elapsed_at(&self, at: usize) -> Option<Duration> {
        let last_readable = (0..=at).rev().find(|index| self.seen(*index).is_some())?;
        let listener = self.listener(last_readable)?;
        // The clock began after the last player, and after the last sample that had it the other way with the listener.
        let ends_it = |index: &usize| {
            self.listener(*index).is_some_and(|other| other != listener)
                || self.players_at(*index).is_some_and(|players| players > 0)
        };
        let begin = (0..=at).rev().find(ends_it).map_or(0, |index| index + 1);
        let counted = (begin + 1..=at)
            .filter(|index| self.empty_with(*index) == Some(listener) && self.empty_with(*index - 1) == Some(listener));
        Some(counted.map(|index| self.counted_gap(index)).sum())
    }

    /// The readable time without a player, at sample `at`.
    fn no_player_at(&self, at: usize) -> Duration {
        let players = |index: &usize| self.players_at(*index).is_some_and(|players| players > 0);
        let begin = (0..=at).rev().find(players).map_or(0, |index| index + 1);
        let empty = |index: usize| self.empty_with(index).is_some();
        let counted = (begin + 1..=at).filter(|index| empty(*index) && empty(*index - 1));
        counted.map(|index| self.counted_gap(index)).sum()
    }

    fn counted_gap(&self, at: usize) -> Duration {
        let gap = self.samples[at].0.gap;
        if gap > self.rule_settings.interval * 2 { self.rule_settings.interval } else { gap }
    }

    /// What has been counted, and what is left, of each clock at sample `at`.
    fn clocks_at(&self, at: usize) -> Option<[(Duration, Duration); 2]> {
        let last_readable = (0..=at).rev().find_map(|index| self.listener(index))?;
        let windows = self.rule_settings.windows;
        let window = if last_readable { windows.idle } else { windows.no_server };
        let of = |elapsed: Duration, window: Duration| (elapsed, window.saturating_sub(elapsed));
        Some([of(self.elapsed_at(at)?, window), of(self.no_player_at(at), windows.idle + windows.no_server)])
    }

    fn due_at(&self, at: usize) -> bool {
        self.clocks_at(at).is_some_and(|clocks| clocks.iter().any(|(_, left)| left.is_zero()))
    }

    fn last(&self) -> usize {
        self.samples.len() - 1
    }

    /// What has been counted on the clock that will be over first.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let clocks = self.clocks_at(self.last())?;
        clocks.iter().min_by_key(|(_, left)| *left).map(|(elapsed, _)| *elapsed)
    }

    pub(crate) fn players(&self) -> Option<usize> {
        self.players_at(self.last())
    }

    pub(crate) fn due(&self) -> bool {
        self.due[self.last()]
    }

    /// Nobody at all in the last sample, which was readable: nor anybody waiting for less than half a minute.
    pub(crate) fn nobody(&self) -> bool {
        self.nobody_in(&self.samples[self.last()].0.facts)
    }

    /// The same of another look at the same time.
    pub(crate) fn nobody_in(&self, facts: &Facts) -> bool {
        let Some(sockets) = seen(facts) else { return false };
        let at = self.last();
        let known = |socket: &Socket| self.seen(at).is_some_and(|sockets| shows(sockets, socket));
        sockets.connections.iter().map(|connection| &connection.socket).all(|socket| {
            let unlistened = sockets.listening.is_empty() && !(known(socket) && self.listened(socket, at));
            let backlog = socket.inode.is_none() && known(socket) && self.age(socket, at) >= Duration::from_secs(30);
            unlistened || backlog
        })
    }

    /// EFS is there, or due stops have waited for it for long enough since the last player.
    pub(crate) fn efs_allows(&self) -> bool {
        let last = self.last();
        if self.samples[last].1.ready() {
            return true;
        }
        let Patience::AtMost(patience) = self.rule_settings.efs_patience else { return false };
        let players = |index: &usize| self.players_at(*index).is_some_and(|players| players > 0);
        let begin = (0..=last).rev().find(players).map_or(0, |index| index + 1);
        let waited = (begin + 1..=last)
            .filter(|index| self.due[*index - 1] && !self.samples[*index - 1].1.ready())
            .map(|index| self.counted_gap(index));
        waited.sum::<Duration>() >= patience
    }
}
