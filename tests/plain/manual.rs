//! The man pages, the completions, the shipped configuration and the documented table of keys: the committed files are
//! what `make docs` writes, and the programs for them can read them.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

#[path = "../manual/mod.rs"]
mod generated;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use generated::Program;

use crate::skip_unless;
use crate::support::{Process, checkout};

fn committed(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn is_there(program: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap().status.success()
}

/// A man page as a reader sees it, on lines so long that no word is broken.
fn shown(page: &str) -> String {
    let output = Command::new("man")
        .args(["--warnings", "--no-hyphenation", "--local-file"])
        .arg(checkout().join(page))
        .env("MANWIDTH", "2000")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && warnings.is_empty(), "{page}:\n{warnings}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_committed_is_what_is_made() {
    for made in generated::all(checkout()) {
        let path = made.path.to_str().unwrap();
        let there = fs::read_to_string(checkout().join(path)).unwrap_or_default();
        let line = 1 + there.lines().zip(made.text.lines()).take_while(|(there, made)| there == made).count();
        assert!(there == made.text, "{path}:{line} is not what the program says now: run make docs, and commit it");
        assert!(!made.text.contains("probe-mount"), "{path} tells of the helper, which is nobody's business");
    }
}

/// Asserts that each of `terms` begins a line of `page`, alone or before more.
fn assert_explains(page: &str, terms: &[&str]) {
    let beginnings: Vec<&str> = page.lines().map(str::trim_start).collect();
    for term in terms {
        let has = beginnings.iter().any(|line| line == term || line.starts_with(&format!("{term} ")));
        assert!(has, "{term} in:\n{page}");
    }
}

/// Asserts that both pages of `program` are shown without a warning; what the first has of `commands`, and the second all
/// keys. Returns the first.
fn assert_pages<S>(program: &Program<S>, commands: &[&str], options: &[&str]) -> String {
    let name = program.name;
    let first = shown(&format!("docs/man/{name}.8"));
    for command in commands {
        assert_explains(&first, &[command, &format!("{name} {command}")]);
    }
    assert_explains(&first, options);
    assert_explains(&first, &["0", "1", "2", "70", "78"]);

    let page = shown(&format!("docs/man/{name}.toml.5"));
    let mut lines = page.lines().map(str::trim);
    for key in program.keys {
        // The first key of some tables is so short that its meaning stands on the same line.
        let heading = lines.find(|line| *line == key.name || line.starts_with(&format!("{} ", key.name)));
        let heading = heading.unwrap_or_else(|| panic!("{} is not in its place in:\n{page}", key.name));
        let meaning = heading.strip_prefix(key.name).map(str::trim).filter(|rest| !rest.is_empty());
        assert_eq!(meaning.or_else(|| lines.next()), Some(key.meaning.replace('`', "").as_str()));
        let default = key.default.unwrap_or_else(|| (program.no_default)(key.name));
        assert_eq!(lines.next(), Some(format!("Default: {default}.").as_str()));
        assert_eq!(lines.next(), Some(format!("Allowed: {}.", key.allowed).as_str()));
    }
    first
}

#[test]
fn the_pages_are_shown_without_a_warning_and_have_it_all() {
    skip_unless!(is_there("man"), "man (package man-db)");
    let commands = ["run", "check", "status", "hold", "release"];
    let options = ["--config <FILE>", "--dry-run", "--offline", "--json", "--watch", "--reason <TEXT>"];
    let page = assert_pages(&generated::agent(), &commands, &options);
    let schema: serde_json::Value = serde_json::from_str(&committed("agent/report/status/schema.json")).unwrap();
    let states = schema["properties"]["state"]["enum"].as_array().unwrap();
    let states: Vec<&str> = states.iter().map(|state| state.as_str().unwrap()).chain(["ended"]).collect();
    assert_explains(&page, &states);

    assert_pages(&generated::broker(), &["run", "check"], &["--config <FILE>", "--offline"]);
}

/// What is typed, and what the shell is to run then. The end of both words has to come from the completion.
const TYPED: [(&str, &str); 2] =
    [("mc-idle st\t--js\t", "mc-idle status --json"), ("mc-broker ch\t--of\t", "mc-broker check --offline")];

/// Asserts that on a terminal with `shell` in it, which must show `ready` when it waits for a command, both programs'
/// commands are completed.
fn assert_completes(shell: &str, home: &tempfile::TempDir) {
    let path = std::env::join_paths(
        std::iter::once(home.path().to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    for (keys, wanted) in TYPED {
        // In place of the program: it says what it was called with.
        let program = home.path().join(wanted.split(' ').next().unwrap());
        fs::write(&program, "#!/bin/sh\necho \"called: ${0##*/} $*\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut process = Process::start(
            Command::new("script")
                .args(["--quiet", "--flush", "--command", shell, "/dev/null"])
                .env_clear()
                .env("PATH", &path)
                .env("HOME", home.path())
                .env("ZDOTDIR", home.path())
                .env("TERM", "xterm"),
        );
        process.wait_for("ready");
        process.say(keys);
        let said = process.wait_for("called: ");
        assert!(said.trim_end().ends_with(&format!("called: {wanted}")), "{}", process.output().join("\n"));
    }
}

#[test]
fn bash_completes() {
    skip_unless!(is_there("bash") && is_there("script"), "bash and script (package bsdutils)");
    let home = tempfile::tempdir().unwrap();
    let scripts = checkout().join("docs/completions");
    let scripts = scripts.display();
    let settings = format!("PS1='ready\\n'\nsource '{scripts}/mc-idle.bash'\nsource '{scripts}/mc-broker.bash'\n");
    fs::write(home.path().join(".bashrc"), settings).unwrap();
    assert_completes("bash -i", &home);
}

#[test]
fn zsh_completes() {
    skip_unless!(is_there("zsh") && is_there("script"), "zsh, and script (package bsdutils)");
    let home = tempfile::tempdir().unwrap();
    let folder = checkout().join("docs/completions");
    let settings =
        format!("fpath=('{}' $fpath)\nautoload -Uz compinit\ncompinit -u -D\nPS1=$'ready\\n'\n", folder.display());
    fs::write(home.path().join(".zshrc"), settings).unwrap();
    assert_completes("zsh -o no_global_rcs -i", &home);
}

#[test]
fn fish_completes() {
    skip_unless!(is_there("fish"), "fish");
    let home = tempfile::tempdir().unwrap();
    let offered = |line: &str| {
        let program = line.split(' ').next().unwrap();
        let script = format!("source docs/completions/{program}.fish; complete --do-complete '{line}'");
        let output = Command::new("fish")
            .args(["--no-config", "--command", &script])
            .current_dir(checkout())
            .env("HOME", home.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{errors}");
        let offers = String::from_utf8(output.stdout).unwrap();
        offers.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(offered("mc-idle st"), ["status"]);
    assert_eq!(offered("mc-idle status --js"), ["--json"]);
    let commands = offered("mc-idle ");
    assert_eq!(commands, ["check", "help", "hold", "release", "run", "status"]);
    assert_eq!(offered("mc-broker "), ["check", "help", "run"]);
    assert_eq!(offered("mc-broker check --of"), ["--offline"]);
}
