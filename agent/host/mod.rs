//! The host as the agent sees it: socket tables, the second witness, the mount.
//!
//! * [`tables`]: `/proc/self/net/tcp` and `tcp6`, the first witness.
//! * [`netlink`]: the same question put to the kernel by another way, the second witness.
//! * [`mountinfo`]: is EFS mounted?
//! * [`probe`]: does it answer?

pub mod mountinfo;
pub mod netlink;
pub mod probe;
pub mod tables;

use std::path::{Path, PathBuf};

use crate::config::settings::{EfsSettings, Scope};
use crate::idle::Reading;
use mountinfo::Mount;
use tables::Landmarks;

/// What the agent asks a host. A test gives one of its own.
pub trait Host {
    /// Reads the socket tables once, and says what the second witness has to see as well.
    fn sample(&mut self, scope: &Scope) -> (Reading, Landmarks);
    /// Asks the second witness.
    fn witness(&mut self, scope: &Scope, landmarks: Landmarks) -> Reading;
    /// Looks for the mount.
    fn mount(&mut self, efs: &EfsSettings) -> Mount;
}

/// This host, below a root folder: `/`, or a folder that looks like a host.
#[derive(Debug)]
pub struct ThisHost {
    proc_self: PathBuf,
}

impl ThisHost {
    /// Reads `proc/self` below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        ThisHost { proc_self: root.join("proc/self") }
    }
}

impl Host for ThisHost {
    fn sample(&mut self, scope: &Scope) -> (Reading, Landmarks) {
        match tables::read(&self.proc_self.join("net"), scope) {
            Ok((seen, landmarks)) => (Reading::Seen(seen), landmarks),
            Err(error) => (Reading::Unknown(crate::error::chain(&error)), Landmarks::default()),
        }
    }

    fn witness(&mut self, scope: &Scope, landmarks: Landmarks) -> Reading {
        match netlink::read(scope, landmarks) {
            Ok(seen) => Reading::Seen(seen),
            Err(error) => Reading::Unknown(crate::error::chain(&error)),
        }
    }

    fn mount(&mut self, efs: &EfsSettings) -> Mount {
        mountinfo::find(&self.proc_self.join("mountinfo"), &efs.mount_point)
    }
}
