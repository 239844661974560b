//! Each row of `tests/faults.md` names a test that is there and is run.

use std::collections::BTreeSet;
use std::fs;

use crate::support::checkout;

/// So many faults at least are in the table.
const FEWEST: usize = 40;

/// Whether `source` has a test of this name that is run.
fn shown(source: &str, name: &str) -> Result<(), &'static str> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let signature = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.trim_start_matches("async ").starts_with(&signature)) else {
        return Err("is not there");
    };
    let attributes: Vec<&&str> =
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//")).collect();
    if !attributes.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
        return Err("is no test");
    }
    if attributes.iter().any(|line| line.starts_with("#[") && line.contains("ignore")) {
        return Err("is ignored");
    }
    Ok(())
}

/// What is wrong with the table `text`; `read` gives the text of a source file.
fn complaints(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut faults = BTreeSet::new();
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    for row in rows.filter(|row| !row.starts_with("| fault |")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [fault, does, sees, tests] = cells[..] else {
            complaints.push(format!("a row of {} cells: {row}", cells.len()));
            continue;
        };
        if [fault, does, sees].contains(&"") {
            complaints.push(format!("an empty cell: {row}"));
        }
        if !faults.insert(fault) {
            complaints.push(format!("twice: {fault}"));
        }
        // Every second piece is between backticks.
        let mut named = tests.split('`').skip(1).step_by(2).peekable();
        if named.peek().is_none() {
            complaints.push(format!("{fault}: no test"));
        }
        for test in named {
            let found = test.split_once("::").and_then(|(file, name)| Some(shown(&read(file)?, name)));
            match found {
                Some(Ok(())) => {}
                Some(Err(why)) => complaints.push(format!("{fault}: {test} {why}")),
                None => complaints.push(format!("{fault}: {test} names no file")),
            }
        }
    }
    if faults.len() < FEWEST {
        complaints.push(format!("only {} faults", faults.len()));
    }
    complaints
}

#[test]
fn every_fault_in_the_table_has_a_test_that_is_run() {
    let text = fs::read_to_string(checkout().join("tests/faults.md")).unwrap();
    let complaints = complaints(&text, |file| fs::read_to_string(checkout().join(file)).ok());
    assert!(complaints.is_empty(), "tests/faults.md:\n{}", complaints.join("\n"));
}

#[test]
fn a_table_that_promises_what_no_test_shows_is_refused() {
    const SOURCE: &str = "#[test]\nfn good() {}\n/// Slow.\n#[tokio::test(start_paused = true)]\nasync fn paused() {}\n\
        fn helper() {}\n#[test]\n#[ignore = \"slow\"]\nfn ignored() {}\n// fn gone() {}\n";
    let read = |file: &str| (file == "tests/a.rs").then(|| SOURCE.to_owned());
    let table = |last: &str| {
        let rows: Vec<String> =
            (1..FEWEST).map(|number| format!("| {number} | a | b | `tests/a.rs::good` |")).collect();
        format!("# Faults\n\n| fault | x | y | z |\n|---|---|---|---|\n{}\n{last}\n", rows.join("\n"))
    };
    let complaint = |last: &str| complaints(&table(last), read).join("\n");
    assert_eq!(complaint("| last | a | b | `tests/a.rs::good`, `tests/a.rs::paused` |"), "");
    for (last, expected) in [
        ("", "only 39 faults"),
        ("| last | a | b | `tests/a.rs::none` |", "last: tests/a.rs::none is not there"),
        ("| last | a | b | `tests/a.rs::gone` |", "last: tests/a.rs::gone is not there"),
        ("| last | a | b | `tests/a.rs::helper` |", "last: tests/a.rs::helper is no test"),
        ("| last | a | b | `tests/a.rs::ignored` |", "last: tests/a.rs::ignored is ignored"),
        ("| last | a | b | `tests/b.rs::good` |", "last: tests/b.rs::good names no file"),
        ("| last | a | b | `tests/a.rs::good`, `good` |", "last: good names no file"),
        ("| last | a | b | tests/a.rs::good |", "last: no test"),
        ("| last | a | | `tests/a.rs::good` |", "an empty cell: "),
        ("| 1 | a | b | `tests/a.rs::good` |", "twice: 1"),
        ("| last | a | `tests/a.rs::good` |", "a row of 3 cells: "),
    ] {
        assert!(complaint(last).starts_with(expected), "{last}: {:?}", complaint(last));
    }
}
