//! `mc-idle status`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use mc_idle::clock::{self, Clock};
use mc_idle::report::status::screen::{self, Style};
use mc_idle::report::status::view_file::{self, StatusFile, ViewError};
use mc_service::{exit_code, printable};

use crate::process::{complaint, refuse, runtime, runtime_directory};

/// The refresh interval of `--watch`.
const RENEWAL: Duration = Duration::from_secs(1);

/// Prints the status for a person.
pub(crate) fn show() -> ExitCode {
    match look() {
        Ok(picture) => print(&screen::draw(&picture, style(), clock::wall()), &picture),
        Err(error) => refuse(&error, exit_code::FAILED),
    }
}

/// Prints the status as JSON.
pub(crate) fn json() -> ExitCode {
    match look() {
        Ok(picture) => {
            let (StatusFile::Fresh { status, .. } | StatusFile::Stale { status, .. }) = &picture;
            // Fails only for maps with non-string keys and failing Serialize impls; there are none here.
            let text = printable::json(&serde_json::to_string_pretty(status).unwrap_or_default()) + "\n";
            let code = print(&text, &picture);
            if matches!(picture, StatusFile::Stale { .. }) {
                eprintln!("mc-idle: the agent does not answer; this status is old");
            }
            code
        }
        Err(error) => refuse(&error, exit_code::FAILED),
    }
}

/// Prints the status every second until the output is closed.
pub(crate) fn watch() -> ExitCode {
    let watched = runtime().map(|runtime| {
        runtime.block_on(async {
            loop {
                let screen = match look() {
                    Ok(picture) => screen::draw(&picture, style(), clock::wall()),
                    Err(error) => complaint(&error) + "\n",
                };
                // Cursor home, then clear the rest of the screen (ECMA-48).
                if write!(io::stdout(), "\x1b[H\x1b[2J{screen}").and_then(|()| io::stdout().flush()).is_err() {
                    return;
                }
                tokio::time::sleep(RENEWAL).await;
            }
        });
    });
    watched.map_or_else(|error| refuse(&error, exit_code::INTERNAL), |()| ExitCode::SUCCESS)
}

fn look() -> Result<StatusFile, ViewError> {
    view_file::read(&runtime_directory(), Clock::start().now())
}

/// Colours on a terminal, unless NO_COLOR is set (no-color.org).
fn style() -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour: io::stdout().is_terminal() && wanted }
}

fn print(text: &str, picture: &StatusFile) -> ExitCode {
    // Ignore a closed pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    match picture {
        StatusFile::Fresh { .. } => ExitCode::SUCCESS,
        StatusFile::Stale { .. } => ExitCode::from(exit_code::FAILED),
    }
}
