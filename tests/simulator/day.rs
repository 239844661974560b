//! One day: made from its seed, and lived through with somebody watching the machine.

use fastrand::Rng;

use super::faults::faults;
use super::ledger::Ledger;
use super::oracle::Breach;
use super::script::{DAY, Event, MINUTE, Ms, NEVER, SECOND, Script, What};
use super::settings::{Pace, Settings};
use super::site::{Kind, Manner, Site};
use super::world::{Signal, World};
use super::{players, scanners};

/// Who watches the machine, and stops it.
pub(crate) trait Watcher {
    /// When it does something next, in the world's time.
    fn next(&self, world: &World) -> Ms;
    /// It does it.
    fn wake(&mut self, world: &mut World) -> Result<(), Breach>;
    /// It is told something.
    fn told(&mut self, signal: Signal, world: &World);
}

/// What kind of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Any machine, anything may go wrong, and the settings may be any.
    Any,
    /// Any machine, anything may go wrong; the settings are these, and the operator leaves all alone.
    With(Settings),
    /// The same on a machine with one server on the host, which tells the truth.
    Plain(Settings),
    /// Nothing goes wrong on such a machine: players, and the recorded scanners.
    Fair(Settings),
}

/// The day of this seed.
pub(crate) fn script(seed: u64, weather: Weather) -> Script {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let settings = match weather {
        Weather::Any if rng.u8(..4) == 0 => odd_settings(rng),
        Weather::Any => Settings::default(),
        Weather::With(settings) | Weather::Plain(settings) | Weather::Fair(settings) => settings,
    };
    let site = match weather {
        Weather::Any | Weather::With(_) => site(rng),
        Weather::Plain(_) | Weather::Fair(_) => Site::default(),
    };
    let mut events = Vec::new();
    players::visits(rng, &mut events);
    let first = events.iter().filter_map(Event::time).min().unwrap_or(0);
    scanners::strangers(rng, &mut events);
    if !matches!(weather, Weather::Fair(_)) {
        if rng.bool() {
            faults(rng, settings, first, &mut events);
        }
        let window = settings.idle_window;
        for _ in 0..[0, 0, 0, 1, 2][rng.usize(..5)] {
            events.push(match rng.u8(..8) {
                0..=2 => players::ambush(rng, window),
                3 => players::failed_joins(rng, window),
                4 => scanners::holder(rng),
                5 => scanners::pingers(rng),
                _ => scanners::ambush(rng, window),
            });
        }
    }
    if weather != Weather::Any {
        events.retain(|event| !matches!(event.what, What::Reload { .. } | What::Hold { .. }));
    }
    events.sort_by_key(|event| event.time().unwrap_or(NEVER));
    Script { site, settings, pace: pace(rng, settings.interval), ended_by_others: rng.u8(..50) == 0, events }
}

fn site(rng: &mut Rng) -> Site {
    let kind = Kind::ALL[rng.usize(..Kind::ALL.len())];
    let manner = match rng.u8(..100) {
        0..60 => Manner::Honest,
        60..74 => Manner::Off,
        74..86 => Manner::Zero,
        86..97 => Manner::Slow,
        _ => Manner::MadeUp,
    };
    Site { kind, manner, goes: rng.bool(), impostor: rng.u8(..6) == 0 }
}

fn odd_settings(rng: &mut Rng) -> Settings {
    let min_connection = [0, 20, 70][rng.usize(..3)] * SECOND;
    Settings {
        idle_window: [1, 2, 5, 15, 20][rng.usize(..5)] * MINUTE,
        no_server_window: [2, 5, 30][rng.usize(..3)] * MINUTE,
        interval: [2, 5, 10, 20][rng.usize(..4)] * SECOND,
        min_connection,
        joining_patience: ([1, 5, 30][rng.usize(..3)] * MINUTE).max(min_connection),
        ask: [None, Some(10 * SECOND), Some(MINUTE), Some(2 * MINUTE)][rng.usize(..4)],
        efs_patience: [None, Some(0), Some(MINUTE), Some(30 * MINUTE)][rng.usize(..4)],
        efs: rng.u8(..4) > 0,
    }
}

fn pace(rng: &mut Rng, interval: Ms) -> Pace {
    let any = Pace {
        boot: rng.u64(40 * SECOND..90 * SECOND),
        server: rng.u64(30 * SECOND..180 * SECOND),
        prepare: if rng.bool() { rng.u64(20..SECOND) } else { rng.u64(SECOND..=8 * SECOND) },
        arrive: rng.u64(1..250),
        answer: rng.u64(100..4 * SECOND),
        latency: rng.u64(1..800),
        look: if rng.u8(..4) == 0 { rng.u64(1..2 * SECOND) } else { 2 },
        lateness: if rng.bool() { rng.u64(1..40) } else { 0 },
        jitter: rng.u16(..1000),
        told_once: rng.bool(),
    };
    match rng.u8(..5) {
        // Answers come as samples are taken, so that what is over is over to the millisecond.
        0 => Pace { prepare: SECOND, look: 0, arrive: 1, answer: interval - 1, lateness: 0, ..any },
        _ => any,
    }
}

/// Lives through the day, up to its end or the first promise that is broken.
pub(crate) fn live(script: &Script, watcher: &mut impl Watcher) -> (Ledger, Option<Breach>) {
    let mut world = World::new(script);
    let mut breach = None;
    while breach.is_none() {
        let earliest = world.now().max(world.frozen_until());
        let wakes = if world.runs() { watcher.next(&world).max(earliest) } else { NEVER };
        let happens = world.next();
        if wakes.min(happens) >= DAY {
            break;
        }
        if happens <= wakes {
            world.proceed();
        } else {
            world.pass(wakes);
            breach = watcher.wake(&mut world).err();
        }
        while let Some(signal) = world.signal() {
            watcher.told(signal, &world);
        }
    }
    (world.close(), breach)
}
