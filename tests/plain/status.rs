//! What an operator at 2 a.m. asks: `mc-idle status`, `mc-idle hold` and `mc-idle release` beside a running agent.
//! Just over 400 lines of short tests.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::net::TcpStream;
use std::process::{Command, Output};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;

use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::emulated_aws::{self, python};
use crate::support::{checkout, mc_idle, wait_until};

const STOPPED: &str = "EC2 would be asked to stop this instance now";

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
    let further = ["minecraft.min_connection_seconds = 10", "minecraft.ignore_peers = [\"127.0.0.3\"]"];
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
    let screen = until_screen(&agent, "too young; counts as a player in");
    assert!(row(&screen, &ignored).ends_with("in ignore_peers"), "{screen}");
    let screen = until_screen(&agent, "1 player is on port");
    assert!(row(&screen, &player).ends_with("a player"), "{screen}");
    assert!(screen.starts_with("occupied"), "{screen}");
    drop((player, ignored));
    let screen = until_screen(&agent, "No players on");
    assert!(screen.starts_with("idle") && screen.contains("without a player"), "{screen}");
}

#[test]
fn the_json_is_what_its_schema_says_in_every_state() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Silent::start();
    let agent = agent(&server, 600.0, &["minecraft.min_connection_seconds = 1"]);
    let mut seen = Vec::new();
    let mut valid = |state: &str| {
        let status = wait_until(state, || Some(json(&agent)).filter(|status| status["state"] == state));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), status.to_string()).unwrap();
        let check = "import json, sys, jsonschema; \
                     jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load(open(sys.argv[2])))";
        let schema = checkout().join("agent/report/status/schema.json");
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
    let agent = agent(&server, 4.0, &[]);
    agent.notices.wait_for("READY=1");
    // Placed before the window is over.
    let held = beside(&agent, &["hold", "0.25m", "--reason", "nightly backup"]);
    assert!(held.status.success() && text(&held.stdout).starts_with("held for 15 s ("), "{held:?}");
    until_screen(&agent, "but the stop waits for a hold to end.");
    assert!(!agent.process.output().join("\n").contains(STOPPED));
    let shown = screen(&agent);
    assert!(
        shown.contains("nightly backup; by mc-idle hold, until 20") && shown.contains("delayed by a hold"),
        "{shown}"
    );
    agent.process.wait_for("No longer held: nightly backup.");
    agent.process.wait_for(STOPPED);
}

#[test]
fn a_hold_is_ended_by_release() {
    let server = Silent::start();
    let agent = agent(&server, 4.0, &[]);
    agent.notices.wait_for("READY=1");
    beside(&agent, &["hold", "7d", "--reason", "tournament"]);
    until_screen(&agent, "but the stop waits for a hold to end.");
    assert_eq!(text(&beside(&agent, &["release"]).stdout), "released\n");
    agent.process.wait_for(STOPPED);
    assert_eq!(text(&beside(&agent, &["release"]).stdout), "there was no hold\n");
}

#[test]
fn a_hold_outlives_a_restart_of_the_agent() {
    let server = Silent::start();
    let mut first = agent(&server, 600.0, &[]);
    first.process.wait_for("No players on");
    beside(&first, &["hold", "1h", "--reason", "upgrade"]);
    first.process.wait_for(": upgrade.");
    assert_eq!(first.end().code(), Some(0));
    let folder = first.config.path().parent().unwrap().to_owned();
    let second = Agent::start(&settings(server.port, 1.0, &[]), |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", folder);
    });
    second.process.wait_for("but the stop waits for a hold to end.");
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
    assert!(text(&output.stderr).contains("use 90m, 2h or 1d, at most 7d"), "{}", text(&output.stderr));
}

#[test]
fn a_hold_file_that_becomes_none_is_told_once_and_holds_nothing() {
    let server = Silent::start();
    let agent = agent(&server, 3.0, &[]);
    // It has seen that there was no hold.
    agent.notices.wait_for("READY=1");
    std::fs::write(agent.config.path().with_file_name("hold.json"), "{").unwrap();
    let line = agent.process.wait_for("Cannot check the mc-idle hold file");
    assert!(line.contains(" warning: ") && line.contains("hold.json is not a valid hold"), "{line}");
    agent.process.wait_for(STOPPED);
    let told = agent.process.output().iter().filter(|line| line.contains("Cannot check")).count();
    assert_eq!(told, 1);
}

#[test]
fn a_hold_stays_in_force_when_its_file_becomes_none() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    agent.notices.wait_for("READY=1");
    beside(&agent, &["hold", "1h", "--reason", "nightly backup"]);
    agent.process.wait_for(": nightly backup.");
    std::fs::write(agent.config.path().with_file_name("hold.json"), "{").unwrap();
    let line = agent.process.wait_for("Cannot check the mc-idle hold file");
    assert!(line.contains("What was last known stays in force"), "{line}");
    agent.config.write(&settings(server.port, 1.0, &[]));
    agent.process.signal(Signal::HUP);
    agent.process.wait_for("but the stop waits for a hold to end.");
    beside(&agent, &["release"]);
    agent.process.wait_for("No longer held: nightly backup.");
    agent.process.wait_for(STOPPED);
}

#[test]
fn a_hold_file_that_cannot_be_read_from_the_start_delays_the_stop_until_it_is_removed() {
    let server = Silent::start();
    let folder = tempfile::tempdir().unwrap();
    // Neither file is waited for.
    let pipe = folder.path().join("hold.json");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from(0o666), 0).unwrap();
    let agent = Agent::start(&settings(server.port, 2.0, &[]), |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", folder.path());
    });
    let line = agent.process.wait_for("Cannot check the mc-idle hold file");
    assert!(line.contains("hold.json: it is no regular file"), "{line}");
    agent.process.wait_for("waits for the hold sources to answer.");
    let waits = "A due stop waits up to 30 minutes for the answer.";
    agent.notices.wait_for_status(waits);
    assert!(!agent.process.output().join("\n").contains(STOPPED));
    std::fs::remove_file(pipe).unwrap();
    agent.process.wait_for("All hold sources can be checked again.");
    agent.process.wait_for(STOPPED);
}

#[test]
fn an_agent_that_was_ended_leaves_no_picture_that_looks_fresh() {
    let server = Silent::start();
    let mut agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "No players on");
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
    assert!(text(&output.stderr).starts_with("mc-idle: no agent is running: "), "{}", text(&output.stderr));
}

#[test]
fn without_an_agent_that_is_what_is_said_whatever_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let asked: [&[&str]; 4] = [&["status"], &["status", "--json"], &["hold", "1h", "--reason", "backup"], &["release"]];
    for (runtime, why) in [(folder.path(), "there is no /"), (&missing, "there is no folder /")] {
        for arguments in asked {
            let output = mc_idle().args(arguments).env("RUNTIME_DIRECTORY", runtime).output().unwrap();
            let said = text(&output.stderr);
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{arguments:?}: {said}");
            assert!(said.starts_with(&format!("mc-idle: no agent is running: {why}")), "{arguments:?}: {said}");
            assert!(said.contains("systemctl start mc-idle") && !said.contains("root"), "{arguments:?}: {said}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is held");
}

#[test]
fn a_hold_waits_for_an_agent_that_is_just_starting() {
    let server = Silent::start();
    let mut first = agent(&server, 600.0, &[]);
    first.process.wait_for("No players on");
    let folder = first.config.path().parent().unwrap().to_owned();
    first.end();
    let mut hold = mc_idle();
    hold.args(["hold", "1h", "--reason", "upgrade"]).env("RUNTIME_DIRECTORY", &folder);
    let hold = crate::support::Process::start(&mut hold);
    let second = Agent::start(&settings(server.port, 600.0, &[]), |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", &folder);
    });
    hold.wait_for("held for 60 min");
    second.process.wait_for(": upgrade.");
}

#[test]
fn what_others_wrote_reaches_screen_journal_and_scripts_written_out() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    agent.process.wait_for("No players on");
    // Controls are not even kept.
    let held = beside(&agent, &["hold", "1h", "--reason", "in\u{202e}evil\u{200b}\u{2028}x"]);
    let visible = "in\\u202eevil\\u200b\\u2028x";
    assert!(text(&held.stdout).ends_with(&format!(": {visible}\n")), "{}", text(&held.stdout));
    agent.process.wait_for(&format!(": {visible}."));
    agent.notices.wait_for_status(visible);
    let shown = until_screen(&agent, visible);
    let json = text(&beside(&agent, &["status", "--json"]).stdout);
    assert!(json.contains(&format!("\"reason\": \"{visible}\"")), "as JSON escapes it: {json}");
    let means: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(means["holds"][0]["reason"], "in\u{202e}evil\u{200b}\u{2028}x");
    for said in [shown, json] {
        assert!(
            said.chars().all(|char| char == '\n' || !(char.is_control() || "\u{202e}\u{200b}\u{2028}".contains(char)))
        );
    }
    // Whoever is wrong about an argument is shown it.
    let wrong = text(&beside(&agent, &["hold", "1h\n\u{1b}[2J", "--reason", "x"]).stderr);
    assert!(wrong.contains("1h\\n\\u001b[2J") && !wrong.contains('\u{1b}'), "{wrong}");
}

/// The picture that an agent that stands still has left, changed.
fn change(agent: &Agent, change: impl FnOnce(&mut Value)) {
    let path = agent.config.path().with_file_name("status.json");
    let mut picture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut picture);
    std::fs::write(&path, picture.to_string()).unwrap();
}

#[test]
fn nine_thousand_connections_are_shown() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    let _caller = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    until_screen(&agent, "too young; counts as a player in");
    agent.process.freeze();
    change(&agent, |picture| {
        let connection = picture["connections"][0].clone();
        picture["connections"] = (0..9000)
            .map(|number| {
                let mut connection = connection.clone();
                connection["peer"] = format!("[2001:db8:aaaa:bbbb:cccc:dddd:eeee:{number:04x}]:40000").into();
                connection
            })
            .collect();
    });
    let length = std::fs::metadata(agent.config.path().with_file_name("status.json")).unwrap().len();
    assert!(length > 1024 * 1024, "{length} bytes prove nothing");
    assert_eq!(text(&beside(&agent, &["status"]).stdout).matches("2001:db8").count(), 9000);
    assert_eq!(json(&agent)["connections"].as_array().map(Vec::len), Some(9000));
}

#[test]
fn a_picture_of_somebody_else_is_refused() {
    skip_unless!(crate::support::root(), "root");
    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "No players on");
    agent.process.freeze();
    let path = agent.config.path().with_file_name("status.json");
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let output = beside(&agent, arguments);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let said = text(&output.stderr);
        assert!(said.contains("status.json: it belongs to the user 4242, not to mc-idle"), "{said}");
    }
    // A hold does not depend on it.
    assert!(beside(&agent, &["hold", "1h", "--reason", "backup"]).status.success());
}

/// Lets the picture of an agent that stands still be so many seconds older.
fn age(agent: &Agent, seconds: u64) {
    change(agent, |picture| {
        for moment in ["at_ms", "next_by_ms"] {
            picture[moment] = (picture[moment].as_u64().unwrap() - seconds * 1000).into();
        }
    });
}

#[test]
fn what_a_screen_counts_has_gone_on_since_the_agent_wrote_it() {
    let server = Silent::start();
    let agent = agent(&server, 600.0, &["minecraft.min_connection_seconds = 2"]);
    until_screen(&agent, "No players on");
    agent.process.freeze();
    let before = json(&agent)["idle_seconds"].as_u64().unwrap();
    age(&agent, 30);
    let shown = screen(&agent);
    let counted = |seconds| shown.contains(&format!("] {seconds} s of 10 min without a player"));
    assert!((before + 30..before + 40).any(counted), "{before} s and 30 s more:\n{shown}");
    assert_eq!(json(&agent)["idle_seconds"], before, "scripts get what was written, and when");

    agent.process.signal(Signal::CONT);
    let _player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    until_screen(&agent, "1 player is on port");
    agent.process.freeze();
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
    assert!(text(&output.stderr).starts_with("mc-idle: no agent is running: "), "{}", text(&output.stderr));

    let server = Silent::start();
    let agent = agent(&server, 600.0, &[]);
    until_screen(&agent, "No players on");
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(0));
    agent.process.freeze();
    age(&agent, 40);
    assert_eq!(beside(&agent, &["status"]).status.code(), Some(0), "it writes every 15 s");
    age(&agent, 10);
    until_screen(&agent, "mc-idle is not responding: this was written 5");
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
    until_screen(&agent, "No players on");
    let mut command = mc_idle();
    command.args(["status", "--watch"]).env("RUNTIME_DIRECTORY", agent.config.path().parent().unwrap());
    let watcher = crate::support::Process::start(&mut command);
    watcher.wait_for("No players on");
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    watcher.wait_for("too young");
    drop(player);
}
