//! The program: settings in, an exit code out.

use std::process::ExitCode;

use mc_launcher::command;

fn main() -> ExitCode {
    command::run()
}
