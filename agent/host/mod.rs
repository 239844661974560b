//! The host as the agent sees it: socket tables, the second witness, the mount.
//!
//! * [`tables`]: `/proc/self/net/tcp` and `tcp6`, the first witness.
//! * [`seq_file`]: how such a table is read to its end.
//! * [`row`]: one row of such a table.
//! * [`containers`]: the tables of containers, which have networks of their own.
//! * [`roll_call`]: when containers have to be looked for anew.
//! * [`published`]: what a port means that a container's engine listens on.
//! * [`server`]: where a server runs, and which processes are its own.
//! * [`properties`]: what `server.properties` says.
//! * [`witness`]: the same question put to the kernel by another way, the second witness.
//! * [`netlink`]: that way.
//! * [`landmarks`]: by what it shows that the second witness has seen everything.
//! * [`mountinfo`]: is EFS mounted?
//! * [`probe`]: does it answer?

pub mod containers;
pub mod landmarks;
pub mod mountinfo;
pub mod netlink;
pub mod probe;
pub mod properties;
pub mod published;
pub mod roll_call;
pub mod row;
pub mod seq_file;
pub mod server;
pub mod tables;
pub mod witness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use containers::Containers;

use crate::config::settings::{EfsSettings, Scope};
use crate::error::chain;
use crate::idle::{Reading, Seen, Socket};
use mountinfo::Mount;
use roll_call::RollCall;

/// One look at the sockets of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What the rule goes by.
    pub reading: Reading,
    /// Connections whose peers are ignored: only to be told of.
    pub ignored: Vec<Socket>,
    /// Connections to a server in a container, ignored or not.
    pub in_containers: BTreeSet<Socket>,
}

impl Sample {
    /// A look that shows just `reading`.
    #[must_use]
    pub fn of(reading: Reading) -> Self {
        Sample { reading, ignored: Vec::new(), in_containers: BTreeSet::new() }
    }
}

/// What the agent asks a host. A test gives one of its own.
pub trait Host {
    /// Reads the socket tables once.
    fn sample(&mut self, scope: &Scope) -> Sample;
    /// Asks the second witness.
    fn witness(&mut self, scope: &Scope) -> Reading;
    /// Looks for the mount.
    fn mount(&mut self, efs: &EfsSettings) -> Mount;
}

/// This host, below a root folder: `/`, or a folder that looks like a host.
#[derive(Debug)]
pub struct ThisHost {
    proc: PathBuf,
    roll_call: RollCall,
}

impl ThisHost {
    /// Reads `proc` below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let proc = root.join("proc");
        ThisHost { roll_call: RollCall::of(&proc), proc }
    }

    fn net(&self) -> PathBuf {
        self.proc.join("self/net")
    }
}

impl Host for ThisHost {
    fn sample(&mut self, scope: &Scope) -> Sample {
        let mut host = match tables::read(&self.net(), scope) {
            Ok(tables) => tables,
            Err(error) => return Sample::of(Reading::Unknown(chain(&error))),
        };
        let (containers, trouble) = match self.roll_call.containers(scope) {
            Ok(containers) => (containers, None),
            Err(error) => (Containers::default(), Some(error)),
        };
        let reading = reading(published::weigh(&host, trouble.map_or(Ok(&containers), Err), scope));
        if matches!(reading, Reading::Unknown(_)) {
            self.roll_call.forget();
        }
        let mut in_containers = BTreeSet::new();
        if scope.containers {
            in_containers.extend(containers.seen.sockets.iter().chain(&containers.ignored));
            host.ignored.extend(containers.ignored);
        }
        Sample { reading, ignored: host.ignored, in_containers }
    }

    fn witness(&mut self, scope: &Scope) -> Reading {
        let netlink = match witness::ask(&self.net(), scope) {
            Ok(seen) => seen,
            Err(error) => return reading(Err::<Seen, _>(error)),
        };
        if !scope.containers {
            return Reading::Seen(netlink);
        }
        // netlink tells of the own network only. The containers are looked for and read a second time instead.
        reading(containers::look(&self.proc, scope).map(|containers| published::both(&netlink, &containers.seen)))
    }

    fn mount(&mut self, efs: &EfsSettings) -> Mount {
        mountinfo::find(&self.proc.join("self/mountinfo"), &efs.mount_point)
    }
}

fn reading<E: std::error::Error>(result: Result<Seen, E>) -> Reading {
    match result {
        Ok(seen) => Reading::Seen(seen),
        Err(error) => Reading::Unknown(chain(&error)),
    }
}
