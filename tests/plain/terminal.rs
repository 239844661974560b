//! `mc-idle status` on a terminal: a real one, that script(1) makes.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::support::agent::{Agent, Silent, settings};
use crate::support::{mc_idle, wait_until};

const GREEN: &str = "\x1b[1;32moccupied";

/// What `mc-idle status` prints where its output is a terminal of 80 columns.
fn on_a_terminal(agent: &Agent, no_color: Option<&str>) -> String {
    let program = env!("CARGO_BIN_EXE_mc-idle");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &format!("stty cols 80; exec '{program}' status"), "/dev/null"]);
    script.env("RUNTIME_DIRECTORY", folder(agent)).env("TERM", "xterm").env_remove("NO_COLOR");
    script.envs(no_color.map(|value| ("NO_COLOR", value)));
    let output = script.output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

fn in_a_pipe(agent: &Agent) -> String {
    let mut status = mc_idle();
    let output = status.arg("status").env("RUNTIME_DIRECTORY", folder(agent)).env("TERM", "xterm").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn folder(agent: &Agent) -> PathBuf {
    agent.config.path().parent().unwrap().to_owned()
}

/// The text as it stands on the screen.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    // Each sequence ends with an m (ECMA-48, SGR).
    first + &parts.map(|part| part.split_once('m').unwrap().1).collect::<String>()
}

fn assert_fits(screen: &str) {
    let widest = screen.lines().max_by_key(|line| line.chars().count()).unwrap_or_default();
    assert!(widest.chars().count() <= 80, "wider than 80 columns: {widest:?}");
    assert!(!screen.contains('\x1b'), "{screen:?}");
}

fn start(server: &Silent, idle_seconds: f64) -> Agent {
    let further = ["minecraft.min_connection_seconds = 0.3"];
    Agent::start(&settings(server.port, idle_seconds, &further), |command| {
        command.arg("--dry-run");
    })
}

#[test]
fn the_status_has_colours_on_a_terminal_and_nowhere_else() {
    let server = Silent::start();
    let agent = start(&server, 600.0);
    let _player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let screen = wait_until("the player is on the screen", || {
        Some(on_a_terminal(&agent, None)).filter(|screen| screen.contains("occupied"))
    });
    assert!(screen.starts_with(GREEN), "{screen:?}");
    assert_fits(&without_colours(&screen));
    // An empty NO_COLOR is none (no-color.org).
    assert!(on_a_terminal(&agent, Some("")).starts_with(GREEN));
    for plain in [on_a_terminal(&agent, Some("1")), in_a_pipe(&agent)] {
        assert!(plain.starts_with("occupied"), "{plain:?}");
        assert_fits(&plain);
    }
}

#[test]
fn a_long_reason_and_many_connections_fit_a_terminal() {
    let server = Silent::start();
    let agent = start(&server, 1.0);
    agent.notices.wait_for("READY=1");
    let reason = "a world of very many blocks is copied ".repeat(10);
    let mut hold = mc_idle();
    hold.args(["hold", "1d", "--reason", &reason]).env("RUNTIME_DIRECTORY", folder(&agent));
    assert!(hold.output().unwrap().status.success());
    let _callers = [(); 20].map(|()| TcpStream::connect(("127.0.0.1", server.port)).unwrap());
    let screen = wait_until("all are on the screen", || {
        let screen = without_colours(&on_a_terminal(&agent, None));
        Some(screen).filter(|screen| screen.matches("127.0.0.1:").count() == 20 && screen.contains("by mc-idle hold"))
    });
    assert_fits(&screen);
}
