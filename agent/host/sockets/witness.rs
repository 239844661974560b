//! The second witness of a stop: netlink, believed only if it shows what the tables show both before and after it.

use std::path::Path;

use mc_idle_rule::facts::Sockets;

use crate::host::sockets::expected::ExpectedSockets;
use crate::host::sockets::netlink;
use crate::host::sockets::tables::{TableError, Wanted};

/// How often it is asked at most. Where many sockets come and go, the kernel may skip one that stays: both netlink and
/// the tables are handed out in parts, and a part begins where the last one ended by number.
const TRIES: u32 = 3;

/// Why the second witness is not believed.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The kernel could not be asked, or its answer could not be read.
    #[error("cannot list sockets over netlink")]
    Netlink(#[from] netstat2::error::Error),
    /// What it must show is not known.
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("netlink does not show {missed} of the sockets that /proc shows")]
    Missed { missed: usize },
}

/// Lists the host's sockets on a wanted port over netlink. `net` is the folder `/proc/self/net`.
///
/// # Errors
/// Why the answer is not believed.
pub fn ask(net: &Path, wanted: &Wanted<'_>) -> Result<Sockets, WitnessError> {
    let mut missed = 0;
    for _ in 0..TRIES {
        let mut expected = ExpectedSockets::read(net, wanted.ports)?;
        let seen = netlink::read(wanted, |inode| expected.shown(inode))?;
        missed = expected.without_the_gone(net)?.left();
        if missed == 0 {
            return Ok(seen);
        }
    }
    Err(WitnessError::Missed { missed })
}
