//! When people play.

use fastrand::Rng;

use super::script::{Event, HOUR, MINUTE, Ms, SECOND, What, When};

/// The chance in percent that an evening begins in this hour; the first is the one after noon.
const EVENINGS: [u64; 12] = [2, 2, 3, 4, 7, 10, 14, 18, 17, 12, 7, 4];

/// The visits of a day, at least one.
pub(crate) fn visits(rng: &mut Rng, events: &mut Vec<Event>) {
    let parties = if rng.u8(..100) < 15 { 2 } else { 1 };
    for _ in 0..parties {
        let begin = evening(rng);
        for _ in 0..[1, 1, 2, 2, 3, 4][rng.usize(..6)] {
            let when = When::At(begin + rng.u64(..40 * MINUTE));
            events.push(Event { when, what: visit(rng) });
        }
    }
}

/// Somebody who comes just as the window may be over.
pub(crate) fn ambush(rng: &mut Rng, window: Ms) -> Event {
    Event { when: around(rng, window), what: visit(rng) }
}

/// Somebody whose joins fail, from some time in the window on.
pub(crate) fn failed_joins(rng: &mut Rng, window: Ms) -> Event {
    let hold = if rng.bool() { 45 * SECOND } else { rng.u64(20 * SECOND..65 * SECOND) };
    let pause = rng.u64(SECOND..100 * SECOND);
    let tries = rng.u32(1..16);
    Event { when: When::Empty(rng.u64(..window)), what: What::FailedJoins { tries, hold, pause } }
}

/// From a little before to a little after a time without players of this length.
pub(crate) fn around(rng: &mut Rng, window: Ms) -> When {
    When::Empty((window + rng.u64(..30 * SECOND)).saturating_sub(8 * SECOND))
}

fn visit(rng: &mut Rng) -> What {
    let stay = match rng.u8(..20) {
        0 => rng.u64(SECOND..70 * SECOND),
        1..=4 => rng.u64(MINUTE..10 * MINUTE),
        5..=15 => rng.u64(10 * MINUTE..50 * MINUTE),
        _ => rng.u64(50 * MINUTE..100 * MINUTE),
    };
    // Vanilla drops a silent client after 15 to 30 s.
    let lingers = if rng.u8(..4) == 0 { rng.u64(SECOND..30 * SECOND) } else { 0 };
    What::Visit { stay, lingers, accept: accept(rng), door: rng.usize(..2), aside: rng.u8(..3) == 0 }
}

/// How long a server takes to accept a connection: no time at all, or, while it is busy, some.
pub(crate) fn accept(rng: &mut Rng) -> Ms {
    if rng.u8(..8) == 0 { rng.u64(1..8 * SECOND) } else { 0 }
}

/// When a party begins.
fn evening(rng: &mut Rng) -> Ms {
    let mut chance = rng.u64(..EVENINGS.iter().sum::<u64>());
    let mut hour = 0;
    for weight in EVENINGS {
        if chance < weight {
            break;
        }
        chance -= weight;
        hour += HOUR;
    }
    hour + rng.u64(..HOUR)
}
