//! How often `status.json` and `state.json` are written while nothing but time changes.

use std::time::Duration;

/// The time between two writes while nothing but time changes. Each write wakes the machine up; an agent that is killed
/// loses no more than this of its clock.
const REST: Duration = Duration::from_secs(15);
/// Samples are taken a little late, some less so than the one before.
const SLACK: Duration = Duration::from_millis(500);

/// The longest time between two writes of an agent whose samples are on time.
#[must_use]
pub fn longest_rest(interval: Duration) -> Duration {
    let mut rest = interval;
    while rest + SLACK < REST {
        rest += interval;
    }
    rest
}

/// Whether to write again when this much time has `passed` since the last write.
#[must_use]
pub fn is_rested(passed: Duration) -> bool {
    passed + SLACK >= REST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_rests_for_whole_samples_and_at_least_for_one() {
        let rests = [0.2, 0.3, 1.0, 5.0, 10.0, 60.0].map(|interval| {
            let rest = longest_rest(Duration::from_secs_f64(interval));
            assert!(is_rested(rest), "{interval}: {rest:?}");
            rest.as_millis()
        });
        assert_eq!(rests, [14_600, 14_700, 15_000, 15_000, 20_000, 60_000]);
    }
}
