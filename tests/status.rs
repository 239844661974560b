//! What an operator at 2 a.m. asks: `mc-idle status`, `mc-idle hold` and `mc-idle release` beside a running agent.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

mod support;

use std::net::TcpStream;
use std::process::{Command, Output};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use support::agent::{Agent, Silent, settings};
use support::lab::{self, python};
use support::{checkout, mc_idle, wait_until};

const STOPPED: &str = "EC2 would have been asked to stop this instance now";

fn agent(server: &Silent, idle_seconds: f64, further: &[&str]) -> Agent {
    Agent::start(&settings(server.port, idle_seconds, further), |command| {
        command.arg("--dry-run");
    })
}

/// A command beside `agent`, with the same runtime directory.
fn beside(agent: &Agent, arguments: &[&str]) -> Output {
    let mut command: Command = mc_idle();
    command.args(arguments).env("RUNTIME_DIRECTORY", agent.config.path().parent().unwrap()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The screen, which must fit any terminal and hold no colours: it is no terminal here.
fn screen(agent: &Agent) -> String {
    let screen = text(&beside(agent, &["status"]).stdout);
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns:\n{screen}");
    assert!(!screen.contains('\x1b'), "{screen}");
    screen
}

fn json(agent: &Agent) -> Value {
    let output = beside(agent, &["status", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
}

fn until_screen(agent: &Agent, said: &str) -> String {
    wait_until(&format!("the screen says {said:?}"), || {
        // Lines are broken anywhere between two words.
        Some(screen(agent)).filter(|screen| screen.split_whitespace().collect::<Vec<_>>().join(" ").contains(said))
    })
}

#[test]
fn everybody_who_is_connected_is_shown_with_what_counts_and_why() {
    let server = Silent::start();
    let further = ["minecraft.min_connection_seconds = 3", "minecraft.ignore_peers = [\"127.0.0.3\"]"];
    let agent = agent(&server, 600.0, &further);
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let ignored = {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &std::net::SocketAddr::from(([127, 0, 0, 3], 0))).unwrap();
        rustix::net::connect(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], server.port))).unwrap();
        TcpStream::from(socket)
    };
    let row = |screen: &str, stream: &TcpStream| {
        let peer = stream.local_addr().unwrap().to_string();
        screen.lines().find(|line| line.contains(&peer)).unwrap_or_default().to_owned()
    };
    let screen = until_screen(&agent, "too young: a player in");
    assert!(row(&screen, &ignored).ends_with("in ignore_peers"), "{screen}");
    let screen = until_screen(&agent, "1 player is on port");
    assert!(row(&screen, &player).ends_with("a player"), "{screen}");
    assert!(screen.starts_with("occupied"), "{screen}");
    drop((player, ignored));
    let screen = until_screen(&agent, "Nobody plays on");
    assert!(screen.starts_with("idle") && screen.contains("without a player"), "{screen}");
}

#[test]
fn the_json_is_what_its_schema_says_in_every_state() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let server = Silent::start();
    let agent = agent(&server, 600.0, &["minecraft.min_connection_seconds = 1"]);
    let mut seen = Vec::new();
    let mut valid = |state: &str| {
        let status = wait_until(state, || Some(json(&agent)).filter(|status| status["state"] == state));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), status.to_string()).unwrap();
        let check = "import json, sys, jsonschema; \
                     jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load(open(sys.argv[2])))";
        let schema = checkout().join("agent/status/schema.json");
        let output = Command::new(python()).args(["-c", check]).arg(schema).arg(file.path()).output().unwrap();
        assert!(output.status.success(), "{}\n{status:#}", text(&output.stderr));
        seen.push(state.to_owned());
    };
    valid("idle");
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    valid("occupied");
    drop(player);
    beside(&agent, &["hold", "1d", "--reason", "world download"]);
    valid("idle");
    agent.config.write(&settings(server.port, 1.0, &[]));
    agent.process.signal(Signal::HUP);
    valid("due");
    beside(&agent, &["release"]);
    valid("stopping");
    assert_eq!(seen.len(), 5);
}

#[test]
fn a_hold_delays_the_stop_and_ends_by_itself() {
    let server = Silent::start();
    let agent = agent(&server, 2.0, &[]);
    // Placed before the window is over.
    let held = beside(&agent, &["hold", "0.1m", "--reason", "nightly backup"]);
    assert!(held.status.success() && text(&held.stdout).starts_with("held for 6 s ("), "{held:?}");
    until_screen(&agent, "but the stop waits for the end of a hold.");
    assert!(!agent.process.output().join("\n").contains(STOPPED));
    let shown = screen(&agent);
    assert!(
        shown.contains("nightly backup; by mc-idle hold, until 20") && shown.contains("a hold delays it"),
        "{shown}"
    );
    agent.process.wait_for("No longer held: nightly backup.");
    agent.process.wait_for(STOPPED);
}

#[test]
fn a_hold_is_ended_by_release() {
    let server = Silent::start();
    let agent = agent(&server, 2.0, &[]);
    beside(&agent, &["hold", "7d", "--reason", "tournament"]);
    until_screen(&agent, "but the stop waits for the end of a hold.");
    assert_eq!(text(&beside(&agent, &["release"]).stdout), "released\n");
    agent.process.wait_for(STOPPED);
    assert_eq!(text(&beside(&agent, &["release"]).stdout), "there was no hold\n");
}

#[test]
fn a_hold_outlives_a_restart_of_the_agent() {
    let server = Silent::start();
    let mut first = agent(&server, 600.0, &[]);
    first.process.wait_for("Nobody plays on");
    beside(&first, &["hold", "1h", "--reason", "upgrade"]);
    first.process.wait_for(": upgrade.");
    assert_eq!(first.end().code(), Some(0));
    let folder = first.config.path().parent().unwrap().to_owned();
    let second = Agent::start(&settings(server.port, 1.0, &[]), |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", folder);
    });
    second.process.wait_for("but the stop waits for the end of a hold.");
}

#[test]
fn wrong_holds_are_refused_with_what_is_allowed() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    for wrong in [
        &["hold", "8d", "--reason", "x"][..],
        &["hold", "2", "--reason", "x"],
        &["hold", "2h"],
        &["hold", "2h", "--reason", " "],
    ] {
        let output = beside(&agent, wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let output = beside(&agent, &["hold", "8d", "--reason", "x"]);
    assert!(text(&output.stderr).contains("write 90m, 2h or 1d, at most 7d"), "{}", text(&output.stderr));
}

#[test]
fn a_hold_file_that_is_none_is_told_once_and_holds_nothing() {
    let server = Silent::start();
    let agent = agent(&server, 3.0, &[]);
    std::fs::write(agent.config.path().with_file_name("hold.json"), "{").unwrap();
    let line = agent.process.wait_for("A hold may be overlooked");
    assert!(line.contains(" warning: ") && line.contains("hold.json is no hold"), "{line}");
    agent.process.wait_for(STOPPED);
    let told = agent.process.output().iter().filter(|line| line.contains("may be overlooked")).count();
    assert_eq!(told, 1);
}

#[test]
fn a_hold_file_that_would_be_waited_for_keeps_nothing_up() {
    let server = Silent::start();
    let agent = agent(&server, 3.0, &[]);
    let pipe = agent.config.path().with_file_name("hold.json");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from(0o666), 0).unwrap();
    let line = agent.process.wait_for("A hold may be overlooked");
    assert!(line.contains("hold.json cannot be read: it is no regular file"), "{line}");
    agent.process.wait_for(STOPPED);
}

#[test]
fn an_agent_that_was_ended_leaves_no_picture_that_looks_fresh() {
    let server = Silent::start();
    let mut agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "Nobody plays on");
    // A second one there has no say in it.
    let mut second = Agent::start(&settings(server.port, 600.0, &[]), |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", agent.config.path().parent().unwrap());
    });
    second.process.wait_for("another mc-idle uses its folder");
    second.end();
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(0));
    agent.end();
    let output = beside(&agent, &["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("mc-idle: no mc-idle runs here: "), "{}", text(&output.stderr));
}

/// Lets the picture of an agent that stands still be so many seconds older.
fn age(agent: &Agent, seconds: u64) {
    let path = agent.config.path().with_file_name("status.json");
    let mut picture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for moment in ["at_ms", "next_by_ms"] {
        picture[moment] = (picture[moment].as_u64().unwrap() - seconds * 1000).into();
    }
    std::fs::write(&path, picture.to_string()).unwrap();
}

#[test]
fn what_a_screen_counts_has_gone_on_since_the_agent_wrote_it() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &["minecraft.min_connection_seconds = 2"]);
    until_screen(&agent, "Nobody plays on");
    agent.process.signal(Signal::STOP);
    let before = json(&agent)["idle_seconds"].as_u64().unwrap();
    age(&agent, 30);
    let shown = screen(&agent);
    let counted = |seconds| shown.contains(&format!("] {seconds} s of 10 min without a player"));
    assert!((before + 30..before + 40).any(counted), "{before} s and 30 s more:\n{shown}");
    assert_eq!(json(&agent)["idle_seconds"], before, "scripts get what was written, and when");

    agent.process.signal(Signal::CONT);
    let _player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    until_screen(&agent, "1 player is on port");
    agent.process.signal(Signal::STOP);
    age(&agent, 30);
    let shown = screen(&agent);
    let counted = |seconds| shown.contains(&format!(" {seconds} s  a player"));
    assert!((32..42).any(counted) && shown.contains("] 0 s of 10 min without a player"), "{shown}");
}

#[test]
fn no_agent_and_one_that_does_not_answer_are_said_and_exit_with_1() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = mc_idle().arg("status").env("RUNTIME_DIRECTORY", nowhere.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("mc-idle: no mc-idle runs here: "), "{}", text(&output.stderr));

    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "Nobody plays on");
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(0));
    agent.process.signal(Signal::STOP);
    age(&agent, 40);
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(0), "it writes every 15 s");
    age(&agent, 10);
    until_screen(&agent, "mc-idle does not answer: what follows was written 5");
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(1));
    let json = beside(&agent, &["status", "--json"]);
    assert_eq!(json.status.code(), Some(1));
    assert!(text(&json.stderr).contains("does not answer"));
    agent.process.signal(Signal::CONT);
    wait_until("it answers again", || beside(&agent, &["status"]).status.success().then_some(()));
}

#[test]
fn watching_shows_it_again_and_again() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "Nobody plays on");
    let mut command = mc_idle();
    command.args(["status", "--watch"]).env("RUNTIME_DIRECTORY", agent.config.path().parent().unwrap());
    let watcher = support::Process::start(&mut command);
    watcher.wait_for("Nobody plays on");
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    watcher.wait_for("too young");
    drop(player);
}
