//! The broker, as its players and its operator see it: the program itself, clients and servers that others wrote, and a
//! launcher and a session server that can be put into every state.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]
#![allow(clippy::disallowed_methods, reason = "waits in real time")]
#![allow(clippy::cast_precision_loss, reason = "the stand-in for EC2 writes seconds as it does")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../launcher/launcher.rs"]
#[allow(dead_code, reason = "the launcher's own tests use the rest")]
mod launcher;
#[path = "../launcher/stand_in.rs"]
#[allow(dead_code, reason = "the launcher's own tests use the rest")]
mod stand_in;

mod broker;
mod check;
mod config;
mod join;
mod limits;
mod operators;
mod outcomes;
mod real_launcher;
mod relay;
mod stand_ins;
mod versions;
mod wire;
