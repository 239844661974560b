//! Does the server's own configuration name a port that is looked at?

use std::io;
use std::path::{Path, PathBuf};

use super::Subject;
use super::finding::{Check, Finding};
use crate::config::settings::Scope;
use crate::error::chain;
use crate::host::properties::{self, Found, Properties};
use crate::host::server::{self, Processes};

/// Files that are named in one finding; a mount may hold any number of servers.
const FILES_MOST: usize = 8;

/// Looks in the working directory of the server's process and, if it `answers`, on EFS. `listens`: a server does.
pub async fn check<H>(subject: &Subject<'_, H>, answers: bool, listens: bool) -> Finding {
    let settings = subject.settings;
    let (processes, trouble) = match server::processes(subject.proc, &settings.scope) {
        Ok(processes) => (processes, None),
        Err(error) => (Processes::default(), Some(chain(&error))),
    };
    let mut hidden = trouble.is_some() || processes.hidden && processes.found.is_empty();
    let (folders, refused) = working_directories(&processes.found);
    hidden |= refused;
    let mount_point = settings.efs().filter(|_| answers).map(|efs| efs.mount_point.as_path());
    match properties::ask(subject.helper, &folders, mount_point, settings.efs.probe).await {
        Ok(found) => weigh(&found, &settings.scope, listens, &Looked { mount_point, hidden }),
        Err(why) => Finding::not_run(Check::Properties, why),
    }
}

/// Where it was looked.
#[derive(Debug, Clone, Copy)]
struct Looked<'a> {
    mount_point: Option<&'a Path>,
    /// The server's process could not be looked into.
    hidden: bool,
}

/// Also whether one of them may not be entered by this user. Only the links are read: the folders may be on EFS.
fn working_directories(processes: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    let (mut folders, mut refused) = (Vec::new(), false);
    for process in processes {
        let folder = process.join("cwd");
        match std::fs::read_link(&folder) {
            Ok(_) => folders.push(folder),
            Err(error) => refused |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    (folders, refused)
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
    let mut places = Vec::new();
    if !looked.hidden {
        places.push("in the working directory of the server's process".to_owned());
    }
    if let Some(mount_point) = looked.mount_point {
        places.push(format!("at {}", mount_point.display()));
    }
    let mut text =
        if places.is_empty() { "not looked for".to_owned() } else { format!("none {}", places.join(" or ")) };
    if looked.hidden {
        text += "; only root may look into the server's process";
    }
    for unreadable in found.unreadable.iter().take(FILES_MOST) {
        text += "; ";
        text += unreadable;
    }
    text
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
        weigh(&found, &scope, listens, &Looked { mount_point: Some(Path::new("/mnt/efs")), hidden: false })
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
