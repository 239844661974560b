//! The unit as shipped under a real systemd in a container: the service, `mc-idle check`, holds and reloads. Needs root, and
//! what `tests/machine/setup.sh` installs and builds.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

#[path = "../machine/mod.rs"]
mod machine;
#[path = "../support/mod.rs"]
mod support;

mod check;
mod holds;
mod reload;
mod unit;
