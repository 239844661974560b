//! What needs nothing of the machine: the rule, the program's files and texts, and servers and players of others on loopback.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

#[path = "../support/mod.rs"]
mod support;

mod ask;
mod cli;
mod corpus;
mod fault_table;
mod manual;
mod metrics;
mod minecraft;
mod prepared;
mod rule;
mod schemas;
mod service;
mod status;
mod tables;
mod terminal;
