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
use simulator::rivals::Naive;
use simulator::scanners::gap;
use simulator::script::{HOUR, MINUTE, Ms, SECOND, tenths};
use simulator::settings::Settings;
use simulator::sweep::{self, seed_of};

/// The seed, unless `MC_IDLE_SEED` is another.
const SEED: u64 = 0x6d63_2d69_646c_6501;
/// The days, unless `MC_IDLE_DAYS` is another number.
const DAYS: u64 = 7_000;

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
    let shown = sweep.ledger.cut_off - sweep.ledger.stops_on_unseen;
    assert_eq!(shown, 0, "stopped while a player was there whom something could show");
    tell(&format!(
        "simulator: seed {seed}, {days} server-days of {} h, {} samples, {} stops, no promise broken; nothing could show: {:?}",
        tenths(sweep.ledger.up / days, HOUR),
        sweep.samples,
        sweep.ledger.stops,
        sweep.ledger.unseen,
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
fn scanners_cost_about_a_minute() {
    let (days, seed) = (1000, number("MC_IDLE_SEED", SEED));
    let mut agents = Vec::new();
    let mut naives = Vec::new();
    for day in 0..days {
        let script = script(seed_of(seed, day), Weather::Fair(Settings::default()));
        agents.extend(live(&script, &mut Agent::new(&script, None)).0.paid);
        naives.extend(live(&script, &mut Naive::default()).0.paid);
    }
    let (agent, naive) = (middle_and_end(&mut agents), middle_and_end(&mut naives));
    let minutes = |times: [Ms; 3]| times.map(|ms| tenths(ms, MINUTE)).join(", ");
    tell(&format!(
        "simulator: {days} days with scanners: minutes paid for with nobody there, in the median, 9 of 10 below, at worst: {}; \
         the naive rule: {}",
        minutes(agent),
        minutes(naive),
    ));
    let [median, most, worst] = agent;
    assert!(median <= 16 * MINUTE && most <= 18 * MINUTE, "{agent:?}");
    // A bot that joins for 4 s just when the server is asked is somebody online, and the window begins again.
    assert!(worst <= 46 * MINUTE, "{agent:?}");
}

/// What half of them are below, nine of ten, and all.
fn middle_and_end(paid: &mut [Paid]) -> [Ms; 3] {
    paid.sort();
    [paid.len() / 2, paid.len() * 9 / 10, paid.len() - 1].map(|index| paid[index].idle)
}

/// Every bug that is put back on purpose is found out, and the script that shows it is small.
#[test]
fn broken_agents_are_found_out() {
    let seed = number("MC_IDLE_SEED", SEED);
    for flaw in Flaw::ALL {
        let sweep = sweep::agent(DAYS, seed, Weather::Any, Some(flaw));
        let day = sweep.broken.unwrap_or_else(|| panic!("{flaw:?} is not found"));
        let (script, breach) = sweep::smallest(seed, day, Weather::Any, Some(flaw)).unwrap();
        tell(&format!("simulator: {flaw:?} is found on day {day}: {breach}\n{script}"));
        assert!(flaw.breaks().contains(&breach.promise), "{breach}");
        assert!(script.events.len() <= 4, "{} events", script.events.len());
    }
}
