//! The launcher: its decisions against models of EC2 and SSM, the policies of its roles, and the program itself.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]
#![allow(clippy::disallowed_methods, reason = "waits in real time")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the model's time is a small positive number of seconds"
)]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod cloud;
mod dead_man;
mod lambda;
mod launcher;
mod never_two;
mod policies;
mod security;
mod stack;
mod stand_in;
mod start;
mod telling;
mod webdriver;
