//! How the server is. Pure.
//!
//! * [`state`]: asleep, starting, up, stopping, in trouble, unknown.
//! * [`status`]: the same as JSON (`status.schema.json`) and for the page.
//! * [`instance`]: what EC2 says of an instance. [`heartbeat`]: what the agent's heartbeat is worth.
//! * [`usage`]: how often and how long it has run. [`budget`]: how often and how long it may.

pub mod budget;
pub mod heartbeat;
pub mod instance;
pub mod state;
pub mod status;
pub mod usage;
