//! What `make deploy` deploys: the template and the policies beside it, and a whole life of a stack in an emulated AWS.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::skip_unless;
use crate::support::{self, checkout};

const TOOLS: &str = "the tools for the stack; run tests/lab/setup.sh stack";

/// Runs a script of tests/deploy, whose lines are shown, and which fails with a sentence.
fn run(python: &Path, script: &str, arguments: &[&Path]) {
    let mut command = Command::new(python);
    command.arg(checkout().join("tests/deploy").join(script)).args(arguments).current_dir(checkout());
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success(), "{script}: {}\n{said}", done.status);
    println!("{said}");
}

fn python(environment: &str) -> std::path::PathBuf {
    checkout().join("target/lab").join(environment).join("bin/python")
}

#[test]
fn the_template_and_the_policies_hold_in_every_set_up() {
    let python = python("stack");
    skip_unless!(python.exists(), TOOLS);
    run(&python, "template.py", &[&support::program("mc-idle")]);
}

#[test]
fn tools_of_others_have_nothing_against_the_template() {
    let python = python("stack");
    skip_unless!(python.exists(), TOOLS);
    run(&python, "lint.py", &[]);
}

/// Created, pressed in a browser, updated under a player, taken down; then the same with an instance for each evening.
#[test]
fn a_stack_lives_in_an_emulated_account() {
    let python = python("venv");
    let there = python.exists() && checkout().join("target/lab/ministack/bin/python").exists();
    skip_unless!(there && crate::webdriver::installed(), TOOLS);
    run(&python, "emulated.py", &[&support::program("mc-launcher")]);
}
