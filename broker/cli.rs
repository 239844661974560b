//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mc_service::exit_code;

/// The name of the program, in its own complaints.
pub const NAME: &str = "mc-broker";

/// The exit codes and their meanings.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "Success."),
    (exit_code::FAILED, "A check failed, or an address cannot be listened at."),
    (exit_code::USAGE, "Wrong arguments."),
    (exit_code::INTERNAL, "Internal error."),
    (exit_code::CONFIG, "Invalid configuration."),
];

/// Owns the public address of a Minecraft server: a join starts the server, and the player is held and handed over.
#[derive(Debug, Parser)]
#[command(name = "mc-broker", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Run {
        /// Read FILE, and the folder config.d next to it, instead of /etc/mc-broker/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check the configuration and, unless --offline, everything that a join needs. Exits with 1 if something is wrong.
    Check {
        /// Read FILE, and the folder config.d next to it, instead of /etc/mc-broker/config.toml.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Check only the configuration.
        #[arg(long)]
        offline: bool,
    },
}
