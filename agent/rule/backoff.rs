//! When a failed stop is retried.

use std::time::Duration;

/// The shortest wait before a stop that failed for a temporary reason is retried.
pub const SHORTEST: Duration = Duration::from_secs(5);
/// The longest such wait, and the wait after a permanent error.
pub const LONGEST: Duration = Duration::from_mins(5);

/// A random fraction from 0 up to but not including 1, drawn by the caller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// Takes `share`; values out of range and NaN count as 0.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Jitter(if (0.0..1.0).contains(&share) { share } else { 0.0 })
    }

    /// A duration between `from` and `to`.
    #[must_use]
    pub fn between(self, from: Duration, to: Duration) -> Duration {
        from + to.saturating_sub(from).mul_f64(self.0)
    }
}

/// The wait after `failures` consecutive failures (1 or more): doubles from [`SHORTEST`], spread by half either way,
/// never outside [`SHORTEST`] to [`LONGEST`].
#[must_use]
pub fn wait(failures: u32, jitter: Jitter) -> Duration {
    wait_between(SHORTEST, LONGEST, failures, jitter)
}

/// The same between limits given by the caller.
#[must_use]
pub fn wait_between(shortest: Duration, longest: Duration, failures: u32, jitter: Jitter) -> Duration {
    let doubled = shortest.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(longest);
    jitter.between((doubled / 2).max(shortest), (doubled * 3 / 2).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stays_within_its_limits(failures in 1_u32.., share in -1.0_f64..2.0) {
            let wait = wait(failures, Jitter::new(share));
            prop_assert!((SHORTEST..=LONGEST).contains(&wait));
        }

        #[test]
        fn is_spread(failures in 1_u32..200) {
            prop_assert!(wait(failures, Jitter::new(0.0)) < wait(failures, Jitter::new(0.9)));
        }
    }

    #[test]
    fn reaches_the_longest_wait() {
        assert!(wait(1, Jitter::new(0.99)) < Duration::from_secs(8));
        assert!(wait(20, Jitter::new(0.999)) > Duration::from_secs(299));
    }
}
