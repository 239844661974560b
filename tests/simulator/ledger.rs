//! What the day came to, counted from what really was so, whoever watched.

use std::collections::BTreeMap;

use super::oracle::cut_off::Unseen;
use super::script::{MINUTE, Ms};
use super::settings::Settings;

/// What went wrong has an effect for so long after its end: a server starts again, a refused request is tried again.
const AFTERMATH: Ms = 6 * MINUTE;
/// A stop that comes later than this after its window is over was missed.
const SLACK: Ms = 2 * MINUTE;

/// What was paid for before a stop although nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Paid {
    pub(crate) idle: Ms,
    /// Nothing went wrong in that time.
    pub(crate) faultless: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) boots: u64,
    /// How long the machine ran.
    pub(crate) up: Ms,
    pub(crate) stops: u64,
    /// Stops while a player was connected.
    pub(crate) cut_off: u64,
    /// Those of them on players none of whom anything could show.
    pub(crate) stops_on_unseen: u64,
    /// How many of those there were, and why.
    pub(crate) unseen: BTreeMap<Unseen, u64>,
    /// Other stops while the player who had started the machine still waited for the server.
    pub(crate) left_waiting: u64,
    /// Spells of emptiness that lasted longer than they had to.
    pub(crate) missed: u64,
    /// Those of them in which nothing went wrong.
    pub(crate) missed_faultless: u64,
    /// How long the machine ran with nobody there.
    pub(crate) idle: Ms,
    /// Of every stop while nobody was there.
    pub(crate) paid: Vec<Paid>,
    empty: Option<Empty>,
    faults_until: Ms,
    /// Who is there while a request arrives.
    unseen_now: Vec<Unseen>,
}

/// The machine runs, and nobody is there.
#[derive(Debug, Clone, Copy)]
struct Empty {
    since: Ms,
    faultless: bool,
    /// Part of it: with a server, or without.
    spell: Spell,
}

#[derive(Debug, Clone, Copy)]
struct Spell {
    listening: bool,
    since: Ms,
    faultless: bool,
}

impl Ledger {
    /// The machine is without players from now on (with a server or without), or not.
    pub(crate) fn note(&mut self, now: Ms, settings: &Settings, empty: Option<bool>) {
        let faultless = self.faults_until <= now;
        let was = self.empty;
        if was.map(|empty| empty.spell.listening) == empty {
            return;
        }
        if let Some(Empty { spell, since, .. }) = was {
            if now - spell.since > settings.window(spell.listening) + SLACK {
                self.missed += 1;
                self.missed_faultless += u64::from(spell.faultless);
            }
            if empty.is_none() {
                self.idle += now - since;
            }
        }
        self.empty = empty.map(|listening| {
            let spell = Spell { listening, since: now, faultless };
            match was {
                Some(was) => Empty { spell, ..was },
                None => Empty { since: now, faultless, spell },
            }
        });
    }

    /// Something goes wrong for some time.
    pub(crate) fn fault(&mut self, now: Ms, lasts: Ms) {
        self.faults_until = self.faults_until.max(now + lasts + AFTERMATH);
        if let Some(empty) = &mut self.empty {
            empty.faultless = false;
            empty.spell.faultless = false;
        }
    }

    /// Whom a request that arrives now cuts off, if it is granted, though nothing shows them.
    pub(crate) fn cut_off_unseen(&mut self, people: &[Unseen]) {
        self.unseen_now = people.to_vec();
    }

    /// The machine is stopped.
    pub(crate) fn stop(&mut self, now: Ms, settings: &Settings, connected: bool, waits: bool) {
        self.stops += 1;
        self.cut_off += u64::from(connected);
        self.left_waiting += u64::from(waits && !connected);
        self.stops_on_unseen += u64::from(connected && !self.unseen_now.is_empty());
        for why in self.unseen_now.drain(..) {
            *self.unseen.entry(why).or_default() += 1;
        }
        if let Some(Empty { since, faultless, .. }) = self.empty {
            self.paid.push(Paid { idle: now - since, faultless });
        }
        self.note(now, settings, None);
    }

    /// Since when nobody is there, without change of the server.
    pub(crate) fn spell(&self) -> Option<(Ms, bool)> {
        self.empty.map(|empty| (empty.spell.since, empty.spell.listening))
    }

    pub(crate) fn add(&mut self, other: Ledger) {
        self.boots += other.boots;
        self.up += other.up;
        self.stops += other.stops;
        self.cut_off += other.cut_off;
        self.stops_on_unseen += other.stops_on_unseen;
        for (why, number) in other.unseen {
            *self.unseen.entry(why).or_default() += number;
        }
        self.left_waiting += other.left_waiting;
        self.missed += other.missed;
        self.missed_faultless += other.missed_faultless;
        self.idle += other.idle;
        self.paid.extend(other.paid);
    }
}
