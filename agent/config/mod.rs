//! The configuration of mc-idle.
//!
//! * [`settings`]: the validated types that the rest of the agent works with.
//! * [`keys`]: every key with its default and allowed values.
//! * [`mod@load`]: reads the files.

pub mod keys;
pub mod load;
pub mod settings;

pub use load::load;
pub use mc_service::config::ConfigError;
pub use settings::Settings;
