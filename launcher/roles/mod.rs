//! The two roles, which carry out what the pure parts decide.
//!
//! * [`page`]: answers requests. It may start, and read. [`press`]: a press of its button.
//! * [`warden`]: looks again and again. It may stop, and tell people.
//! * [`look`]: what both look at. `delivery`: sends what the warden tells.

mod delivery;
pub mod look;
pub mod page;
pub mod press;
pub mod warden;
