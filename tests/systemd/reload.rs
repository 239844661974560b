//! `systemctl reload mc-idle` under a real systemd, while the clock runs and while somebody plays: the clocks go on and the
//! new settings hold; a broken file changes nothing.
//! Needs root and what `tests/machine/setup.sh` installs and builds.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

use crate::machine::container::{Machine, QUICK, Tree, states};
use serde_json::Value;

/// journald's word for an error (syslog(3)).
const ERROR: &str = "3";

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    Machine::new(&Tree { file: "root.tar", options: &[], prepare: "" })
}

impl Machine {
    fn status(&self) -> Value {
        serde_json::from_slice(&self.run("mc-idle status --json").stdout).unwrap_or(Value::Null)
    }

    /// Waits until the number in the status at `pointer` is at least `least`, and returns it.
    fn at_least(&self, pointer: &str, least: u64) -> u64 {
        let read = || self.status().pointer(pointer).and_then(Value::as_u64);
        self.until(&format!("{pointer} is {least} at least"), || read().is_some_and(|number| number >= least));
        read().expect("a number")
    }

    /// The agent's own lines, with how grave they are.
    fn told_by_priority(&self) -> Vec<(String, String)> {
        let entries = self.journal();
        let own = entries.iter().filter(|entry| entry.get("SYSLOG_IDENTIFIER").is_some_and(|name| name == "mc-idle"));
        let field = |entry: &std::collections::HashMap<String, Value>, name: &str| {
            entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        own.map(|entry| (field(entry, "PRIORITY"), field(entry, "MESSAGE"))).collect()
    }

    fn reload_to(&self, minutes: u64) {
        self.config(&format!("idle_minutes = {minutes}\n{QUICK}"));
        self.ok("systemctl reload mc-idle");
        self.until("the new window is in the status", || self.status()["window_seconds"] == minutes * 60);
    }

    /// A file with a key that there is not: the reload fails, and one line says why, as an error.
    fn refuses_a_broken_file(&self) {
        let before = self.told_by_priority().len();
        self.config(&format!("idle_minuets = 5\n{QUICK}"));
        let reload = self.run("systemctl reload mc-idle");
        assert!(!reload.status.success(), "a broken file was taken");
        let told = self.told_by_priority().split_off(before);
        let [(priority, message)] = told.as_slice() else { panic!("not one line: {told:#?}") };
        assert_eq!(priority, ERROR, "{message}");
        assert!(message.contains("50-test.toml") && message.contains("idle_minuets"), "{message}");
    }
}

#[test]
fn a_reload_says_what_has_changed() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.ok("systemctl start mc-idle");
    machine.config(&format!("idle_minutes = 20\n{QUICK}"));
    machine.ok("systemctl reload mc-idle");
    let changed = "Configuration reloaded: idle_minutes: 15 -> 20.";
    machine.until("the journal says what", || machine.journal().iter().any(|entry| entry["MESSAGE"] == changed));
}

#[test]
fn the_clock_of_an_empty_server_goes_on() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server();
    machine.ok("systemctl start mc-idle");
    machine.until_state("idle");
    let pid = machine.main_pid();
    let before = machine.at_least("/idle_seconds", 4);
    machine.reload_to(20);
    let after = machine.at_least("/idle_seconds", 0);
    assert!(after >= before, "{after} s after the reload, {before} s before it");

    machine.refuses_a_broken_file();
    let status = machine.status();
    assert_eq!(status["window_seconds"], 1200, "the old settings stay");
    assert!(status["idle_seconds"].as_u64().is_some_and(|seconds| seconds >= after), "{status:#}");
    machine.at_least("/idle_seconds", after + 2);
    assert_eq!(machine.main_pid(), pid);
    assert_eq!(states(&machine.states()).last(), Some(&"idle"));
    assert_eq!(machine.states().iter().filter(|line| line.state == "idle").count(), 1, "told once");
}

#[test]
fn a_player_stays_a_player() {
    const AGE: &str = "/connections/0/age_seconds";
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server();
    machine.background("player", "sleep 1000 | busybox nc 127.0.0.1 25565");
    machine.ok("systemctl start mc-idle");
    machine.until_state("occupied");
    let told = machine.states().len();
    let before = machine.at_least(AGE, 4);
    machine.reload_to(20);
    let after = machine.at_least(AGE, 0);
    assert!(after >= before, "{after} s after the reload, {before} s before it");

    machine.refuses_a_broken_file();
    machine.at_least(AGE, after + 2);
    assert_eq!(machine.status()["connections"][0]["counts_as"], "player");
    assert_eq!(machine.states().len(), told, "the state has not changed\n{}", machine.story());
    machine.ok("systemctl stop player");
    assert_eq!(machine.until_state("idle").window_seconds, Some(1200), "the old settings stay");
}
