//! The rule: the cases that have a name, subject by subject, and histories at random against an independent statement.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

mod answers;
mod clocks;
mod ghosts;
mod history;
mod holds;
mod joining;
mod judgement;
mod look;
mod machine;
mod random;
mod restart;
mod retries;
mod run;
