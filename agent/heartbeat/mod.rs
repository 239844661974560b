//! The heartbeat: what the rest of the world can know of this instance without asking it.
//!
//! * [`record`]: the JSON object that is written.
//! * [`pace`]: when the next one is written.
//! * [`writer`]: the task that writes them, apart from everything that must not wait.

pub mod pace;
pub mod record;
pub mod writer;

pub use record::Report;
pub use writer::{Heart, PutError, Store};
