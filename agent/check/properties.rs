//! Does the server's own configuration name a watched port?

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::check::CheckContext;
use crate::check::finding::{Check, Finding};
use crate::config::settings::Scope;
use crate::host::properties::{self, FoundProperties, ServerProperties};
use crate::host::server::{self, Processes};

/// At most this many files are listed; a mount may hold any number of servers.
const FILES_MOST: usize = 8;
/// Time limit for searching all folders, unless `efs.probe_seconds` is longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Searches the working directory of the server's process and the folders `on_efs`. `listens`: whether a server
/// listens.
pub async fn check<H>(subject: &CheckContext<'_, H>, on_efs: &[PathBuf], listens: bool) -> Finding {
    let settings = subject.settings;
    let (folders, process) = working_directories(server::processes(subject.proc, &settings.scope));
    match properties::ask(subject.helper, &folders, on_efs, settings.efs.probe.max(PATIENCE)).await {
        Ok(found) => weigh(&found, &settings.scope, listens, &Looked { on_efs, process }),
        Err(why) => Finding::not_run(Check::Properties, why),
    }
}

/// Where files were searched for.
#[derive(Debug, Clone, Copy)]
struct Looked<'a> {
    on_efs: &'a [PathBuf],
    process: ServerProcess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerProcess {
    /// Its working directory is known.
    Found,
    /// This user may not inspect it.
    Hidden,
    None,
}

/// Reads only the links: the folders themselves may be on an EFS that hangs.
fn working_directories(processes: io::Result<Processes>) -> (Vec<PathBuf>, ServerProcess) {
    let Ok(Processes { found, mut hidden }) = processes else { return (Vec::new(), ServerProcess::Hidden) };
    let mut folders = Vec::new();
    for process in found {
        let folder = process.join("cwd");
        match std::fs::read_link(&folder) {
            Ok(_) => folders.push(folder),
            Err(error) => hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let process = match (folders.is_empty(), hidden) {
        (false, _) => ServerProcess::Found,
        (true, true) => ServerProcess::Hidden,
        (true, false) => ServerProcess::None,
    };
    (folders, process)
}

fn weigh(found: &FoundProperties, scope: &Scope, listens: bool, looked: &Looked<'_>) -> Finding {
    let check = Check::Properties;
    let is_watched = |file: &&ServerProperties| file.port.number().is_some_and(|port| scope.ports.contains(&port));
    let (watched, others): (Vec<_>, Vec<_>) = found.files.iter().partition(is_watched);
    let ports = scope.in_words();
    match (watched.is_empty(), others.is_empty()) {
        (true, true) => Finding::note(check, none(found, looked)),
        (false, true) => Finding::ok(check, list(&watched)),
        // The others may belong to servers that are not running, or to one that is and whose players do not count.
        (false, false) => Finding::note(
            check,
            format!(
                "{}; not watched: {}; if that server is in use, add its port to minecraft.ports",
                list(&watched),
                list(&others)
            ),
        ),
        (true, false) if listens => Finding::note(
            check,
            format!(
                "{}, but the watched server listens on {ports}; this is right only if that one is a proxy",
                list(&others)
            ),
        ),
        (true, false) => Finding::failed(
            check,
            format!("{}, but mc-idle watches {ports}; set minecraft.ports to the server's port", list(&others)),
        ),
    }
}

fn none(found: &FoundProperties, looked: &Looked<'_>) -> String {
    let in_process =
        (looked.process == ServerProcess::Found).then(|| "in the working directory of the server's process".to_owned());
    let on_efs = looked.on_efs.iter().map(|folder| format!("at {}", folder.display()));
    let places: Vec<String> = in_process.into_iter().chain(on_efs).collect();
    let mut texts =
        vec![if places.is_empty() { "not searched for".to_owned() } else { format!("none {}", places.join(" or ")) }];
    match looked.process {
        ServerProcess::Found => {}
        ServerProcess::Hidden => texts.push("only root can inspect the server's process".to_owned()),
        ServerProcess::None => texts.push("no server process with a readable working directory".to_owned()),
    }
    texts.extend(found.unreadable.iter().take(FILES_MOST).cloned());
    texts.join("; ")
}

fn list(files: &[&ServerProperties]) -> String {
    let mut texts: Vec<String> =
        files.iter().take(FILES_MOST).map(|file| format!("{} has {}", file.path, file.port)).collect();
    if let more @ 1.. = files.len().saturating_sub(FILES_MOST) {
        texts.push(format!("and {more} more"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::CheckResult;
    use crate::config::Settings;
    use crate::host::properties::Port;

    fn judged(ports: &[u16], listens: bool) -> Finding {
        let scope = Scope { ports: [25565, 25566].into(), ..Settings::default().scope };
        let file = |port: &u16| ServerProperties { path: format!("/{port}"), port: Port::Number(*port) };
        let found = FoundProperties { files: ports.iter().map(file).collect(), unreadable: Vec::new() };
        weigh(&found, &scope, listens, &Looked { on_efs: &["/mnt/efs".into()], process: ServerProcess::Found })
    }

    #[test]
    fn only_a_port_that_nobody_listens_on_is_a_fault() {
        for (ports, listens, outcome) in [
            (&[][..], false, CheckResult::Note),
            (&[25565], true, CheckResult::Ok),
            (&[25565, 25566], false, CheckResult::Ok),
            (&[25565, 25570], true, CheckResult::Note),
            (&[25570], true, CheckResult::Note),
            (&[25570], false, CheckResult::Failed),
        ] {
            assert_eq!(judged(ports, listens).outcome, outcome, "{ports:?}, {listens}");
        }
    }

    #[test]
    fn many_files_make_no_endless_line() {
        let ports: Vec<u16> = (1..=100).collect();
        assert!(judged(&ports, false).text.contains("and 92 more"));
    }
}
