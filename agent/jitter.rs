//! Randomness, which is passed to the rule like the time and everything else.

use mc_idle_rule::backoff::Jitter;

/// A random fraction.
#[must_use]
pub fn jitter() -> Jitter {
    Jitter::new(fastrand::f64())
}
