//! What goes wrong.

use fastrand::Rng;

use super::players::around;
use super::script::{Event, HOUR, Kept, MINUTE, Ms, SECOND, Side, Trouble, What, When};
use super::settings::Settings;

/// The faults of a day on which something goes wrong. `first` is when the first player comes.
pub(crate) fn faults(rng: &mut Rng, settings: Settings, first: Ms, events: &mut Vec<Event>) {
    loop {
        let when = match rng.u8(..10) {
            // While the instance and the server start.
            0..=2 => When::At(first + rng.u64(..5 * MINUTE)),
            3..=5 => When::At(first + rng.u64(..3 * HOUR)),
            _ => {
                let window = settings.window(rng.u8(..8) > 0);
                around(rng, window)
            }
        };
        let what = fault(rng);
        events.push(Event { when, what });
        if rng.u8(..100) < 50 {
            return;
        }
    }
}

fn fault(rng: &mut Rng) -> What {
    match rng.u8(..34) {
        0..=2 => What::Blind { side: [Side::Own, Side::Witness, Side::Both][rng.usize(..3)], lasts: spell(rng) },
        3..=6 => {
            use Trouble::{Deaf, Denied, Ignored, NoCredentials, NoIdentity, Throttled};
            let trouble = [Throttled, Deaf, Denied, NoCredentials, NoIdentity, Ignored][rng.usize(..6)];
            What::Aws { trouble, lasts: rng.u64(SECOND..30 * MINUTE) }
        }
        7..=9 => What::Efs { hung: rng.bool(), lasts: rng.u64(SECOND..HOUR) },
        10..=13 => {
            let kept = [Kept::All, Kept::All, Kept::OneSampleOld, Kept::OneSampleOld, Kept::Nothing][rng.usize(..5)];
            What::Restart { down: if rng.bool() { rng.u64(..2 * SECOND) } else { spell(rng) }, kept }
        }
        // Beside the two intervals that a gap may have, and exactly those.
        14 => What::Skipped { samples: rng.u64(1..4) },
        15 => What::Starved { lasts: spell(rng) },
        16 => What::Starved { lasts: rng.u64(MINUTE..2 * HOUR) },
        17 => What::Asleep { lasts: rng.u64(SECOND..8 * HOUR), lingers: rng.u64(..30 * SECOND) },
        18 => What::Reclaim { comes: rng.bool(), lasts: rng.u64(SECOND..20 * MINUTE) },
        // It starts late, or never, or dies and comes back.
        19 | 20 => What::Down {
            process: rng.usize(..2),
            lasts: [spell(rng), rng.u64(..40 * MINUTE), 20 * HOUR][rng.usize(..3)],
        },
        21 | 22 => What::Hang { lasts: rng.u64(SECOND..HOUR), rows_stay: rng.bool(), recovers: rng.bool() },
        23 | 24 => What::Blip { lingers: rng.u64(..30 * SECOND), back: rng.u64(..20 * SECOND) },
        25 => What::Hold { lasts: rng.u64(SECOND..2 * HOUR) },
        26 => What::Omitted { lasts: spell(rng) },
        27 | 28 => What::NetworkUnreadable { lasts: if rng.bool() { spell(rng) } else { rng.u64(MINUTE..3 * HOUR) } },
        29 | 30 => What::Mute { lasts: if rng.bool() { spell(rng) } else { rng.u64(MINUTE..2 * HOUR) } },
        31 | 32 => What::CrashLoop {
            lasts: rng.u64(MINUTE..6 * HOUR),
            up: rng.u64(SECOND..90 * SECOND),
            down: rng.u64(SECOND..90 * SECOND),
        },
        _ => What::Reload { idle_window: rng.u64(1..20) * MINUTE },
    }
}

/// Some seconds, or some minutes.
fn spell(rng: &mut Rng) -> Ms {
    if rng.bool() { rng.u64(1..30 * SECOND) } else { rng.u64(30 * SECOND..12 * MINUTE) }
}
