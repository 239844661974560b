//! The program: arguments in, an exit code out.

use std::process::ExitCode;

use clap::Parser;
use mc_broker::cli::{Arguments, Command};
use mc_broker::{check, run};

fn main() -> ExitCode {
    mc_service::process::abort_on_panic();
    match Arguments::parse().command {
        Command::Run { config } => run::run(config.as_deref()),
        Command::Check { config, offline } => check::check(config.as_deref(), offline),
    }
}
