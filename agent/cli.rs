//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Wrong arguments; what clap itself exits with.
pub const EXIT_USAGE: u8 = 2;
/// A check failed.
pub const EXIT_FAILED: u8 = 1;
/// Something that should not happen (sysexits.h, EX_SOFTWARE).
pub const EXIT_INTERNAL: u8 = 70;
/// The configuration is refused (sysexits.h, EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// Every exit code and when a command ends with it.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "Done."),
    (EXIT_FAILED, "A check failed, no agent runs or answers, or a hold could not be placed or ended."),
    (EXIT_USAGE, "Wrong arguments."),
    (EXIT_INTERNAL, "An internal error."),
    (EXIT_CONFIG, "The configuration is refused."),
];

/// Stops the EC2 instance of a Minecraft server when nobody plays on it, and says why at any moment.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the server and stop the instance when it is empty: the service.
    Run {
        /// Read FILE, and the folder config.d beside it, instead of /etc/mc-idle/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Do everything but the AWS calls, and say what would have been done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the configuration and, unless --offline, everything that a stop needs. Exits with 1 if something is wrong.
    Check {
        /// Read FILE, and the folder config.d beside it, instead of /etc/mc-idle/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Check the configuration only.
        #[arg(long)]
        offline: bool,
        /// Tell it as JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Say how it is: who is connected, what counts, when the instance stops, and what delays that.
    Status {
        /// Everything, as JSON, for scripts.
        #[arg(long)]
        json: bool,
        /// Show it again every second, until Ctrl-C.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Keep the instance up for DURATION, whoever plays. A later hold takes the place of this one.
    Hold {
        /// How long: 90m, 2h or 1d, at most 7d.
        #[arg(value_parser = crate::hold::parse_duration)]
        duration: Duration,
        /// Why, for everybody who asks.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// End the hold that mc-idle hold has placed.
    Release,
    /// Ask the file system at PATH for its figures: the helper that may hang in the agent's place.
    #[command(name = crate::host::probe::HELPER, hide = true)]
    ProbeMount {
        /// The mount point.
        path: PathBuf,
    },
    /// Look for files server.properties in FOLDERS and below a mount: another helper that may hang in another's place.
    #[command(name = crate::host::properties::HELPER, hide = true)]
    ProbeProperties {
        /// Folders to look in.
        folders: Vec<PathBuf>,
        /// The mount point.
        #[arg(long)]
        below: Option<PathBuf>,
    },
}

fn reason(text: &str) -> Result<String, String> {
    let reason = crate::hold::tidy(text);
    if reason.is_empty() { Err("say why".to_owned()) } else { Ok(reason) }
}
