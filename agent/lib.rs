//! mc-idle stops the EC2 instance of a Minecraft server when nobody plays on it, and says why at any moment.
//!
//! The path of one sample, from left to right:
//!
//! ```text
//!   host ──────────► mc_idle_rule ──► service ──────────► cloud ──► EC2
//!   sockets, mounts  the rule, pure   does what the rule
//!                                     asks for, and makes
//!                                     one snapshot ──────► report ──► journal, systemd, SSM, status.json, Prometheus
//! ```
//!
//! * [`mc_idle_rule`]: **start here.** Samples and time in, actions out: when is the machine empty, and when may it be
//!   stopped? A separate crate that can use nothing but the standard library.
//! * [`host`]: what the agent sees of its host: the kernel's socket tables, those of every other network, a second
//!   witness, the EFS mounts.
//! * [`ask`]: a third witness: what the Minecraft servers themselves say about who is online.
//! * [`service`]: the loop that takes samples on time and carries out the rule's actions.
//! * [`cloud`]: what can stop this machine, and what is learned about it. AWS is implemented in a separate crate,
//!   `agent/aws`.
//! * [`holds`]: who wants the instance to stay up, until when and why.
//! * [`report`]: what is reported of all this, when, and to whom.
//! * [`journal`]: the lines of the journal, each with its `MESSAGE_ID`.
//! * [`state`]: the files that let the clocks survive a restart of the agent.
//! * [`config`]: text files in, valid settings out.
//! * [`check`]: `mc-idle check`.
//! * [`cli`], [`signals`], [`clock`], [`jitter`], [`bus`]: the edges of the process.
//!
//! The program itself, `agent/main.rs` and `agent/commands/`, wires these together. What other programs need as well is
//! in `shared/`.
//!
//! Two promises outrank everything: a connected or joining player is never cut off, and an empty machine does stop.
//! Unknown is never zero.

pub mod ask;
pub mod bus;
pub mod check;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod holds;
pub mod host;
pub mod jitter;
pub mod journal;
pub mod report;
pub mod service;
pub mod signals;
pub mod state;
