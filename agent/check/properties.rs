//! Does the server's own configuration name a port that is looked at?

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Subject;
use super::finding::{Check, Finding};
use crate::config::settings::Scope;
use crate::host::properties::{self, Found, Properties};
use crate::host::server::{self, Processes, ServerError};

/// Files that are named in one finding; a mount may hold any number of servers.
const FILES_MOST: usize = 8;
/// How long a look through all those folders may take, unless the mount is given even longer for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks in the working directory of the server's process and, if it `answers`, on EFS. `listens`: a server does.
pub async fn check<H>(subject: &Subject<'_, H>, answers: bool, listens: bool) -> Finding {
    let settings = subject.settings;
    let (folders, process) = working_directories(server::processes(subject.proc, &settings.scope));
    let mount_point = settings.efs().filter(|_| answers).map(|efs| efs.mount_point.as_path());
    match properties::ask(subject.helper, &folders, mount_point, settings.efs.probe.max(PATIENCE)).await {
        Ok(found) => weigh(&found, &settings.scope, listens, &Looked { mount_point, process }),
        Err(why) => Finding::not_run(Check::Properties, why),
    }
}

/// Where it was looked.
#[derive(Debug, Clone, Copy)]
struct Looked<'a> {
    mount_point: Option<&'a Path>,
    process: Process,
}

/// What became of the server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// Its working directory is known.
    Found,
    /// This user may not look into it.
    Hidden,
    /// There is none.
    None,
}

/// Only the links are read: the folders may be on EFS.
fn working_directories(processes: Result<Processes, ServerError>) -> (Vec<PathBuf>, Process) {
    let Ok(Processes { found, mut hidden }) = processes else { return (Vec::new(), Process::Hidden) };
    let mut folders = Vec::new();
    for process in found {
        let folder = process.join("cwd");
        match std::fs::read_link(&folder) {
            Ok(_) => folders.push(folder),
            Err(error) => hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let process = match (folders.is_empty(), hidden) {
        (false, _) => Process::Found,
        (true, true) => Process::Hidden,
        (true, false) => Process::None,
    };
    (folders, process)
}

fn weigh(found: &Found, scope: &Scope, listens: bool, looked: &Looked<'_>) -> Finding {
    let check = Check::Properties;
    let is_watched = |file: &&Properties| file.port.number().is_some_and(|port| scope.ports.contains(&port));
    let (watched, others): (Vec<_>, Vec<_>) = found.files.iter().partition(is_watched);
    let ports = scope.in_words();
    match (watched.is_empty(), others.is_empty()) {
        (true, true) => Finding::note(check, none(found, looked)),
        (false, true) => Finding::ok(check, list(&watched)),
        // Perhaps those of servers that do not run; or of one that does, whose players do not count.
        (false, false) => Finding::note(
            check,
            format!(
                "{}; not watched: {}: if that server is used, add its port to minecraft.ports",
                list(&watched),
                list(&others)
            ),
        ),
        (true, false) if listens => Finding::note(
            check,
            format!(
                "{}, but the server that is watched listens on {ports}: right only if that is a proxy",
                list(&others)
            ),
        ),
        (true, false) => Finding::failed(
            check,
            format!("{}, but minecraft.ports is {ports}: set it to that of the server", list(&others)),
        ),
    }
}

fn none(found: &Found, looked: &Looked<'_>) -> String {
    let in_process =
        (looked.process == Process::Found).then(|| "in the working directory of the server's process".to_owned());
    let on_mount = looked.mount_point.map(|mount_point| format!("at {}", mount_point.display()));
    let places: Vec<String> = in_process.into_iter().chain(on_mount).collect();
    let mut texts =
        vec![if places.is_empty() { "not looked for".to_owned() } else { format!("none {}", places.join(" or ")) }];
    match looked.process {
        Process::Found => {}
        Process::Hidden => texts.push("only root may look into the server's process".to_owned()),
        Process::None => texts.push("no server runs whose working directory could be looked in".to_owned()),
    }
    texts.extend(found.unreadable.iter().take(FILES_MOST).cloned());
    texts.join("; ")
}

fn list(files: &[&Properties]) -> String {
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
    use crate::check::finding::Outcome;
    use crate::config::Settings;
    use crate::host::properties::Port;

    fn judged(ports: &[u16], listens: bool) -> Finding {
        let scope = Scope { ports: [25565, 25566].into(), ..Settings::default().scope };
        let file = |port: &u16| Properties { path: format!("/{port}"), port: Port::Number(*port) };
        let found = Found { files: ports.iter().map(file).collect(), unreadable: Vec::new() };
        weigh(&found, &scope, listens, &Looked { mount_point: Some(Path::new("/mnt/efs")), process: Process::Found })
    }

    #[test]
    fn only_a_port_that_nobody_listens_on_is_a_fault() {
        for (ports, listens, outcome) in [
            (&[][..], false, Outcome::Note),
            (&[25565], true, Outcome::Ok),
            (&[25565, 25566], false, Outcome::Ok),
            (&[25565, 25570], true, Outcome::Note),
            (&[25570], true, Outcome::Note),
            (&[25570], false, Outcome::Failed),
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
