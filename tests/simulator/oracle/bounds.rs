//! The second promise: an empty machine does stop, and none is stopped before its time.
//!
//! Two times are kept. What the clocks *must* show: readable, observed time in which nothing that the contract names could
//! have stopped or reset them. What they *may* show at most. Both are coarse, and err on the agent's side.

use mc_idle_rule::{Asked, Edition};

use super::super::links::{Link, Who};
use super::super::script::{MINUTE, Ms, SECOND, Stranger};
use super::super::sight::{Source, readable};
use super::super::site::{Door, Manner};
use super::super::world::World;
use super::cut_off::{Look, shows_rows};
use super::voices::{FOUND, Voices};
use super::{Judgement, Promise};

/// A preparation, an answer of EC2, and what a sample or two are late.
const SLACK: Ms = MINUTE;
/// An answer stands until the next question, and after its listener has gone for two minutes.
const LINGERS: Ms = 200 * SECOND;
/// An answer that no question has followed for this long is none any more.
const UNHEARD: Ms = 4 * MINUTE;
/// The longest wait after an attempt that came to nothing.
const BACK_OFF: Ms = 5 * MINUTE + 15 * SECOND;

/// All times are the machine's, but for `nobody_plays_since`.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// What the third clock must show.
    counted: Ms,
    /// What the clock of this state of the listeners must show.
    run: Ms,
    listening: bool,
    /// For how long a stop has been due with nothing that it could wait for.
    over: Ms,
    /// What any clock may show at most.
    may: Ms,
    /// For how long EFS may have been waited for at most.
    efs_may: Ms,
    efs_waited: Ms,
    /// The last sample showed that EFS is not there.
    efs_missed: bool,
    joining_waited: Ms,
    addresses: Vec<u32>,
    newcomer: Ms,
    /// Nothing is sure before these times: that somebody is there, what cannot be seen, what is waited for.
    occupied_until: Ms,
    unknown_until: Ms,
    waits_until: Ms,
    nobody_plays_since: Option<Ms>,
    /// The shortest window since then: while it was set the stop may have been due, and have waited.
    shortest: Option<Ms>,
    /// Nothing that was seen before counts.
    begun: Option<Ms>,
    noticed_since: Option<Ms>,
    voices: Voices,
    now: Ms,
}

impl Bounds {
    /// Another agent goes on from what was known, perhaps a sample ago.
    pub(super) fn goes_on(&mut self, now: Ms) {
        self.voices.goes_on();
        // Clocks and holds survive, what was heard of EC2 does not: another agent hears of a notice for the first time.
        self.noticed_since = None;
        self.loses_time(now);
    }

    fn loses_time(&mut self, now: Ms) {
        let lost = 20 * SECOND;
        self.counted = self.counted.saturating_sub(lost);
        self.run = self.run.saturating_sub(lost);
        self.unknown_until = self.unknown_until.max(now + FOUND);
        if self.occupied_until + 10 * MINUTE > now {
            // What was said then stands, until the server is asked again or has gone for two minutes.
            self.occupied_until = now + LINGERS;
        }
    }

    pub(super) fn waits_until(&mut self, moment: Ms) {
        self.waits_until = self.waits_until.max(moment);
    }

    /// Since when a stop may have been due, in the world's time: for so long nobody has been there for as long as a player, or
    /// has been counted.
    pub(super) fn may_be_due_since(&self) -> Ms {
        self.nobody_plays_since.zip(self.shortest).map_or(Ms::MAX, |(since, window)| since + window)
    }

    /// Nothing is unknown.
    pub(super) fn sees(&self) -> bool {
        self.now > self.unknown_until
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.now > self.occupied_until
    }

    pub(super) fn sample(&mut self, world: &World, gap: Option<Ms>, watches_since: Ms, preparing: bool) -> Judgement {
        let (now, settings) = (world.moment(), *world.settings());
        self.now = now;
        self.nobody_plays_since.get_or_insert(world.now());
        let begun = *self.begun.get_or_insert(now);
        let observed = gap.filter(|gap| *gap <= 2 * settings.interval);
        // More than one interval is counted of no gap.
        let most = gap.map_or(0, |gap| observed.unwrap_or(settings.interval.min(gap)));
        if gap.is_some_and(|gap| gap > UNHEARD) {
            // What was said before that is as good as silence.
            self.voices.unheard();
            self.loses_time(now);
            self.run = 0;
        }
        if self.voices.listen(world, watches_since) {
            // One that comes back between two samples may have been missed in a last look.
            self.unknown_until = self.unknown_until.max(now + FOUND);
            self.run = 0;
        }
        self.may += most;
        self.efs_missed = !world.efs_answers();
        self.efs_may += if world.efs_answers() { 0 } else { most };
        if world.links().iter().any(|link| is_surely_a_player(world, link, watches_since)) {
            (self.may, self.efs_may) = (0, 0);
        }
        let somebody = world.links().iter().any(|link| self.may_count(world, link, watches_since));
        let left = world.now() - world.company_until();
        // A row that no sample showed may have been shown in a last look.
        let short = world.now() - world.rows_until() + settings.min_connection < 3 * settings.interval;
        if somebody || short || self.voices.make_up(world) {
            self.occupied_until = now + LINGERS;
        } else if left < LINGERS {
            self.occupied_until = self.occupied_until.max(now + LINGERS - left);
        }
        let plays = |link: &Link| {
            let seen = now - begun.max(watches_since);
            let age = (world.now() - link.since).min(seen).saturating_sub(2 * settings.interval + FOUND);
            let door = &world.doors()[link.client.door];
            // An answer that takes long may be missed each time.
            let told =
                matches!(door.manner, Manner::Honest | Manner::MadeUp) && world.answer_at(link.client.door).is_some();
            let plays = told && matches!(link.client.who, Who::Person(_));
            let asked = plays && settings.ask.is_some_and(|every| age >= every + 10 * SECOND);
            let silent = link.cut.is_some_and(|cut| world.now() - cut >= 5 * MINUTE);
            let ghost = world.now() - link.since >= 10 * MINUTE && (silent || link.client.who.person().is_none());
            let shown = link.client.rows && readable(world, Source::Tables, door.network);
            link.accepted.is_some() && (asked || (shown && age >= settings.min_connection && !ghost))
        };
        let window = settings.idle_window.min(settings.no_server_window);
        self.shortest = Some(self.shortest.map_or(window, |shortest| shortest.min(window)));
        if world.links().iter().any(plays) {
            (self.nobody_plays_since, self.shortest) = (Some(world.now()), Some(window));
        }
        let networks = (0..world.site().networks()).filter(|network| world.has_network(*network));
        let unreadable = networks.into_iter().any(|network| !readable(world, Source::Tables, network));
        if unreadable || self.voices.may_be_unknown(world, left) {
            self.unknown_until = self.unknown_until.max(now + 2 * settings.interval + SECOND);
        }
        if unreadable && !self.is_quiet() {
            // A listener that cannot be seen is not seen to have gone: what it said stands until it is.
            self.occupied_until = self.occupied_until.max(now + LINGERS);
        }
        self.notice(world);
        let listening = Self::is_listening(world);
        if !self.is_quiet() {
            (self.counted, self.run, self.over, self.efs_waited, self.joining_waited) = (0, 0, 0, 0, 0);
            self.addresses.clear();
        } else if now > self.unknown_until {
            let counted = observed.unwrap_or(0);
            self.counted += counted;
            self.run += counted;
        }
        if self.listening != listening {
            self.run = 0;
        }
        self.listening = listening;
        // Whether a Bedrock port is a server's depends on when it was asked.
        let told = world.doors().iter().any(|door| door.edition == Edition::Java);
        let due = self.counted >= settings.both_windows() || (told && self.run >= settings.window(listening));
        // Whoever has come and gone before that may be waited for afterwards.
        let waits = self.waits(world, if due { most } else { 0 }, watches_since);
        if !due {
            self.over = 0;
        }
        if !due || waits || now <= self.unknown_until || preparing {
            return Ok(());
        }
        self.over += observed.unwrap_or(0);
        if self.over > SLACK + 4 * settings.interval {
            return Err((
                Promise::Bound,
                "the machine runs on though nobody is there, and nothing that it could wait for",
            ));
        }
        Ok(())
    }

    /// Why something has to be unknown to the agent.
    pub(super) fn is_unknown(&self, world: &World, asked: Option<Ms>) -> Option<&'static str> {
        self.voices.is_unknown(world, asked)
    }

    /// The agent was told an answer.
    pub(super) fn hears(&mut self, world: &World, asked: &Asked) {
        self.voices.hear(world, asked);
    }

    /// Whether a server denies that anybody is online, when it is asked.
    pub(super) fn denies(&self, world: &World, door: usize) -> bool {
        matches!(world.doors()[door].manner, Manner::Honest | Manner::Zero) && self.voices.has_answered_for(door, 0)
    }

    /// A request arrives.
    pub(super) fn arrives(&self, world: &World, look: &Look) -> Judgement {
        let settings = world.settings();
        // What was seen of somebody may have been seen up to a sample before the last.
        if self.may + 2 * settings.interval + FOUND + settings.min_connection < look.window {
            return Err((Promise::NotBefore, "somebody was there less than a window ago"));
        }
        if look.held {
            return Err((Promise::NotBefore, "somebody holds the instance"));
        }
        let patience = settings.efs_patience.unwrap_or(Ms::MAX);
        if self.efs_missed && self.efs_may + 2 * settings.interval < patience {
            return Err((Promise::NotBefore, "EFS is not there, and has not been waited for long enough"));
        }
        let told = self.noticed_since.map(|since| world.moment() - since);
        if told.is_some_and(|told| (20 * SECOND..4 * MINUTE).contains(&told)) {
            return Err((Promise::NotBefore, "EC2 takes the instance back by itself"));
        }
        Ok(())
    }

    /// Whether somebody may count this connection as a player's.
    fn may_count(&self, world: &World, link: &Link, watches_since: Ms) -> bool {
        let settings = world.settings();
        let age = world.now() - link.since;
        let old = link.client.rows && age + 2 * settings.interval >= settings.min_connection;
        match link.client.who {
            Who::Person(_) | Who::Stranger(Stranger::Bot) if link.alive() => true,
            _ => old && !self.is_a_ghost(world, link, watches_since),
        }
    }

    fn is_a_ghost(&self, world: &World, link: &Link, watches_since: Ms) -> bool {
        let door = &world.doors()[link.client.door];
        let watched = |time: Ms| watches_since + time <= self.now;
        // What a server accepts after it has hung is taken for somebody who has just come.
        let Some(accepted) = link.accepted else { return world.now() - link.since > 2 * MINUTE };
        // In a container whoever else sends something keeps the whole network from being quiet. NoSockDiag tells no bytes.
        if !world.site().has_sock_diag() || door.network != 0 || world.now() - accepted < 12 * MINUTE {
            return false;
        }
        let silent_since = if link.client.rate == 0 { link.since } else { link.cut.unwrap_or(Ms::MAX) };
        let dead = silent_since.saturating_add(7 * MINUTE) <= world.now() && watched(7 * MINUTE);
        let drips = link.client.rate * 600 < 500_000;
        let denied = world.company_until() + 12 * MINUTE <= world.now()
            && matches!(door.manner, Manner::Honest | Manner::Zero)
            && self.voices.has_answered_for(link.client.door, 12 * MINUTE);
        dead || (drips && denied && watched(12 * MINUTE))
    }

    fn is_listening(world: &World) -> bool {
        world.doors().iter().any(|door| door.edition == Edition::Java && world.is_up(door.process))
    }

    fn notice(&mut self, world: &World) {
        self.noticed_since = world.noticed().then(|| self.noticed_since.unwrap_or(self.now));
    }

    /// What a due stop may wait for.
    fn waits(&mut self, world: &World, time: Ms, watches_since: Ms) -> bool {
        let (now, settings) = (self.now, world.settings());
        let mut until = self.waits_until;
        let mut waits = |while_so: bool, after: Ms| {
            if while_so {
                until = until.max(now + after);
            }
        };
        waits(world.held(), 2 * settings.interval);
        waits(self.noticed_since.is_some_and(|since| now - since < 5 * MINUTE), 2 * settings.interval);
        waits(world.now() < world.troubles().aws_until(), BACK_OFF);
        waits(!world.troubles().witness_readable(world.now()) || !world.own_readable(), BACK_OFF);
        // Without netlink every server has to deny that anybody is there.
        let unheard =
            |(number, door): (usize, &Door)| world.is_up(door.process) && !self.voices.answers_steadily(world, number);
        waits(!world.site().has_sock_diag() && world.doors().iter().enumerate().any(unheard), BACK_OFF);
        if !world.efs_answers() {
            self.efs_waited += time;
            waits(settings.efs_patience.is_none_or(|patience| self.efs_waited < patience), 2 * settings.interval);
        }
        let shown = world.links().iter().filter(|link| link.client.rows && shows_rows(world, link.client.door));
        let young: Vec<&Link> = shown.filter(|link| !self.is_a_ghost(world, link, watches_since)).collect();
        if !young.is_empty() {
            // While not everything can be seen nobody is waited for.
            self.joining_waited += if self.sees() { time } else { 0 };
            for link in &young {
                if !self.addresses.contains(&link.client.address) {
                    self.addresses.push(link.client.address);
                    self.newcomer = now;
                }
            }
            let old = young.iter().any(|link| world.now() - link.since + 2 * settings.interval >= 30 * SECOND);
            let new = now - self.newcomer < settings.min_connection + 3 * MINUTE;
            let denied = |(number, door): (usize, &Door)| {
                matches!(door.manner, Manner::Honest | Manner::Zero) && self.voices.answers_steadily(world, number)
            };
            let all_deny = world.doors().iter().enumerate().all(denied);
            let patient = self.joining_waited < settings.joining_patience + BACK_OFF;
            waits(patient || old || new || !all_deny, BACK_OFF);
        }
        self.waits_until = until;
        now < until
    }
}

/// Somebody whom the agent cannot but take for a player.
fn is_surely_a_player(world: &World, link: &Link, watches_since: Ms) -> bool {
    let settings = world.settings();
    let long = settings.min_connection + 3 * settings.interval + FOUND;
    let network = world.doors()[link.client.door].network;
    matches!(link.client.who, Who::Person(_))
        && link.alive()
        && link.client.rows
        && link.accepted.is_some()
        && shows_rows(world, link.client.door)
        && readable(world, Source::Tables, network)
        && link.since + long <= world.now()
        && watches_since + long <= world.moment()
}
