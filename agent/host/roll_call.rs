//! When the containers of a host have to be looked for anew.
//!
//! To find them, every process is looked at, which can cost more than the tables themselves. As long as the kernel has
//! given out no process id since the last time (the end of `/proc/loadavg`, proc(5)), there is no new container, and only
//! the networks that were found are read. A process may still move into another network or control group under the id that
//! it has, so all are gone through now and then whatever that file says. The second witness of a stop always goes through
//! all of them.

use std::path::{Path, PathBuf};

use super::containers::{self, Containers, ContainersError, Found};
use crate::config::settings::Scope;

/// At least one sample in so many goes through all processes.
const AT_LEAST_EVERY: u32 = 6;

/// Whoever was found, and when.
#[derive(Debug)]
pub struct RollCall {
    proc: PathBuf,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    newest: u64,
    found: Found,
    samples: u32,
}

impl RollCall {
    /// Of the processes below `proc`, the folder `/proc`.
    #[must_use]
    pub fn of(proc: &Path) -> Self {
        RollCall { proc: proc.to_owned(), last: None }
    }

    /// What the containers show now.
    ///
    /// # Errors
    /// Whatever keeps anybody in a container from being seen.
    pub fn containers(&mut self, scope: &Scope) -> Result<Containers, ContainersError> {
        // Before the processes are gone through: whoever comes meanwhile counts as new the next time.
        let newest = newest_process(&self.proc);
        if let Some(Last { found, samples, .. }) =
            self.last.as_mut().filter(|last| Some(last.newest) == newest && last.samples < AT_LEAST_EVERY)
            && let Some(containers) = found.again(scope)?
        {
            *samples += 1;
            return Ok(containers);
        }
        self.last = None;
        let found = containers::find(&self.proc, scope)?;
        let containers = found.containers.clone();
        self.last = newest.map(|newest| Last { newest, found, samples: 1 });
        Ok(containers)
    }

    /// Looks for all of them the next time.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// The process id that the kernel has given out last. `None`: it does not tell.
fn newest_process(proc: &Path) -> Option<u64> {
    let load = std::fs::read_to_string(proc.join("loadavg")).ok()?;
    load.split_ascii_whitespace().nth(4)?.parse().ok()
}
