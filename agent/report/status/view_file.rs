//! Reads `status.json`. Everybody may read it, but only a file that the agent wrote is believed.

use std::io;
use std::path::Path;
use std::time::Duration;

use mc_idle_rule::Moment;
use mc_service::small_file;

use crate::clock::millis;
use crate::report::status::record::{NAME, Status};

/// A status file, fresh or stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusFile {
    Fresh {
        status: Box<Status>,
        /// Since it was written.
        age: Duration,
    },
    /// The agent should have written a new one: it is dead or stuck.
    Stale {
        status: Box<Status>,
        /// Since it was written.
        age: Duration,
    },
}

const START: &str = "start it with systemctl start mc-idle, and see journalctl -u mc-idle";

/// Why there is no status to show.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error("no agent is running: there is no {path}; {START}")]
    NoAgent { path: String },
    /// Even the folder is missing, which systemd makes for the agent.
    #[error("no agent is running: there is no folder {folder}; {START}")]
    NoFolder { folder: String },
    #[error("cannot read {path}")]
    Unreadable { path: String, source: io::Error },
    #[error("{path} is not from this version of mc-idle; restart the agent")]
    Wrong { path: String, source: serde_json::Error },
}

/// The status file in `folder`; `now` decides whether it is stale.
///
/// # Errors
/// There is no file, or it cannot be read or understood.
pub fn read(folder: &Path, now: Moment) -> Result<StatusFile, ViewError> {
    let path = folder.join(NAME);
    let name = path.display().to_string();
    let text = small_file::read_of_the_agent(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if folder.exists() => ViewError::NoAgent { path: name.clone() },
        io::ErrorKind::NotFound => ViewError::NoFolder { folder: folder.display().to_string() },
        _ => ViewError::Unreadable { path: name.clone(), source },
    })?;
    let status: Box<Status> =
        serde_json::from_slice(&text).map_err(|source| ViewError::Wrong { path: name, source })?;
    let age = Duration::from_millis(millis(now.0).saturating_sub(status.at_ms));
    if millis(now.0) > status.next_by_ms {
        return Ok(StatusFile::Stale { status, age });
    }
    Ok(StatusFile::Fresh { status, age })
}
