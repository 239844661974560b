//! What happens at the press of the button. Pure.
//!
//! * [`generation`]: **start here.** Launching without ever having two servers (the mode `launch`).
//! * [`stopped`]: starting the one instance that there is (the mode `start`).
//! * [`wish`]: a start that waits until the instance before has stopped.
//! * [`ec2_error`]: what EC2's refusals mean. [`outcome`]: what came of it all, for whoever has pressed.

pub mod ec2_error;
pub mod generation;
pub mod outcome;
pub mod stopped;
pub mod wish;
