//! The server itself: does it run on the host or in a container, and which processes are its own? Only for `mc-idle check`:
//! the rule goes by sockets alone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use procfs::net::{TcpNetEntry, TcpState};

use super::containers::{self, ContainersError};
use super::published::{self, Place};
use super::tables::{self, TableError};
use crate::config::settings::Scope;

/// Why it is not known where the server is.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The host's own sockets are unknown.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// Nobody knows what is in the containers.
    #[error(transparent)]
    Containers(#[from] ContainersError),
}

/// Where servers listen on the Minecraft ports. `proc` is the folder `/proc`.
///
/// # Errors
/// Whatever keeps sockets from being seen.
pub fn place(proc: &Path, scope: &Scope) -> Result<Place, ServerError> {
    let host = tables::read(&proc.join("self/net"), scope)?;
    Ok(published::place(&host, &containers::look(proc, scope)?))
}

/// The processes that listen on the Minecraft ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    /// Their folders in `/proc`.
    pub found: Vec<PathBuf>,
    /// Some processes may not be looked into by this user.
    pub hidden: bool,
}

/// Looks for the processes that listen on the Minecraft ports, on the host or in a container. Nothing is opened that a
/// hung file system could keep waiting: of open files only the names of links in `/proc` are read (proc(5)).
///
/// # Errors
/// Whatever keeps sockets or processes from being seen.
pub fn processes(proc: &Path, scope: &Scope) -> Result<Processes, ServerError> {
    let all = containers::processes(proc)?;
    let wanted = listeners(proc, &all, scope)?;
    let mut processes = Processes::default();
    if wanted.is_empty() {
        return Ok(processes);
    }
    for process in all {
        match has_open(&process, &wanted) {
            Ok(true) => processes.found.push(process),
            Ok(false) => {}
            Err(error) => processes.hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    Ok(processes)
}

/// The sockets that listen on the Minecraft ports, as `/proc/PID/fd` names them.
fn listeners(proc: &Path, processes: &[PathBuf], scope: &Scope) -> Result<BTreeSet<PathBuf>, ServerError> {
    let mut sockets = BTreeSet::new();
    let mut read = |net: &Path| {
        tables::read_rows(net, |row: &TcpNetEntry| {
            if row.state == TcpState::Listen && scope.covers(row.local_address) {
                sockets.insert(PathBuf::from(format!("socket:[{}]", row.inode)));
            }
        })
    };
    read(&proc.join("self/net"))?;
    let mut done: BTreeSet<u64> = containers::namespace(&proc.join("self"))?.into_iter().collect();
    for process in processes {
        if let Some(namespace) = containers::namespace(process)?
            && !done.contains(&namespace)
            && containers::in_a_container(process)? == Some(true)
            // The process may have ended.
            && read(&process.join("net")).is_ok()
        {
            done.insert(namespace);
        }
    }
    Ok(sockets)
}

fn has_open(process: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<bool> {
    for entry in process.join("fd").read_dir()? {
        // It may be closed by now.
        if std::fs::read_link(entry?.path()).is_ok_and(|target| wanted.contains(&target)) {
            return Ok(true);
        }
    }
    Ok(false)
}
