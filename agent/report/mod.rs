//! The agent's reports. All are made from one [`snapshot`] per sample.
//!
//! * [`conditions`]: what the agent knows apart from the rule, including its [`attempts`] to stop.
//! * [`sentence`]: the current state in a sentence for people.
//! * [`events`]: journal lines for what has changed.
//! * [`status`]: `status.json` and the screen of `mc-idle status`.
//! * [`heartbeat`]: the state of this instance in an SSM parameter, for readers elsewhere.
//! * [`metrics`]: the file for Prometheus.

pub mod attempts;
pub mod conditions;
pub mod events;
pub mod heartbeat;
pub mod metrics;
pub mod sentence;
pub mod snapshot;
pub mod status;
