//! Numbers that nobody can foresee.

use aws_lc_rs::rand::fill;

/// 128 bits; zero if the kernel has none, which it always has (getrandom(2)).
#[must_use]
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without them a token could be foreseen, and nobody is let in by a token alone.
    let _ = fill(&mut bytes);
    u128::from_be_bytes(bytes)
}
