//! Owns the public Minecraft address: a join starts the server, and the player is held and handed over, so that no game data
//! goes through here.
//!
//! ```text
//!   net ◄───────────► mc-broker-core ◄────────► coordinator ──► launcher, game
//!   connections       every decision, pure      everybody       who can be asked
//!                                               who waits
//! ```
//!
//! * `mc-broker-core`, a crate: **start there.** Everything that is decided, and the protocol.
//! * [`net`]: sockets. [`coordinator`]: the one task that all connections ask.
//! * [`launcher`], [`session_server`], [`game`]: whom the broker asks. [`key_pair`]: the key of its logins.
//! * [`run`]: assembles the service. [`config`], [`cli`], [`check`]: for operators. [`journal`], [`counters`], [`metrics`]: what
//!   they can read.
//! * [`clock`], [`random`]: what no value can stand for.

pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod counters;
pub mod game;
pub mod journal;
pub mod key_pair;
pub mod launcher;
pub mod metrics;
pub mod net;
pub mod random;
pub mod run;
pub mod session_server;
