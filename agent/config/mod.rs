//! The configuration: text files in, valid [`Settings`] out, once, at the edge.
//!
//! * [`settings`]: the valid types that the rest of the agent works with.
//! * [`keys`]: every key with its default, what is allowed, and how it is set.
//! * [`files`]: which files are read, in which order, and what is said of a wrong one.

pub mod files;
pub mod keys;
pub mod settings;

pub use files::{ConfigError, load};
pub use settings::Settings;
