//! The host as the agent sees it: the sockets of every network, the second witness, the mounts. Facts only;
//! [`mc_idle_rule::judge`] decides what they mean.
//!
//! * [`networks`]: **start here.** Every network of the machine, and how often each is read.
//! * [`processes`]: which networks there are, and which processes may listen on behalf of a server. [`addresses`]: the
//!   addresses of a network.
//! * [`sockets`]: the kernel's socket tables.
//! * [`mounts`]: the mounts that the world may be on, and whether they respond.
//! * [`server`]: which processes are servers. [`properties`]: what `server.properties` says.

pub mod addresses;
pub mod mounts;
pub mod networks;
pub mod processes;
pub mod properties;
pub mod server;
pub mod sockets;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mc_idle_rule::Moment;

use crate::config::settings::{MountPoint, Scope};
use mounts::efs::Mounts;
use networks::{Depth, Look, Networks, SecondLook};

/// The agent's own ends of the connections on which it asks servers.
pub type OwnEnds = BTreeSet<SocketAddr>;

/// What the agent needs to know about a host. Tests provide their own.
pub trait Host {
    /// Reads the sockets of every network.
    fn look(&mut self, now: Moment, depth: Depth, scope: &Scope, own: &OwnEnds) -> Look;
    /// Reads them again, from the second witness.
    fn second_look(&mut self, now: Moment, scope: &Scope, own: &OwnEnds) -> SecondLook;
    /// Whether there is a second witness at all.
    ///
    /// # Errors
    /// Why there is none.
    fn second_witness(&self) -> Result<(), String>;
    /// Finds the mounts that count as EFS.
    fn mounts(&mut self, mount_point: &MountPoint) -> Mounts;
}

/// This host, below a root folder: `/`, or a folder laid out like a host.
#[derive(Debug)]
pub struct ThisHost {
    root: PathBuf,
    networks: Networks,
}

impl ThisHost {
    /// Reads `proc` below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        ThisHost { root: root.to_owned(), networks: Networks::below(root) }
    }
}

impl Host for ThisHost {
    fn look(&mut self, now: Moment, depth: Depth, scope: &Scope, own: &OwnEnds) -> Look {
        self.networks.look(now, depth, scope, own)
    }

    fn second_look(&mut self, now: Moment, scope: &Scope, own: &OwnEnds) -> SecondLook {
        self.networks.second_look(now, scope, own)
    }

    fn second_witness(&self) -> Result<(), String> {
        sockets::sock_diag::probe().map_err(|error| format!("{}: {error}", networks::NO_SOCK_DIAG))
    }

    fn mounts(&mut self, mount_point: &MountPoint) -> Mounts {
        mounts::find::find(&self.root, mount_point)
    }
}
