//! Many days, on all processors.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::agent::Agent;
use super::day::{Weather, live, script};
use super::flaws::Flaw;
use super::ledger::Ledger;
use super::oracle::Breach;
use super::script::Script;
use super::shrink::shrink;

/// Days that a thread takes at once.
const CHUNK: u64 = 16;

/// What many days came to.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    pub ledger: Ledger,
    pub samples: u64,
    /// The first day on which a promise was broken.
    pub broken: Option<u64>,
}

/// The seed of day `day`.
pub(crate) fn seed_of(seed: u64, day: u64) -> u64 {
    // The finalizer of SplitMix64, so that neighbours have nothing in common.
    let mut mixed = seed ^ day.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Runs `one` for each of the days; with `false` it says that this was the last one needed. Which day was the first to
/// say so does not depend on the threads.
pub(crate) fn over<A: Default + Send>(days: u64, one: impl Fn(u64, &mut A) -> bool + Sync) -> (Vec<A>, Option<u64>) {
    let (next, first) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        let mut sum = A::default();
        loop {
            let from = next.fetch_add(CHUNK, Ordering::Relaxed);
            if from >= days {
                return sum;
            }
            for day in from..days.min(from + CHUNK) {
                if day > first.load(Ordering::Relaxed) {
                    return sum;
                }
                if !one(day, &mut sum) {
                    first.fetch_min(day, Ordering::Relaxed);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    (sums, Some(first.into_inner()).filter(|first| *first < u64::MAX))
}

/// Watches `days` days by the agent, until a promise is broken.
pub(crate) fn agent(days: u64, seed: u64, weather: Weather, flaw: Option<Flaw>) -> Sweep {
    let (sums, broken) = over(days, |day, sum: &mut Sweep| {
        let script = script(seed_of(seed, day), weather);
        let mut agent = Agent::new(&script, flaw);
        let (ledger, breach) = live(&script, &mut agent);
        sum.ledger.add(ledger);
        sum.samples += agent.samples();
        breach.is_none()
    });
    let mut all = Sweep { broken, ..Sweep::default() };
    for sum in sums {
        all.ledger.add(sum.ledger);
        all.samples += sum.samples;
    }
    all
}

/// The smallest script that breaks the promise that is broken on this day.
pub(crate) fn smallest(seed: u64, day: u64, weather: Weather, flaw: Option<Flaw>) -> Option<(Script, Breach)> {
    let breaks = |script: &Script| live(script, &mut Agent::new(script, flaw)).1;
    shrink(&script(seed_of(seed, day), weather), &breaks)
}
