//! Chance, which the rule is given like everything else.

use crate::idle::backoff::Jitter;

/// A share drawn at random.
#[must_use]
pub fn jitter() -> Jitter {
    Jitter::new(fastrand::f64())
}
