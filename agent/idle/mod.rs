//! The rule: when is this machine empty, and when may it be stopped?
//!
//! Pure. Samples and the time go in, actions come out; nothing here reads a clock, a file or a socket, writes a log
//! or waits. The same inputs give the same answers, so every case can be shown in a test without sleeping.
//!
//! * [`sample`]: what one reading of the host shows; unknown is a case of its own.
//! * [`census`]: how old each connection is: player, young, or not yet accepted.
//! * [`window`]: the clock that runs towards a stop, and what freezes or resets it.
//! * [`backoff`]: when a refused stop is tried again.
//! * [`rule`]: puts them together: due, last look, stop, retry.
//! * [`memory`]: what has to outlive a restart of the agent.
//! * [`view`]: what is so right now, for the status, the journal and the heartbeat.

pub mod backoff;
pub mod census;
pub mod memory;
pub mod rule;
pub mod sample;
pub mod view;
pub mod window;

pub use memory::Memory;
pub use rule::{Action, Clearance, Patience, Rule, Terms, Ticket};
pub use sample::{Efs, Moment, Reading, Seen, Socket};
pub use view::{State, View, Wait};
