//! `mc-idle check` as an operator runs it.

use std::path::Path;
use std::process::Command;

use super::{Config, Process, mc_idle};

/// What it says and ends with.
#[derive(Debug)]
pub struct Checked {
    /// The exit code.
    pub code: Option<i32>,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Checked {
    /// The line about `name`.
    pub fn line(&self, name: &str) -> &str {
        let is_it =
            |line: &&String| line.get(8..).is_some_and(|rest| rest.strip_prefix(name).is_some_and(ends_the_name));
        self.lines.iter().find(is_it).unwrap_or_else(|| panic!("nothing is said of {name}: {:#?}", self.lines))
    }

    /// The names and texts of the lines with this mark: `ok`, `note`, `FAILED`, `not run`.
    pub fn marked(&self, mark: &str) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix(&format!("{mark:7} "))).collect()
    }

    /// Whether a line has this mark and `text`.
    pub fn says(&self, mark: &str, text: &str) -> bool {
        self.marked(mark).iter().any(|line| line.contains(text))
    }
}

fn ends_the_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(':')
}

/// Runs it with the configuration `text` on a machine without systemd, whatever this one is: what that says of the unit is
/// for the tests with a systemd of their own.
pub fn check(text: &str, prepare: impl FnOnce(&mut Command)) -> Checked {
    let config = Config::new(text);
    let mut command = mc_idle();
    command.arg("check").arg("--config").arg(config.path());
    prepare(&mut command);
    let mut command = without_systemd(command);
    let mut process = Process::start(&mut command);
    let code = process.wait().code();
    // The last line may still be on its way from the pipe.
    process.wait_for(" power button");
    Checked { code, lines: process.output() }
}

/// `command` where nothing tells of a systemd.
pub fn without_systemd(command: Command) -> Command {
    if !Path::new("/run/systemd/system").exists() {
        return command;
    }
    let mut apart = Command::new("unshare");
    apart.arg("--mount");
    if !super::root() {
        apart.arg("--map-root-user");
    }
    apart.args(["/bin/sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "sh"]);
    apart.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => apart.env(name, value),
            None => apart.env_remove(name),
        };
    }
    apart
}
