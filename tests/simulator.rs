//! The rule in a simulated world: many days of a server on which much goes wrong.

#[path = "simulator/mod.rs"]
mod simulator;

use std::env;
use std::io::{Write, stderr};

use fastrand::Rng;
use simulator::agent::Agent;
use simulator::day::{Weather, live, script};
use simulator::flaws::Flaw;
use simulator::ledger::Paid;
use simulator::oracle::Promise;
use simulator::rivals::Naive;
use simulator::scanners::gap;
use simulator::script::{HOUR, MINUTE, Ms, SECOND, Settings, tenths};
use simulator::sweep::{self, seed_of};

/// The seed, unless `MC_IDLE_SEED` is another.
const SEED: u64 = 0x6d63_2d69_646c_6501;
/// The days, unless `MC_IDLE_DAYS` is another number.
const DAYS: u64 = 100_000;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A line that is seen though the test succeeds.
fn tell(line: &str) {
    // The harness keeps what macros print.
    let _ = writeln!(stderr(), "{line}");
}

/// No promise is broken on any day.
#[test]
fn both_promises_hold_on_every_day() {
    let (days, seed) = (number("MC_IDLE_DAYS", DAYS), number("MC_IDLE_SEED", SEED));
    let sweep = sweep::agent(days, seed, Weather::Any, None);
    if let Some(day) = sweep.broken {
        let (script, breach) = sweep::smallest(seed, day, Weather::Any, None).unwrap();
        panic!("{breach}\n{script}\nday {day}; again with MC_IDLE_SEED={seed}");
    }
    assert_eq!(sweep.ledger.cut_off, 0, "stopped while a player was there");
    tell(&format!(
        "simulator: seed {seed}, {days} server-days of {} h, {} samples, {} stops, no promise broken",
        tenths(sweep.ledger.up / days, HOUR),
        sweep.samples,
        sweep.ledger.stops,
    ));
}

/// The gaps between two scans have the recorded median and mean.
#[test]
fn the_scanners_are_the_recorded_ones() {
    let mut rng = Rng::with_seed(SEED);
    let mut gaps: Vec<Ms> = (0..20_000).map(|_| gap(&mut rng)).collect();
    gaps.sort_unstable();
    let (median, mean) = (gaps[gaps.len() / 2], gaps.iter().sum::<Ms>() / 20_000);
    assert!((10 * MINUTE..11 * MINUTE + 30 * SECOND).contains(&median), "{}", tenths(median, MINUTE));
    assert!((18 * MINUTE + 20 * SECOND..19 * MINUTE + 30 * SECOND).contains(&mean), "{}", tenths(mean, MINUTE));
}

/// From the last player's leaving to the request, on 1000 days with the recorded scanners.
#[test]
fn scanners_cost_no_more_than_a_minute() {
    let (days, seed) = (1000, number("MC_IDLE_SEED", SEED));
    let mut agents = Vec::new();
    let mut naives = Vec::new();
    for day in 0..days {
        let script = script(seed_of(seed, day), Weather::Fair(Settings::default()));
        agents.extend(live(&script, &mut Agent::new(&script, None)).0.paid);
        naives.extend(live(&script, &mut Naive::default()).0.paid);
    }
    let (agent, naive) = (median_and_worst(&mut agents), median_and_worst(&mut naives));
    let minutes = |ms| tenths(ms, MINUTE);
    tell(&format!(
        "simulator: {days} days with scanners: paid idle time {} min in the median, {} at worst; the naive rule: \
         {} and {}",
        minutes(agent.0),
        minutes(agent.1),
        minutes(naive.0),
        minutes(naive.1),
    ));
    assert!(agent.0 <= 16 * MINUTE && agent.1 <= 17 * MINUTE, "{agent:?}");
}

fn median_and_worst(paid: &mut [Paid]) -> (Ms, Ms) {
    paid.sort();
    (paid[paid.len() / 2].idle, paid[paid.len() - 1].idle)
}

/// A core that is broken on purpose is found out, and the script that shows it is small.
#[test]
fn broken_agents_are_found_out() {
    let seed = number("MC_IDLE_SEED", SEED);
    for (flaw, promises) in [
        (Flaw::BlindLastLook, [Promise::Nobody; 2]),
        (Flaw::UnknownIsZero, [Promise::Nobody, Promise::NotBefore]),
        (Flaw::GapInFull, [Promise::NotBefore; 2]),
        (Flaw::OneSampleLate, [Promise::NoWindowLost; 2]),
    ] {
        let sweep = sweep::agent(DAYS, seed, Weather::Any, Some(flaw));
        let day = sweep.broken.unwrap_or_else(|| panic!("{flaw:?} is not found"));
        let (script, breach) = sweep::smallest(seed, day, Weather::Any, Some(flaw)).unwrap();
        tell(&format!("simulator: {flaw:?} is found on day {day}: {breach}\n{script}"));
        assert!(promises.contains(&breach.promise), "{breach}");
        assert!(script.events.len() <= 4, "{} events", script.events.len());
    }
}
