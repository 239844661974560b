//! The containers of a host, and who is connected to a server in one of them.
//!
//! A published port leaves nothing in the host's tables but, at most, the listener of a proxy: the players are in the
//! tables of the container's network namespace, `/proc/PID/net/tcp` and `tcp6` of any process in it, readable to all
//! (proc(5)). A process is a container's if its control group says so. Command lines are not looked at: they wait for a
//! lock that a process stuck on NFS may hold.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::net::{TcpNetEntry, TcpState};

use super::tables::{self, Listener, TableError};
use crate::config::settings::Scope;
use crate::idle::{Seen, Socket};

/// A container's id, as Docker, Podman and containerd write it into the name of its control group.
const ID_DIGITS: usize = 64;
/// Also as seen from a user namespace of the agent's own (`PrivateUsers=`, systemd.exec(5)).
const ROOT: u32 = 0;
/// ESRCH: the process was there when the file was opened (errno(3)).
const GONE: i32 = 3;
/// How often all processes are gone through while one of them ends under the reader.
const ROUNDS: u32 = 3;

/// Why it is not known who is in the containers.
#[derive(Debug, thiserror::Error)]
pub enum ContainersError {
    /// This process may not see others.
    #[error(
        "other processes cannot be seen, and so no container: take ProtectProc= out of the unit, and hidepid= from the \
         mount of /proc, or set minecraft.containers = false if the server runs on the host itself"
    )]
    Hidden,
    /// The kernel does not tell of a process.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The table of a container is unknown.
    #[error("the sockets of a container are unknown")]
    Table(#[from] TableError),
    /// Every process of a container that was to show its tables has ended meanwhile, again and again.
    #[error("the processes of a container end while its sockets are read")]
    Restless,
}

/// What one look at all processes shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Containers {
    /// What is about a Minecraft port, in all of them.
    pub seen: Seen,
    /// Connections on a Minecraft port whose peers are ignored.
    pub ignored: Vec<Socket>,
    /// How many network namespaces were read.
    pub read: usize,
    /// Somebody from outside is connected to another port that a container listens on.
    pub busy_elsewhere: bool,
    /// `docker-proxy`, or `dockerd` with `userland-proxy=false`. They listen on IPv4 and on IPv6 with a socket each.
    docker_publishes: bool,
    /// `conmon`. Engines that run without root are another matter: they pass every byte on themselves, so that whoever
    /// comes through them shows on the host.
    podman_publishes: bool,
}

impl Containers {
    /// Whether `listener`, one of `all` on the host, may be a publishing proxy's. Only its owner can tell for certain.
    #[must_use]
    pub fn may_publish(&self, listener: Listener, all: &[Listener]) -> bool {
        let dual_stack = !all.iter().any(|other| other.ipv4 && other.port == listener.port);
        listener.uid == ROOT && (self.podman_publishes || self.docker_publishes && !dual_stack)
    }
}

/// A container's network, and a process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    process: PathBuf,
    network: u64,
}

/// What one look at all processes shows, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it shows.
    pub containers: Containers,
    homes: Vec<Home>,
}

impl Found {
    /// Reads the networks that were found, and no others. `None`: a process is not where it was, so that others have to be
    /// looked for.
    ///
    /// # Errors
    /// Whatever keeps anybody in them from being seen.
    pub fn again(&self, scope: &Scope) -> Result<Option<Containers>, ContainersError> {
        let Containers { docker_publishes, podman_publishes, .. } = self.containers;
        let mut containers = Containers { docker_publishes, podman_publishes, ..Containers::default() };
        for Home { process, network } in &self.homes {
            if namespace(process)? != Some(*network) || in_a_container(process)? != Some(true) {
                return Ok(None);
            }
            let Some(tables) = Network::of(process, *network, scope)? else { return Ok(None) };
            containers.take_in(tables);
        }
        Ok(Some(containers))
    }
}

/// Looks into every container below `proc`, the folder `/proc`, once for each network namespace but the own one.
///
/// # Errors
/// Whatever keeps anybody in a container from being seen.
pub fn look(proc: &Path, scope: &Scope) -> Result<Containers, ContainersError> {
    find(proc, scope).map(|found| found.containers)
}

/// The same, and says where they are.
///
/// # Errors
/// Whatever keeps anybody in a container from being seen.
pub fn find(proc: &Path, scope: &Scope) -> Result<Found, ContainersError> {
    // Process 1 is always there. Where it is not seen, no other is.
    if namespace(&proc.join("1"))?.is_none() {
        return Err(ContainersError::Hidden);
    }
    let own = namespace(&proc.join("self"))?;
    let mut containers = Containers::default();
    let mut homes = Vec::new();
    let mut done: BTreeSet<u64> = own.into_iter().collect();
    let mut foreign = false;
    let mut processes = Vec::new();
    for round in 1.. {
        processes = self::processes(proc)?;
        let mut missed = BTreeSet::new();
        for process in &processes {
            let Some(network) = namespace(process)? else { continue };
            foreign |= Some(network) != own;
            if done.contains(&network) {
                continue;
            }
            match in_a_container(process)? {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    missed.insert(network);
                    continue;
                }
            }
            match Network::of(process, network, scope)? {
                Some(tables) => {
                    containers.take_in(tables);
                    homes.push(Home { process: process.clone(), network });
                    done.insert(network);
                }
                None => drop(missed.insert(network)),
            }
        }
        if missed.is_subset(&done) {
            break;
        }
        // Its container may live on in processes that are not on the list yet.
        if round == ROUNDS {
            return Err(ContainersError::Restless);
        }
    }
    // Without another network there is nothing to publish.
    if foreign {
        for process in &processes {
            match name(process)?.as_slice() {
                b"docker-proxy" | b"dockerd" => containers.docker_publishes |= runs_as_root_here(process, own)?,
                b"conmon" => containers.podman_publishes |= runs_as_root_here(process, own)?,
                _ => {}
            }
        }
    }
    Ok(Found { containers, homes })
}

/// What the tables of one network show.
#[derive(Default)]
struct Network {
    seen: Seen,
    ignored: Vec<Socket>,
    listening: BTreeSet<u16>,
    /// The ports to which somebody from outside is connected.
    visited: BTreeSet<u16>,
}

impl Network {
    /// `None`: the process has ended, or is elsewhere by now.
    fn of(process: &Path, number: u64, scope: &Scope) -> Result<Option<Self>, ContainersError> {
        let mut network = Network::default();
        match tables::read_rows(&process.join("net"), |row| network.take_in(row, scope)) {
            // The tables are those of this network only if the process was in it all the while. One that ends after its
            // first table leaves no second, which otherwise is IPv6 turned off.
            Ok(()) => Ok((namespace(process)? == Some(number)).then_some(network)),
            Err(TableError::Unreadable { source, .. }) if is_gone(&source) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn take_in(&mut self, row: &TcpNetEntry, scope: &Scope) {
        let port = row.local_address.port();
        match (&row.state, scope.covers(row.local_address)) {
            (TcpState::Listen, true) => self.seen.listener = true,
            (TcpState::Established, true) => {
                let socket = tables::socket(row.local_address, row.remote_address, row.inode);
                let ignored = scope.ignores(socket.peer.ip());
                if ignored { &mut self.ignored } else { &mut self.seen.sockets }.push(socket);
            }
            (TcpState::Listen, false) => drop(self.listening.insert(port)),
            (TcpState::Established, false) if !row.remote_address.ip().to_canonical().is_loopback() => {
                self.visited.insert(port);
            }
            _ => {}
        }
    }
}

impl Containers {
    fn take_in(&mut self, mut network: Network) {
        self.read += 1;
        self.seen.listener |= network.seen.listener;
        self.seen.sockets.append(&mut network.seen.sockets);
        self.ignored.append(&mut network.ignored);
        self.busy_elsewhere |= !network.listening.is_disjoint(&network.visited);
    }
}

pub(super) fn processes(proc: &Path) -> Result<Vec<PathBuf>, ContainersError> {
    let unreadable = |source| ContainersError::Unreadable { path: proc.to_owned(), source };
    let mut processes = Vec::new();
    for entry in proc.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            processes.push(entry.path());
        }
    }
    Ok(processes)
}

/// The inode number of its table of sockets: the kernel has one such file for each network namespace. `None`: the process
/// has ended, or may not be seen.
pub(super) fn namespace(process: &Path) -> Result<Option<u64>, ContainersError> {
    let path = process.join("net/tcp");
    unless_gone(std::fs::metadata(&path), path).map(|metadata| metadata.map(|metadata| metadata.ino()))
}

/// `None`: the process has ended, so nobody can tell.
pub(super) fn in_a_container(process: &Path) -> Result<Option<bool>, ContainersError> {
    let path = process.join("cgroup");
    let groups = unless_gone(std::fs::read(&path), path)?;
    Ok(groups.map(|groups| names_a_container(&groups)))
}

/// Whether the text of `/proc/PID/cgroup` (cgroups(7)) has a container's id in it.
#[must_use]
pub fn names_a_container(groups: &[u8]) -> bool {
    groups.split(|byte| !byte.is_ascii_hexdigit()).any(|word| word.len() == ID_DIGITS)
}

/// What proc(5) calls `comm`.
fn name(process: &Path) -> Result<Vec<u8>, ContainersError> {
    let path = process.join("comm");
    let comm = unless_gone(std::fs::read(&path), path)?.unwrap_or_default();
    Ok(comm.trim_ascii_end().to_vec())
}

fn runs_as_root_here(process: &Path, own: Option<u64>) -> Result<bool, ContainersError> {
    let owner = unless_gone(std::fs::metadata(process), process.to_owned())?;
    Ok(owner.is_some_and(|owner| owner.uid() == ROOT) && namespace(process)? == own)
}

fn unless_gone<T>(result: io::Result<T>, path: PathBuf) -> Result<Option<T>, ContainersError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ContainersError::Hidden),
        Err(source) => Err(ContainersError::Unreadable { path, source }),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(GONE)
}
