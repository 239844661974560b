//! Reading `status.json`: whoever may read the runtime directory may ask.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::record::{NAME, Status};
use crate::idle::Moment;
use crate::small_file;
use crate::wall_time::millis;

/// What there is to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// The agent runs, and this is so.
    Fresh {
        /// The last that it wrote.
        status: Box<Status>,
        /// How long ago.
        age: Duration,
    },
    /// The agent should have renewed it: it is dead or stuck.
    Stale {
        /// The last that it wrote.
        status: Box<Status>,
        /// How long ago.
        age: Duration,
    },
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no file.
    #[error(
        "no mc-idle runs here: there is no {0}; start it with systemctl start mc-idle, and see journalctl -u mc-idle"
    )]
    NoAgent(String),
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("{path} is not from this version of mc-idle; restart the agent")]
    Wrong {
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
}

/// The picture in `folder`, as it is to be taken at `now`.
///
/// # Errors
/// Why there is none.
pub fn read(folder: &Path, now: Moment) -> Result<Picture, ViewError> {
    let path = folder.join(NAME);
    let name = path.display().to_string();
    let text = small_file::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ViewError::NoAgent(name.clone()),
        _ => ViewError::Unreadable { path: name.clone(), source },
    })?;
    let status: Box<Status> =
        serde_json::from_slice(&text).map_err(|source| ViewError::Wrong { path: name, source })?;
    let age = Duration::from_millis(millis(now.0).saturating_sub(status.at_ms));
    if millis(now.0) > status.next_by_ms {
        return Ok(Picture::Stale { status, age });
    }
    Ok(Picture::Fresh { status, age })
}
