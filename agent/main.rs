//! The program's entry point.

mod commands;
mod process;

use std::process::ExitCode;

use clap::Parser;
use mc_idle::cli::{Arguments, Command};
use mc_idle::host::mounts::probe;
use mc_idle::host::properties;
use mc_service::printable::printable;

fn main() -> ExitCode {
    mc_service::process::abort_on_panic();
    match arguments().command {
        Command::Run { config, dry_run } => commands::run::run(config, dry_run),
        Command::Check { config, offline, json } => commands::check::check(config.as_deref(), offline, json),
        Command::Status { json: true, .. } => commands::status::json(),
        Command::Status { watch: true, .. } => commands::status::watch(),
        Command::Status { .. } => commands::status::show(),
        Command::Hold { duration, reason } => commands::hold::hold(duration, &reason),
        Command::Release => commands::hold::release(),
        Command::ProbeMount { path } => probe::helper(&path),
        Command::ProbeProperties { folders, below } => properties::helper(&folders, &below, std::io::stdout()),
    }
}

fn arguments() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|error| {
        // clap quotes wrong arguments, which may contain control characters: parse a printable copy for the message.
        let shown = std::env::args_os().map(|argument| printable(&argument.to_string_lossy()).into_owned());
        Arguments::try_parse_from(shown).map_or_else(|shown| shown.exit(), |_| error.exit())
    })
}
