//! The launcher: starts the server on demand, shows it, watches over an agent that has died, and tells people.
//!
//! ```text
//!   entry ────────► roles ────────► aws, game, tell
//!   Lambda, HTTP    page, warden    what they see, and what they do
//!                     │
//!                     └──► mc-launcher-core: every decision, pure
//! ```
//!
//! * `mc-launcher-core`, a crate: **start there.** Everything that is decided, and the page.
//! * [`roles`]: carries it out. [`entry`]: Lambda, or a server of its own. [`command`]: the command line.
//! * [`aws`]: EC2, SSM, SNS, Route 53. [`game`]: the Minecraft server itself. [`tell`]: channels to people.
//! * [`clock`], [`deadline`]: the time, and until when answers are waited for.

pub mod aws;
pub mod clock;
pub mod command;
pub mod deadline;
pub mod entry;
pub mod game;
pub mod roles;
pub mod tell;
