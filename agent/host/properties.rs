//! `server.properties`: finds the port that the server's own configuration names.
//!
//! The file may be on EFS, where opening it may hang. So a helper process looks for it, like the one that probes mounts
//! ([`super::mounts::probe`]), and is killed at its deadline.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use mc_service::error_chain::chain;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time;

/// The hidden subcommand that starts the helper.
pub const HELPER: &str = "probe-properties";

const NAME: &str = "server.properties";
/// The port of a server whose file names none.
const DEFAULT_PORT: u16 = 25565;
/// In bytes; a server writes about 2 KiB.
const FILE_LONGEST: u64 = 1 << 16;
/// How many entries of a folder are looked at: on EFS each one costs milliseconds.
const ENTRIES_MOST: usize = 200;

/// The port that a file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Port {
    /// `server-port`.
    Number(u16),
    /// None is named, so the server uses 25565.
    Default,
    /// Something that is not a port.
    NoPort(String),
}

impl Port {
    /// The port that the server listens on, if known.
    #[must_use]
    pub fn number(&self) -> Option<u16> {
        match self {
            Port::Number(port) => Some(*port),
            Port::Default => Some(DEFAULT_PORT),
            Port::NoPort(_) => None,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Number(port) => write!(formatter, "server-port {port}"),
            Port::Default => write!(formatter, "no server-port, which means {DEFAULT_PORT}"),
            Port::NoPort(text) => write!(formatter, "server-port {text:?}, which is not a port"),
        }
    }
}

/// One `server.properties`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerProperties {
    /// For display.
    pub path: String,
    pub port: Port,
}

/// What the helper has found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FoundProperties {
    pub files: Vec<ServerProperties>,
    /// Places where one may be but that could not be read, with the reason.
    pub unreadable: Vec<String>,
}

/// The `server-port` in `text` (java.util.Properties). If there are several, the last one counts.
#[must_use]
pub fn port(text: &str) -> Port {
    match text.lines().filter_map(pair).rfind(|(key, _)| *key == "server-port") {
        None => Port::Default,
        Some((_, value)) => match value.parse() {
            Ok(0) | Err(_) => Port::NoPort(value.chars().take(20).collect()),
            Ok(number) => Port::Number(number),
        },
    }
}

fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with(['#', '!']) {
        return None;
    }
    let end = line.find(|char: char| char == '=' || char == ':' || char.is_whitespace())?;
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    Some((key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim()))
}

/// Has the helper look in `folders`, and up to one level below each of `mount_points` and its folder `minecraft`.
///
/// # Errors
/// Why there was no answer within `deadline`.
pub async fn ask(
    helper: &Path,
    folders: &[PathBuf],
    mount_points: &[PathBuf],
    deadline: Duration,
) -> Result<FoundProperties, String> {
    let mut command = Command::new(helper);
    command.arg(HELPER);
    for mount_point in mount_points {
        command.arg("--below").arg(mount_point);
    }
    let looking = command
        .args(folders)
        .env_clear()
        // A working directory on the mount would keep it busy.
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    match time::timeout(deadline, looking).await {
        Err(_) => Err(format!("no answer within {:.1} s", deadline.as_secs_f64())),
        Ok(Err(error)) => Err(format!("cannot start the helper process: {error}")),
        Ok(Ok(output)) => serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("the helper process ended with {}: {}", output.status, chain(&error))),
    }
}

/// The helper itself: writes what it has found to `out` as JSON.
#[must_use]
pub fn helper(folders: &[PathBuf], mount_points: &[PathBuf], out: impl io::Write) -> ExitCode {
    match serde_json::to_writer(out, &look(folders, mount_points)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn look(folders: &[PathBuf], mount_points: &[PathBuf]) -> FoundProperties {
    let mut found = FoundProperties::default();
    let mut seen = BTreeSet::new();
    let mut all = folders.to_vec();
    for mount_point in mount_points {
        all.push(mount_point.clone());
        all.extend(entries(mount_point, &mut found));
        all.extend(entries(&mount_point.join("minecraft"), &mut found));
    }
    for folder in all {
        let shown = shown(&folder);
        match read(&folder.join(NAME)) {
            // The same file may be reachable in several ways.
            Ok((id, text)) if seen.insert(id) => found.files.push(ServerProperties { path: shown, port: port(&text) }),
            Err(error) if !is_absence(&error) => found.unreadable.push(format!("{shown}: {error}")),
            _ => {}
        }
    }
    found
}

/// Sorted by name. A folder that does not exist has none.
fn entries(folder: &Path, found: &mut FoundProperties) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = match folder.read_dir() {
        Ok(entries) => entries.take(ENTRIES_MOST).filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => {
            if !is_absence(&error) {
                found.unreadable.push(format!("{}: {error}", folder.display()));
            }
            Vec::new()
        }
    };
    entries.sort();
    entries
}

fn read(path: &Path) -> io::Result<((u64, u64), String)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    file.take(FILE_LONGEST).read_to_end(&mut bytes)?;
    Ok(((metadata.dev(), metadata.ino()), String::from_utf8_lossy(&bytes).into_owned()))
}

/// The working directory of a process (`/proc/PID/cwd`) by its real name.
fn shown(folder: &Path) -> String {
    match std::fs::read_link(folder) {
        Ok(target) if folder.ends_with("cwd") => target.join(NAME).display().to_string(),
        _ => folder.join(NAME).display().to_string(),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_port_as_java_does() {
        for (text, expected) in [
            ("#Minecraft server properties\nserver-ip=\nserver-port=25570\n", Port::Number(25570)),
            ("server-port = 25570 ", Port::Number(25570)),
            ("server-port:25570\r\nquery.port=1\r\n", Port::Number(25570)),
            ("server-port 25570", Port::Number(25570)),
            ("server-port=1\nserver-port=2", Port::Number(2)),
            ("", Port::Default),
            ("#server-port=25570\n!server-port=25570\nserver-port-of-another=1", Port::Default),
            ("server-port=", Port::NoPort(String::new())),
            ("server-port=0", Port::NoPort("0".to_owned())),
            ("server-port=65536", Port::NoPort("65536".to_owned())),
            ("server-port=many", Port::NoPort("many".to_owned())),
        ] {
            assert_eq!(port(text), expected, "{text:?}");
        }
    }

    #[test]
    fn finds_each_file_once_and_no_deeper_than_it_should() {
        let mount = tempfile::tempdir().unwrap();
        let mount = mount.path();
        let write = |folder: &str, port: u16| {
            std::fs::create_dir_all(mount.join(folder)).unwrap();
            std::fs::write(mount.join(folder).join(NAME), format!("server-port={port}\n")).unwrap();
        };
        write("minecraft/one", 1);
        write("minecraft/one/deep", 2);
        write("world", 3);
        write("world/deep", 4);
        std::fs::write(mount.join("minecraft/file"), "").unwrap();
        let ports = |found: &FoundProperties| found.files.iter().map(|file| file.port.number()).collect::<Vec<_>>();
        let below = [mount.to_owned()];
        let found = look(&[], &below);
        assert_eq!((ports(&found), found.unreadable.len()), (vec![Some(3), Some(1)], 0));
        // Found through its process and on the mount.
        let found = look(&[mount.join("minecraft/one")], &below);
        assert_eq!(ports(&found), [Some(1), Some(3)]);
        assert_eq!(found.files[0].path, mount.join("minecraft/one").join(NAME).display().to_string());
        assert_eq!(look(&[mount.join("nowhere")], &[mount.join("nowhere")]), FoundProperties::default());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*(server-port[=: ]\\PC*\n)?") {
            let _ = port(&text);
        }
    }
}
