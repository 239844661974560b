//! The entry points: how requests and events come in.
//!
//! * [`lambda`]: Lambda's runtime. [`serve`]: a server of its own, for everywhere else.
//! * [`log`]: the lines about what was done.

pub mod lambda;
pub mod log;
pub mod serve;
