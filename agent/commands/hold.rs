//! `mc-idle hold` and `mc-idle release`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use mc_idle::clock::{self, Clock};
use mc_idle::holds;
use mc_idle::holds::file::Time;
use mc_idle::report::sentence;
use mc_idle::report::status::view_file::{self, StatusFile, ViewError};
use mc_service::exit_code;
use mc_service::printable::printable;

use crate::process::{boot_id, in_heartbeat, refuse, runtime, runtime_directory};

/// How long `mc-idle hold` waits for an agent that is starting or restarting (`RestartSec=` of the unit).
const AGENT_PATIENCE: Duration = Duration::from_secs(4);
/// How often it checks for the agent meanwhile.
const AGENT_AGAIN: Duration = Duration::from_millis(50);

pub(crate) fn hold(duration: Duration, reason: &str) -> ExitCode {
    let folder = runtime_directory();
    // Under some container managers a confined service sees a different boot id than other processes: the agent's
    // counts.
    let boot_id = match runtime().map(|runtime| runtime.block_on(wait_for_agent(&folder))) {
        Ok(Ok(StatusFile::Fresh { status, .. } | StatusFile::Stale { status, .. })) => status.boot_id,
        Ok(Err(error @ (ViewError::NoAgent { .. } | ViewError::NoFolder { .. }))) => {
            return refuse(&error, exit_code::FAILED);
        }
        // The agent may be running all the same.
        Ok(Err(_)) => in_heartbeat(boot_id()),
        Err(error) => return refuse(&error, exit_code::INTERNAL),
    };
    let time = Time { boot_id: &boot_id, slept: clock::slept(), now: Clock::start().now() };
    match holds::place(&folder, time, duration, reason) {
        Ok(()) => {
            let end = clock::wall().checked_add(duration).map(|end| end.strftime(" (%Y-%m-%d %H:%M UTC)").to_string());
            let (length, end) = (sentence::in_words(duration), end.unwrap_or_default());
            println!("held for {length}{end}: {}", printable(reason));
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error, exit_code::FAILED),
    }
}

/// Reads the agent's status, waiting for an agent that is still starting.
async fn wait_for_agent(folder: &Path) -> Result<StatusFile, ViewError> {
    let clock = Clock::start();
    let end = clock.now().plus(AGENT_PATIENCE);
    loop {
        match view_file::read(folder, clock.now()) {
            Err(ViewError::NoAgent { .. }) if clock.now() < end => tokio::time::sleep(AGENT_AGAIN).await,
            picture => return picture,
        }
    }
}

pub(crate) fn release() -> ExitCode {
    let folder = runtime_directory();
    match holds::release(&folder) {
        Ok(true) => {
            println!("released");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            if let Err(error @ (ViewError::NoAgent { .. } | ViewError::NoFolder { .. })) =
                view_file::read(&folder, Clock::start().now())
            {
                refuse(&error, exit_code::FAILED)
            } else {
                println!("there was no hold");
                ExitCode::SUCCESS
            }
        }
        Err(error) => refuse(&error, exit_code::FAILED),
    }
}
