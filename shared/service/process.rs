//! How a program ends.

use std::error::Error;
use std::process::{self, ExitCode};

use crate::error_chain::chain;
use crate::journal;
use crate::printable::printable;

/// Makes a panic in any thread end the process: without that thread the service would silently stop doing its work,
/// whereas systemd restarts a dead one.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::abort();
    }));
}

/// Prints `error` of `program` and returns `code`.
#[must_use]
pub fn refuse(program: &str, error: &dyn Error, code: u8) -> ExitCode {
    // The prefix gives the line the priority of an error in the journal (sd-daemon(3)).
    let grade = if journal::stderr_is_journal() { "<3>" } else { "" };
    eprintln!("{grade}{}", complaint(program, error));
    ExitCode::from(code)
}

/// `error` of `program` on one line.
#[must_use]
pub fn complaint(program: &str, error: &dyn Error) -> String {
    format!("{program}: {}", printable(&chain(error)))
}
