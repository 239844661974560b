//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mc_service::exit_code;

/// The exit codes and their meanings.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "Success."),
    (exit_code::FAILED, "A check failed, no agent is running or answering, or a hold could not be placed or ended."),
    (exit_code::USAGE, "Wrong arguments."),
    (exit_code::INTERNAL, "Internal error."),
    (exit_code::CONFIG, "Invalid configuration."),
];

/// Stops the EC2 instance of a Minecraft server when nobody plays on it, and says why at any time.
#[derive(Debug, Parser)]
#[command(name = "mc-idle", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service: watch the server, and stop the instance when nobody plays.
    Run {
        /// Read FILE, and the folder config.d next to it, instead of /etc/mc-idle/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Do everything except AWS calls, and say what would have been done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the configuration and, unless --offline, everything that a stop needs. Exits with 1 if something is wrong.
    Check {
        /// Read FILE, and the folder config.d next to it, instead of /etc/mc-idle/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Check only the configuration.
        #[arg(long)]
        offline: bool,
        /// Print JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Show who is connected, what counts, when the instance stops, and what delays that.
    Status {
        /// Print everything as JSON, for scripts.
        #[arg(long)]
        json: bool,
        /// Refresh every second, until Ctrl-C.
        #[arg(long, conflicts_with = "json")]
        watch: bool,
    },
    /// Keep the instance up for DURATION, even if nobody plays. A later hold replaces this one.
    Hold {
        /// How long: 90m, 2h or 1d, at most 7d.
        #[arg(value_parser = crate::holds::parse_duration)]
        duration: Duration,
        /// Why; shown wherever the hold is.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
    /// End the hold placed by mc-idle hold.
    Release,
    /// Query the file system at PATH: the helper process, which may hang so that the agent does not.
    #[command(name = crate::host::mounts::probe::HELPER, hide = true)]
    ProbeMount {
        /// The mount point.
        path: PathBuf,
    },
    /// Search FOLDERS and mounts for server.properties: another helper process that may hang.
    #[command(name = crate::host::properties::HELPER, hide = true)]
    ProbeProperties {
        /// Folders to search.
        folders: Vec<PathBuf>,
        /// Mount points to search below.
        #[arg(long)]
        below: Vec<PathBuf>,
    },
}

fn reason(text: &str) -> Result<String, String> {
    let reason = crate::holds::tidy(text);
    if reason.is_empty() { Err("a reason is needed".to_owned()) } else { Ok(reason) }
}
