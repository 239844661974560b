//! The files in the runtime directory that survive a restart of the agent or show its state.
//!
//! * [`state_file`]: `state.json`, which lets the clocks survive a restart of the agent.
//! * [`runtime_files`]: writes that and `status.json`. [`lock`]: lets only one agent at a time do so.

pub mod lock;
pub mod runtime_files;
pub mod state_file;
