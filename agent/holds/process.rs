//! Whether the process behind a lock or a session still runs while logind does not answer.
//!
//! Process ids are reused; together with the start time they identify one process of a boot (proc_pid_stat(5)).

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// One process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub id: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process with this id below `proc`; `None` when it cannot be seen.
    #[must_use]
    pub fn with_id(proc: &Path, id: u32) -> Option<Process> {
        let stat = parse(&fs::read(proc.join(id.to_string()).join("stat")).ok()?)?;
        Some(Process { id, started: stat.started })
    }

    /// Whether it has certainly ended: it is gone or a zombie, or its id was reused. Where processes are hidden
    /// (`hidepid=`, proc(5)) nothing is certain.
    #[must_use]
    pub fn has_ended(self, proc: &Path) -> bool {
        match fs::read(proc.join(self.id.to_string()).join("stat")) {
            Ok(stat) => parse(&stat).is_some_and(|stat| stat.dead || stat.started != self.started),
            // Process 1 always exists and belongs to root: if it is visible, all processes are.
            Err(error) => is_absence(&error) && fs::read(proc.join("1/stat")).is_ok(),
        }
    }
}

/// The process ended before its file was opened, or before it was read.
fn is_absence(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::SRCH)
}

struct Stat {
    dead: bool,
    started: u64,
}

/// `/proc/PID/stat`: the second field, in parentheses, may contain anything, even parentheses. After it, the state is
/// field 3 and the start time field 22.
fn parse(stat: &[u8]) -> Option<Stat> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    Some(Stat { dead, started: fields.nth(18)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A real line with a hostile process name.
    fn line(name: &str, state: char, started: u64) -> String {
        format!(
            "77 ({name}) {state} 1 77 77 0 -1 4194560 1126 0 0 0 0 0 0 0 20 0 1 0 {started} 2473984 212 18446744073709551615\n"
        )
    }

    #[test]
    fn the_start_is_found_whatever_the_name() {
        for name in ["cp", "a b", ") Z 1 (", "((", "))", "\u{fffd}"] {
            let stat = parse(line(name, 'S', 9876).as_bytes()).unwrap();
            assert_eq!((stat.started, stat.dead), (9876, false), "{name}");
        }
        assert!(parse(line("cp", 'Z', 1).as_bytes()).unwrap().dead);
        for cut in ["", "77", "77 (cp)", "77 (cp) S 1 77", "no process"] {
            assert!(parse(cut.as_bytes()).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_real_process_ends_even_if_nobody_takes_notice_of_it() {
        let proc = Path::new("/proc");
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::with_id(proc, child.id()).unwrap();
        assert!(!process.has_ended(proc));
        let another = Process { started: process.started + 1, ..process };
        assert!(another.has_ended(proc), "another one with its id");
        drop(child.stdin.take());
        // A zombie until its parent waits for it.
        while !process.has_ended(proc) {}
        child.wait().unwrap();
        assert!(process.has_ended(proc));
    }

    #[test]
    fn where_processes_are_hidden_none_has_certainly_ended() {
        let proc = tempfile::tempdir().unwrap();
        let write = |id: &str, text: &str| {
            fs::create_dir_all(proc.path().join(id)).unwrap();
            fs::write(proc.path().join(id).join("stat"), text).unwrap();
        };
        let process = Process { id: 77, started: 5 };
        assert!(!process.has_ended(proc.path()), "nothing is seen, not even process 1");
        write("1", &line("init", 'S', 1));
        assert!(process.has_ended(proc.path()));
        write("77", "unreadable");
        assert!(!process.has_ended(proc.path()), "not understood is not ended");
        write("77", &line("cp", 'S', 5));
        assert!(!process.has_ended(proc.path()));
        write("77", &line("cp", 'X', 5));
        assert!(process.has_ended(proc.path()));
    }
}
