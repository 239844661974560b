//! The processes of the machine: which networks they are in, and which of them may listen on behalf of a server.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mc_idle_rule::NetworkId;
use mc_idle_rule::facts::{Edition, Proxy, Publication, Publisher};

use crate::host::sockets::tables::{canonical, known_user};

/// How many processes are kept per network, whose tables are read through one of them.
const KEPT: usize = 3;
/// ESRCH: the process still existed when the file was opened (errno(3)).
const GONE: i32 = 3;

/// What one walk through `/proc` shows.
#[derive(Debug, Clone, Default)]
pub struct ProcessSurvey {
    /// The networks other than the host's, and the folders of some processes in each, the oldest first.
    pub networks: BTreeMap<NetworkId, Vec<PathBuf>>,
    pub publishers: Vec<Publisher>,
    /// Why there may be processes that cannot be seen.
    pub hidden: Option<String>,
}

/// Walks through the processes in `proc`, the folder `/proc`. Control groups are numbered by the folder `cgroups`,
/// `/sys/fs/cgroup` (cgroups(7)).
///
/// # Errors
/// The folder cannot be listed, or the host's own network cannot be read.
pub fn survey(proc: &Path, cgroups: &Path) -> Result<ProcessSurvey, String> {
    let mut survey = ProcessSurvey::default();
    let host = network(&proc.join("self"));
    let host = host.map_err(|error| format!("cannot read {}/self/net/tcp: {error}", proc.display()))?;
    let processes = list(proc);
    let mut processes =
        processes.map_err(|error| format!("cannot list the processes in {}: {error}", proc.display()))?;
    processes.sort_unstable();
    for (_, process) in processes {
        let (process, network) = match network(&process) {
            Ok(network) => (process, network),
            Err(error) if is_gone(&error) => match living_thread(&process) {
                Some(thread) => thread,
                None => continue,
            },
            Err(error) => {
                survey.hidden = Some(format!("cannot inspect {}: {error}; {ADVICE}", process.display()));
                continue;
            }
        };
        let network = if network == host { NetworkId::HOST } else { network };
        if !network.is_host() {
            let known = survey.networks.entry(network).or_default();
            if known.len() < KEPT {
                known.push(process.clone());
            }
        }
        // A process that has just exited no longer publishes anything.
        if let Some(publisher) = publisher(&process, network, host, cgroups) {
            survey.publishers.push(publisher);
        }
    }
    if let Some(why) = hidden(proc) {
        survey.hidden = Some(why);
    }
    Ok(survey)
}

const ADVICE: &str = "remove ProtectProc=, ProcSubset= and PrivatePIDs= from the unit, and hidepid= from the mount of /proc, \
     or set minecraft.containers = false if the server runs on the host itself";

/// Process 1 always exists: where it cannot be seen, others cannot either. And a unit whose first process is the agent
/// has its own PID namespace.
fn hidden(proc: &Path) -> Option<String> {
    let first = proc.join("1");
    let group = |process: &Path| std::fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    let is_first = std::fs::read_link(proc.join("self")).is_ok_and(|own| own == Path::new("1"));
    let own_pids = || is_first || (group(&first) == group(&proc.join("self")) && group(&first).contains(".service"));
    (network(&first).is_err() || own_pids()).then(|| format!("cannot see other processes; {ADVICE}"))
}

/// Why the service cannot see the processes of others although root can (`hidepid=`, proc(5)).
#[must_use]
pub fn hidden_from_users(proc: &Path) -> Option<String> {
    let table = std::fs::read_to_string(proc.join("self/mountinfo")).ok()?;
    let mount = table.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc"))?;
    let value = mount.rsplit(' ').next()?.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (!matches!(value, "0" | "off")).then(|| format!("the service cannot see other processes; {ADVICE}"))
}

/// All processes, with their ids.
///
/// # Errors
/// The folder cannot be listed.
pub fn list(proc: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut processes = Vec::new();
    for entry in proc.read_dir()? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            processes.push((number, entry.path()));
        }
    }
    Ok(processes)
}

/// The inode of a process's socket table: the kernel has one such file per network namespace.
///
/// # Errors
/// The process has exited, or may not be inspected.
pub fn network(process: &Path) -> io::Result<NetworkId> {
    Ok(NetworkId(std::fs::metadata(process.join("net/tcp"))?.ino()))
}

/// A thread of a process whose first thread has ended, and its network, which the folder of the process itself does not show
/// any more. `None`: the whole process has exited.
fn living_thread(process: &Path) -> Option<(PathBuf, NetworkId)> {
    let threads = list(&process.join("task")).ok()?;
    threads.into_iter().find_map(|(_, thread)| network(&thread).ok().map(|network| (thread, network)))
}

/// Whether an error means that a process has exited, or its first thread.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(GONE)
}

/// The network that a rootlessport listens in. Its first thread may stay behind in the network that it leads to, whose
/// server would then be mistaken for a published port with an unknown destination.
fn host_side(process: &Path, network: NetworkId, host: NetworkId) -> NetworkId {
    let threads = list(&process.join("task")).unwrap_or_default();
    let networks = threads.iter().filter_map(|(_, thread)| self::network(thread).ok());
    let mut networks = networks.map(|network| if network == host { NetworkId::HOST } else { network });
    networks.find(|other| *other != network).unwrap_or(network)
}

fn publisher(process: &Path, network: NetworkId, host: NetworkId, cgroups: &Path) -> Option<Publisher> {
    let comm = std::fs::read_to_string(process.join("comm")).ok()?;
    let proxy = Proxy::of(comm.trim_end())?;
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    // Real, effective, saved, file system (proc_pid_status(5)).
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = uids.and_then(|uids| uids.split_ascii_whitespace().nth(1)?.parse().ok());
    let publication = match proxy {
        Proxy::DockerProxy => std::fs::read(process.join("cmdline")).ok().and_then(|line| publication(&line)),
        _ => None,
    };
    let control_group = control_group(process, cgroups);
    let network = if proxy == Proxy::Rootlessport { host_side(process, network, host) } else { network };
    Some(Publisher { proxy, network, uid: uid.and_then(known_user), control_group, publication })
}

/// The number of a process's control group in the version 2 hierarchy, which is the inode of its folder (kernfs).
fn control_group(process: &Path, cgroups: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(process.join("cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Next to version 1 it is mounted one folder deeper.
    let folders = [cgroups.join("unified").join(path), cgroups.join(path)];
    folders.iter().find_map(|folder| std::fs::metadata(folder).ok()).map(|folder| folder.ino())
}

/// Where a docker-proxy with this command line leads (`newProxyCommand` in moby's portmapper).
#[must_use]
pub fn publication(command_line: &[u8]) -> Option<Publication> {
    let arguments: Vec<&str> =
        command_line.split(|byte| *byte == 0).filter_map(|word| str::from_utf8(word).ok()).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument.trim_start_matches('-') == name)?;
        arguments.get(at + 1).copied()
    };
    let address = |ip: &str, port: &str| -> Option<SocketAddr> {
        Some(canonical(SocketAddr::new(value(ip)?.parse::<IpAddr>().ok()?, value(port)?.parse().ok()?)))
    };
    let edition = match value("proto")? {
        "tcp" => Edition::Java,
        "udp" => Edition::Bedrock,
        _ => return None,
    };
    let (from, to) = (address("host-ip", "host-port")?, address("container-ip", "container-port")?);
    Some(Publication { edition, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_proxys_arguments_say_where_it_leads() {
        let line = "/usr/bin/docker-proxy\0-proto\0tcp\0-host-ip\x000.0.0.0\0-host-port\x0025565\0-container-ip\x00172.17.0.2\0\
             -container-port\x0025577\0-use-listen-fd\0";
        let expected = Publication {
            edition: Edition::Java,
            from: "0.0.0.0:25565".parse().unwrap(),
            to: "172.17.0.2:25577".parse().unwrap(),
        };
        assert_eq!(publication(line.as_bytes()), Some(expected));
        assert_eq!(publication(b"docker-proxy\0-proto\0tcp\0"), None);
    }

    proptest! {
        #[test]
        fn any_command_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = publication(&line);
        }
    }
}
