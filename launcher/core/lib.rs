//! What the launcher decides. Pure: values and the time in, actions out. As a crate without an SDK, a runtime or a clock it cannot do
//! anything else; `launcher/` carries it out.
//!
//! * [`start`]: **start here.** What happens at the press of the button, and why there are never two servers.
//! * [`server`]: how the server is: asleep, starting, up, stopping, in trouble, unknown.
//! * [`warden`]: the dead-man's switch, and what to tell whom. [`tell`]: the ways to tell it.
//! * [`web`]: what a request asks for, whether whoever sends it may, and the page.
//! * [`settings`]: the environment, parsed once.

pub mod server;
pub mod settings;
pub mod start;
pub mod tell;
pub mod warden;
pub mod web;
