//! The broker, as its players and its operator see it: the program itself, clients and servers that others wrote, and a
//! launcher and a session server that can be put into every state.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]
#![allow(clippy::disallowed_methods, reason = "waits in real time")]

#[path = "../support/mod.rs"]
mod support;

mod broker;
mod check;
mod config;
mod join;
mod limits;
mod outcomes;
mod relay;
mod stand_ins;
mod versions;
mod wire;
