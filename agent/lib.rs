//! mc-idle stops the EC2 instance of a Minecraft server when nobody plays on it, and says why at any moment.
//!
//! This page is the map. The way of one sample, from left to right:
//!
//! ```text
//!   host ──────────► idle ──────────► service ────────► cloud ──► EC2
//!   sockets, mount   the rule, pure   does what the     └──────► heartbeat ──► SSM
//!                                     rule asks for ──► notify, journal ──► systemd
//! ```
//!
//! * [`idle`]: **start here.** Samples and time in, actions out: when is the machine empty, when may it be stopped?
//! * [`host`]: what the agent sees of its host: the kernel's socket tables, its containers', a second witness, the EFS mount.
//! * [`service`]: the loop that takes samples on time and carries out what the rule asks for.
//! * [`cloud`]: what can end this machine, and what is learned about it. [`aws`] is that for AWS.
//! * [`metadata`]: what the answers of instance metadata mean.
//! * [`heartbeat`]: what the world can know of this instance, in an SSM parameter.
//! * [`announcer`]: what is told of all this, and when; [`sentence`]: what is so, in a sentence for a person.
//! * [`journal`], [`terminal`], [`notify`]: how it is told to systemd's journal, to a terminal, and to systemd itself.
//! * [`hold`]: who wants the instance to stay up, until when and why.
//! * [`logind`]: inhibitor locks and SSH sessions, which hold too, asked over the [`bus`].
//! * [`status`]: the picture that `mc-idle status` shows.
//! * [`metrics`]: the file for Prometheus.
//! * [`state_file`]: what lets the clocks survive a restart of the agent.
//! * [`keeper`]: when that and the picture are written.
//! * [`config`]: text files in, valid settings out.
//! * [`check`]: `mc-idle check`.
//! * [`cli`], [`signals`], [`clock`], [`jitter`], [`error`], [`wall_time`], [`small_file`], [`whole_file`], [`background`]: the
//!   edges of the process.
//!
//! Two promises outrank everything: a connected or joining player is never cut off, and an empty machine does stop.
//! Unknown is never zero.

pub mod announcer;
#[cfg(feature = "aws")]
pub mod aws;
pub mod background;
pub mod bus;
#[cfg(feature = "aws")]
pub mod check;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod error;
pub mod heartbeat;
pub mod hold;
pub mod host;
pub mod idle;
pub mod jitter;
pub mod journal;
pub mod keeper;
pub mod logind;
pub mod metadata;
pub mod metrics;
pub mod notify;
pub mod sentence;
pub mod service;
pub mod signals;
pub mod small_file;
pub mod state_file;
pub mod status;
pub mod terminal;
pub mod wall_time;
pub mod whole_file;
