//! One day: made from its seed, and lived through with somebody watching the machine.

use fastrand::Rng;

use super::faults::faults;
use super::ledger::Ledger;
use super::oracle::Breach;
use super::players;
use super::scanners;
use super::script::{DAY, Event, MINUTE, Ms, NEVER, Pace, SECOND, Script, Settings, What, When};
use super::world::{Signal, World};

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
    /// Anything may go wrong, and the settings may be any.
    Any,
    /// Anything may go wrong; the settings are these, and the operator leaves all alone.
    With(Settings),
    /// Nothing goes wrong: players, and the recorded scanners.
    Fair(Settings),
}

/// The day of this seed.
pub(crate) fn script(seed: u64, weather: Weather) -> Script {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let settings = match weather {
        Weather::Any if rng.u8(..4) == 0 => odd_settings(rng),
        Weather::Any => Settings::default(),
        Weather::With(settings) | Weather::Fair(settings) => settings,
    };
    let mut events = Vec::new();
    players::visits(rng, &mut events);
    let first = events.iter().filter_map(Event::time).min().unwrap_or(0);
    scanners::strangers(rng, &mut events);
    let bad = !matches!(weather, Weather::Fair(_)) && rng.bool();
    if bad {
        faults(rng, settings, first, &mut events);
    }
    if weather != Weather::Any {
        events.retain(|event| !matches!(event.what, What::Reload { .. } | What::Hold { .. }));
    }
    if !matches!(weather, Weather::Fair(_)) {
        for _ in 0..[0, 0, 0, 1, 2][rng.usize(..5)] {
            let window = settings.idle_window;
            events.push(if rng.bool() { players::ambush(rng, window) } else { scanners::ambush(rng, window) });
        }
    }
    events.sort_by_key(|event| event.time().unwrap_or(NEVER));
    Script { settings, pace: pace(rng, settings.interval), ended_by_others: rng.u8(..50) == 0, events }
}

fn odd_settings(rng: &mut Rng) -> Settings {
    Settings {
        idle_window: [1, 2, 5, 15, 20][rng.usize(..5)] * MINUTE,
        no_server_window: [2, 5, 30][rng.usize(..3)] * MINUTE,
        interval: [1, 2, 5, 10][rng.usize(..4)] * SECOND,
        min_connection: [0, 20, 70][rng.usize(..3)] * SECOND,
        efs_patience: [None, Some(0), Some(MINUTE), Some(30 * MINUTE)][rng.usize(..4)],
        efs: rng.u8(..4) > 0,
    }
}

fn pace(rng: &mut Rng, interval: Ms) -> Pace {
    let any = Pace {
        boot: rng.u64(40 * SECOND..90 * SECOND),
        server: rng.u64(30 * SECOND..180 * SECOND),
        prepare: if rng.bool() { rng.u64(20..SECOND) } else { rng.u64(SECOND..=8 * SECOND) },
        answer: rng.u64(100..4 * SECOND),
        look: if rng.u8(..4) == 0 { rng.u64(1..2 * SECOND) } else { 2 },
        lateness: if rng.bool() { rng.u64(1..40) } else { 0 },
        jitter: rng.u16(..1000),
        told_once: rng.bool(),
    };
    match rng.u8(..5) {
        // Answers come as samples are taken, so that what is over is over to the millisecond.
        0 => Pace { prepare: SECOND, look: 0, answer: interval - SECOND, lateness: 0, ..any },
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

impl Event {
    fn time(&self) -> Option<Ms> {
        match self.when {
            When::At(at) => Some(at),
            When::Empty(_) => None,
        }
    }
}
