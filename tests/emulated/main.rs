//! The agent beside an AWS that others emulate: a stop asked for, refused, delayed and answered; `mc-idle check`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

#[path = "../support/mod.rs"]
mod support;

mod aws;
mod check;
mod faults;
mod imds;
