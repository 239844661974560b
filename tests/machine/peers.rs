//! The lab in the network of a container: an emulated AWS, a Minecraft server, players and others who connect, each from an
//! address of its own. They run on this machine and end with their test; what they do is described in `tests/peers`.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use super::container::{Machine, PATIENCE};
use super::{checkout, say};

/// Where the agent in the container finds AWS.
const AWS_PORT: u16 = 8099;
/// The port of the game.
pub(crate) const PORT: u16 = 25565;

/// Who connects, and from where (addresses for documentation, RFC 5737). Each finds the server under an address of its own,
/// for which the kernel gives it the source address that it is to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The server's address as it sees it.
    pub(crate) to: &'static str,
    /// Its own.
    pub(crate) from: &'static str,
}

pub(crate) const PLAYER: Caller = Caller { to: "10.0.0.1", from: "198.51.100.23" };
pub(crate) const SCANNER: Caller = Caller { to: "10.0.0.2", from: "203.0.113.66" };
pub(crate) const OPERATOR: Caller = Caller { to: "10.0.0.3", from: "192.0.2.10" };

/// True when the lab is installed. Otherwise the test is skipped with one line; in CI that is a failure.
pub(crate) fn installed() -> bool {
    let there = python().is_file() && checkout().join("target/lab/node_modules").is_dir();
    let line = "skipped: needs the lab (tests/lab/setup.sh builds it)";
    assert!(there || std::env::var_os("CI").is_none(), "{line} (CI is set, so nothing may be skipped)");
    if !there {
        say(line);
    }
    there
}

fn python() -> PathBuf {
    checkout().join("target/lab/venv/bin/python")
}

/// A program that is killed when the test lets go of it.
pub(crate) struct Program {
    child: Child,
    /// Closed, it means the end to the lab's programs.
    _stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // Nobody listens any more when the test has ended.
                let _ = sender.send(line);
            }
        });
        let stdin = child.stdin.take();
        Program { child, _stdin: stdin, lines }
    }

    /// Waits for a line that contains `text`.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {text:?} came"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The emulated AWS.
pub(crate) struct Aws<'a> {
    machine: &'a Machine,
    _program: Program,
    /// The instance that it knows.
    pub(crate) instance_id: String,
}

impl Aws<'_> {
    fn post(&self, page: &str, body: &Value) {
        self.machine.write("/run/aws/body", &body.to_string());
        self.machine.ok(&format!(
            "busybox wget -q -O /dev/null --post-file=/run/aws/body http://127.0.0.1:{AWS_PORT}/lab/{page}"
        ));
    }

    /// Puts `rules` in the place of all fault rules, but for what a role answers that may stop its own instance only.
    pub(crate) fn faults(&self, rules: &[Value]) {
        let narrow =
            json!({"action": "StopInstances", "instance_id": "i-00000000000000000", "code": "UnauthorizedOperation"});
        let rules: Vec<&Value> = [&narrow].into_iter().chain(rules).collect();
        self.post("faults", &json!(rules));
    }

    /// Sets a parameter; null deletes it.
    pub(crate) fn set_parameter(&self, name: &str, value: &Value) {
        self.post("parameter", &json!({"name": name, "value": value}));
    }

    /// When each stop was asked for, in seconds since 1970; the question whether it would be allowed is none.
    pub(crate) fn stops(&self) -> Vec<f64> {
        let page = format!("http://127.0.0.1:{AWS_PORT}/lab/calls?action=StopInstances");
        let calls = self.machine.ok(&format!("busybox wget -q -O - '{page}'"));
        let calls: Vec<Value> = serde_json::from_str(&calls).expect("the lab answers in JSON");
        calls
            .iter()
            .filter(|call| call["params"].get("DryRun").is_none())
            .filter_map(|call| call["at"].as_f64())
            .collect()
    }
}

impl Machine {
    /// Starts an AWS, and tells the service where it is.
    pub(crate) fn aws(&self) -> Aws<'_> {
        let script = checkout().join("tests/lab/aws.py");
        let program = Program::start(self.in_its_network(python()).arg(script).args(["--port", &AWS_PORT.to_string()]));
        let ready: Value = serde_json::from_str(&program.wait_for("instance_id")).expect("the lab speaks JSON");
        let url = format!("http://127.0.0.1:{AWS_PORT}");
        self.write("/etc/default/mc-idle", &format!("AWS_ENDPOINT_URL={url}\nAWS_EC2_METADATA_SERVICE_ENDPOINT={url}"));
        let instance_id = ready["instance_id"].as_str().expect("an id").to_owned();
        let aws = Aws { machine: self, _program: program, instance_id };
        aws.faults(&[]);
        aws
    }

    /// Gives each caller its address.
    pub(crate) fn addresses(&self) {
        for Caller { to, from } in [PLAYER, SCANNER, OPERATOR] {
            self.ok(&format!(
                "ip address replace {from}/32 dev lo && ip route replace table local local {to} dev lo src {from}"
            ));
        }
    }

    /// A real Minecraft server, which listens when this returns.
    pub(crate) fn minecraft(&self) -> Program {
        let script = checkout().join("tests/lab/server.js");
        let server = Program::start(self.in_its_network("node").arg(script).args(["--port", &PORT.to_string()]));
        server.wait_for("listening");
        server
    }

    /// A real player, who is in the game when this returns.
    pub(crate) fn bot(&self, caller: Caller) -> Program {
        let script = checkout().join("tests/lab/bot.js");
        let arguments = ["--host", caller.to, "--port", &PORT.to_string()].map(str::to_owned);
        let bot = Program::start(self.in_its_network("node").arg(script).args(arguments));
        bot.wait_for("spawned");
        bot
    }
}
