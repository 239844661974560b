//! What the agent sees of sockets and networks, on real ones in namespaces of each test's own. Needs root.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

#[path = "../support/mod.rs"]
mod support;

mod namespaces;
mod networks;
mod sockets;
mod witness;
