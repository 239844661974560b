//! The files that are made of the command line and the keys of the configuration, so that they cannot say anything else.
//!
//! * [`commands`]: the commands as they are shown: synopsis, options, completions.
//! * [`keys`]: the keys: the shipped file, the README's table, a part of mc-idle.toml(5).
//! * [`roff`]: text in the language of man pages.

#![allow(clippy::format_collect, clippy::format_push_string, reason = "a few pages, made once: plain before fast")]

pub(crate) mod commands;
pub(crate) mod keys;
pub(crate) mod roff;

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

/// A file and the text that it should have.
pub(crate) struct Made {
    /// Below the checkout.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Every file that is made.
pub(crate) fn all(checkout: &Path) -> Vec<Made> {
    let read = |path: &str| {
        fs::read_to_string(checkout.join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
    };
    let mut all: Vec<(&str, String)> = vec![
        ("docs/man/mc-idle.8", page(&read("docs/man/mc-idle.8.in"))),
        ("docs/man/mc-idle.toml.5", page(&read("docs/man/mc-idle.toml.5.in"))),
        ("systemd/mc-idle.toml", keys::shipped_file()),
        ("README.md", keys::with_table(&read("README.md"))),
    ];
    let completions = [(Shell::Bash, "mc-idle.bash"), (Shell::Zsh, "_mc-idle"), (Shell::Fish, "mc-idle.fish")];
    let completions =
        completions.map(|(shell, name)| (format!("docs/completions/{name}"), commands::completion(shell)));
    let completions = completions.iter().map(|(path, text)| (path.as_str(), text.clone()));
    all.extend(completions);
    all.into_iter().map(|(path, text)| Made { path: path.into(), text }).collect()
}

/// A man page: the hand-written text, with the generated ones in the places of `@NAMES@` that stand alone on a line.
fn page(template: &str) -> String {
    let filled = template.lines().map(|line| match line {
        "@SYNOPSIS@" => commands::synopsis(),
        "@COMMANDS@" => commands::commands(),
        "@EXIT_CODES@" => commands::exit_codes(),
        "@KEYS@" => keys::in_man_page(),
        line => {
            let line = line.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
            assert!(!line.starts_with('@'), "nothing is made for {line}");
            line + "\n"
        }
    });
    let warning =
        ".\\\" Made by `make docs`. What is not made of the program itself stands in the .in file beside this one.\n";
    std::iter::once(warning.to_owned()).chain(filled).collect()
}
