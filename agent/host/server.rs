//! Finds the processes of the server. Only for `mc-idle check`: the rule goes by sockets alone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use procfs::net::{TcpNetEntry, TcpState};

use crate::config::settings::Scope;
use crate::host::processes;
use crate::host::sockets::tables;

/// The processes that listen on the Minecraft ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    /// Their folders in `/proc`.
    pub found: Vec<PathBuf>,
    /// This user may not inspect some processes.
    pub hidden: bool,
}

/// Finds the processes that listen on the Minecraft ports, on the host or in a container. Opens nothing that could hang
/// with a file system: of open files only the link names in `/proc` are read (proc(5)).
///
/// # Errors
/// Why sockets or processes cannot be seen.
pub fn processes(proc: &Path, scope: &Scope) -> io::Result<Processes> {
    let mut all = processes::list(proc)?;
    all.sort_unstable();
    let wanted = listeners(proc, &all, scope)?;
    let mut processes = Processes::default();
    if wanted.is_empty() {
        return Ok(processes);
    }
    for (_, process) in all {
        match has_open(&process, &wanted) {
            Ok(true) => processes.found.push(process),
            Ok(false) => {}
            Err(error) => processes.hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    Ok(processes)
}

/// The sockets that listen on the Minecraft ports, named as in `/proc/PID/fd`.
fn listeners(proc: &Path, processes: &[(u32, PathBuf)], scope: &Scope) -> io::Result<BTreeSet<PathBuf>> {
    let mut sockets = BTreeSet::new();
    let mut read = |net: &Path| {
        tables::read_rows(net, |row: &TcpNetEntry| {
            if row.state == TcpState::Listen && scope.covers(row.local_address) {
                sockets.insert(PathBuf::from(format!("socket:[{}]", row.inode)));
            }
        })
    };
    read(&proc.join("self/net")).map_err(io::Error::other)?;
    let mut done = BTreeSet::from([processes::network(&proc.join("self"))?]);
    for (_, process) in processes {
        // A process that has exited, or whose tables cannot be read, is skipped.
        if let Ok(network) = processes::network(process)
            && !done.contains(&network)
            && read(&process.join("net")).is_ok()
        {
            done.insert(network);
        }
    }
    Ok(sockets)
}

fn has_open(process: &Path, wanted: &BTreeSet<PathBuf>) -> io::Result<bool> {
    for entry in process.join("fd").read_dir()? {
        // It may have been closed meanwhile.
        if std::fs::read_link(entry?.path()).is_ok_and(|target| wanted.contains(&target)) {
            return Ok(true);
        }
    }
    Ok(false)
}
