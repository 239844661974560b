//! The decision: when is this machine empty, and when may it be stopped?
//!
//! Pure: samples, answers and the time go in, actions come out. Nothing here reads a clock, a file or a socket, logs or
//! waits. The same inputs always give the same result, so every case can be tested without sleeping.
//!
//! The modules, in the order in which a sample passes through them:
//!
//! * [`facts`]: what one sample of the host shows, network by network.
//! * [`answers`]: what the servers answered when asked who is online.
//! * [`judge`]: **the judgement**: what facts and answers mean, listener by listener. `nearness`: at which address of a network
//!   a server is asked.
//! * [`observation`]: the result of the judgement, in which unknown is a separate case.
//! * [`tracker`]: how old each connection is and what it counts as: player, young, not yet accepted, ghost.
//!   [`traffic`]: how much has come in on it.
//! * [`clocks`]: the clocks that run towards a stop, and what pauses or resets them.
//! * [`joining`]: how long a due stop waits for connections that may be somebody joining.
//! * [`alarms`]: what an operator must be told about.
//! * [`rule`]: puts them together: due, last look, stop, retry. [`backoff`]: when a failed stop is retried.
//! * [`memory`]: what must survive a restart of the agent.
//! * [`view`]: the current state, for the status, the journal and the heartbeat.
//! * [`moment`], [`efs`]: the time and the state of EFS, as the rule is given them.

pub mod alarms;
pub mod answers;
pub mod backoff;
pub mod clocks;
pub mod efs;
pub mod facts;
pub mod joining;
pub mod judge;
pub mod memory;
pub mod moment;
mod nearness;
pub mod observation;
pub mod rule;
pub mod tracker;
pub mod traffic;
pub mod view;

pub use alarms::Alarm;
pub use answers::{Answer, Asked, ListenerId};
pub use clocks::Windows;
pub use efs::Efs;
pub use facts::{Edition, Facts, NetworkId, Socket};
pub use memory::Memory;
pub use moment::Moment;
pub use observation::{Observation, Question};
pub use rule::{Action, AttemptId, Patience, Rule, RuleSettings, StopPermit, Witness};
pub use view::{Blocker, State, View};
