//! Who connects and is no player.

use std::ops::RangeInclusive;

use fastrand::Rng;

use super::players::{accept, around};
use super::script::{DAY, Event, HOUR, MINUTE, Ms, SECOND, Stranger, What, When};

/// The recorded scanner: 16 holds in five hours, with gaps of 0.7 to 87.6 min between them, 10.7 in the median and 18.9
/// in the mean. Here they are log-normal, kept within what was recorded, with the sigma that then gives this mean.
const MEDIAN_GAP: f64 = 10.7 * 60_000.0;
const SIGMA: f64 = 1.185;
const GAPS: RangeInclusive<Ms> = 42 * SECOND..=5256 * SECOND;
/// The server's read timeout ends a silent connection.
const HOLD: Ms = 30 * SECOND;

/// The strangers of a day: the scanner, bots that join for some seconds, server lists.
pub(crate) fn strangers(rng: &mut Rng, events: &mut Vec<Event>) {
    let mut at = rng.u64(..20 * MINUTE);
    while at < DAY {
        events.push(Event { when: When::At(at), what: scan(rng) });
        at += HOLD + gap(rng);
    }
    for (kind, every) in [(Stranger::Bot, 80 * MINUTE), (Stranger::Ping, 16 * MINUTE)] {
        let mut at = rng.u64(..2 * every);
        while at < DAY {
            let hold = match kind {
                Stranger::Bot => 4 * SECOND,
                _ => rng.u64(1..300),
            };
            events.push(Event {
                when: When::At(at),
                what: What::Stranger { kind, hold, accept: accept(rng), rate: 30_000 },
            });
            at += rng.u64(..2 * every);
        }
    }
}

/// A stranger who comes just as the window may be over.
pub(crate) fn ambush(rng: &mut Rng, window: Ms) -> Event {
    let what = match rng.u8(..3) {
        0 => What::Stranger { kind: Stranger::Bot, hold: 4 * SECOND, accept: accept(rng), rate: 30_000 },
        1 => What::Stranger { kind: Stranger::Ping, hold: rng.u64(1..2 * SECOND), accept: 0, rate: 0 },
        _ => scan(rng),
    };
    Event { when: around(rng, window), what }
}

fn scan(rng: &mut Rng) -> What {
    What::Stranger { kind: Stranger::Scanner, hold: HOLD, accept: accept(rng), rate: 0 }
}

/// Somebody who keeps a connection open for hours, and plays not.
pub(crate) fn holder(rng: &mut Rng) -> Event {
    // A byte now and then, or as many as a player.
    let rate = [0, 50, 300, 700, 2000][rng.usize(..5)];
    let hold = rng.u64(2 * MINUTE..6 * HOUR);
    let what = What::Stranger { kind: Stranger::Holder, hold, accept: 0, rate };
    Event { when: When::Empty(rng.u64(..20 * MINUTE)), what }
}

/// Two who ping in turn for hours.
pub(crate) fn pingers(rng: &mut Rng) -> Event {
    let (lasts, hold) = (rng.u64(MINUTE..5 * HOUR), rng.u64(2 * SECOND..12 * SECOND));
    let what = What::Pingers { lasts, hold, friend: rng.bool(), door: rng.usize(..2) };
    Event { when: When::Empty(rng.u64(..15 * MINUTE)), what }
}

/// From the end of one scan to the next.
pub(crate) fn gap(rng: &mut Rng) -> Ms {
    // Box and Muller: two even draws make a normal one.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clipped, and to the millisecond")]
    let gap = (MEDIAN_GAP * (SIGMA * normal).exp()).min(1e9) as Ms;
    gap.clamp(*GAPS.start(), *GAPS.end())
}
