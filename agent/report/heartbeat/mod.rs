//! The heartbeat: the state of this instance, for readers that cannot ask it.
//!
//! * [`report`]: what is written.
//! * [`pace`]: when the next one is written.
//! * [`writer`]: the task that writes, so that nothing else waits for SSM.

pub mod pace;
pub mod report;
pub mod writer;

pub use report::{Report, Writer};
pub use writer::{HeartbeatHandle, PutError, Store};
