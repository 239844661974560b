//! The second witness of a stop: netlink, believed only if it shows what the tables show before it and after it.

use std::path::Path;

use super::landmarks::Landmarks;
use super::netlink;
use super::tables::TableError;
use crate::config::settings::Scope;
use crate::idle::Seen;

/// How often it is asked at most. Where many sockets come and go the kernel may pass one over that stays: both netlink
/// and the tables are handed out in parts, and a part begins where the last one ended by number.
const TRIES: u32 = 3;

/// Why the second witness is not believed.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The kernel could not be asked, or its answer not be read.
    #[error("cannot list sockets over netlink")]
    Netlink(#[from] netstat2::error::Error),
    /// What it has to show is not known.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It did not see what is there.
    #[error("netlink does not show {missed} of the sockets that /proc shows")]
    Missed {
        /// How many.
        missed: usize,
    },
}

/// Lists the sockets on a Minecraft port by netlink. `net` is the folder `/proc/self/net`.
///
/// # Errors
/// Whatever makes the answer not one to be believed.
pub fn ask(net: &Path, scope: &Scope) -> Result<Seen, WitnessError> {
    let mut missed = 0;
    for _ in 0..TRIES {
        let mut landmarks = Landmarks::read(net, scope)?;
        let seen = netlink::read(scope, |inode| landmarks.shown(inode))?;
        missed = landmarks.without_the_gone(net)?.left();
        if missed == 0 {
            return Ok(seen);
        }
    }
    Err(WitnessError::Missed { missed })
}
