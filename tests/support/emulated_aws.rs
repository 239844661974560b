//! AWS on loopback: `tests/emulated_aws/aws.py`, which says what can be asked of it, as a process that ends with its test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Process, checkout};

/// What a test lacks when [`installed`] says no.
pub const NEEDS: &str = "the lab; run tests/lab/setup.sh";

/// The lab's own Python.
pub fn python() -> PathBuf {
    checkout().join("target/lab/venv/bin/python")
}

/// Whether the lab's programs are there.
pub fn installed() -> bool {
    python().exists() && checkout().join("target/lab/node_modules").exists()
}

/// A running AWS with one running instance.
pub struct EmulatedAws {
    _process: Process,
    address: String,
    /// The same by TLS, if that was asked for.
    pub tls_endpoint: Option<String>,
    /// The id of the instance.
    pub instance_id: String,
}

/// A call that reached EC2 or SSM.
#[derive(Debug, Clone, Deserialize)]
pub struct Call {
    /// When, in seconds since 1970.
    pub at: f64,
    /// What was asked for.
    pub action: String,
    /// With what.
    pub params: Map<String, Value>,
    /// By whom.
    pub access_key: String,
    /// What was answered; `None` when nothing was.
    pub status: Option<u16>,
    /// The fault that it met.
    pub injected: Option<String>,
}

impl Call {
    /// Whether it would end the instance and is not just a question.
    pub fn is_real(&self) -> bool {
        ["StopInstances", "TerminateInstances"].contains(&self.action.as_str()) && !self.params.contains_key("DryRun")
    }
}

impl EmulatedAws {
    /// Starts one.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_by(&mut Command::new(python()), arguments)
    }

    /// Starts one in the network of the process `pid`, where alone it can be asked anything.
    pub fn start_beside(pid: &str) -> Self {
        Self::start_by(Command::new("nsenter").args(["-t", pid, "-n"]).arg(python()), &[])
    }

    fn start_by(python: &mut Command, arguments: &[&str]) -> Self {
        #[derive(Deserialize)]
        struct Ready {
            endpoint: String,
            instance_id: String,
            tls_endpoint: Option<String>,
        }
        let process = Process::start(python.arg(checkout().join("tests/lab/aws.py")).args(arguments));
        let ready: Ready = serde_json::from_str(&process.wait_for("instance_id")).unwrap();
        let address = ready.endpoint.strip_prefix("http://").unwrap().to_owned();
        EmulatedAws { _process: process, address, tls_endpoint: ready.tls_endpoint, instance_id: ready.instance_id }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Its port for TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls_endpoint.as_ref().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Makes `command` take this for AWS. Its credentials are those of the instance's role.
    pub fn attach(&self, command: &mut Command) {
        let url = self.url();
        command.env("AWS_ENDPOINT_URL", &url).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.ask("GET", "calls", "")
    }

    /// The calls that would end the instance, without the questions whether they would.
    pub fn stops(&self) -> Vec<Call> {
        self.calls().into_iter().filter(Call::is_real).collect()
    }

    /// The state of the instance.
    pub fn state(&self) -> String {
        let state: Value = self.ask("GET", "state", "");
        state["state"].as_str().unwrap().to_owned()
    }

    /// The heartbeats of the instance, oldest first.
    pub fn heartbeats(&self) -> Vec<Value> {
        self.parameter(&format!("/mc-idle/{}/heartbeat", self.instance_id))
    }

    /// All values that were written to a parameter, oldest first.
    pub fn parameter(&self, name: &str) -> Vec<Value> {
        self.ask("GET", &format!("heartbeats?name={name}"), "")
    }

    /// Sets the parameter `name`; null deletes it.
    pub fn set_parameter(&self, name: &str, value: &Value) {
        let _: Value = self.ask("POST", "parameter", &serde_json::json!({"name": name, "value": value}).to_string());
    }

    /// Has instance metadata answer `value` below `meta-data/`; null: not found.
    pub fn metadata(&self, path: &str, value: &Value) {
        let _: Value = self.ask("POST", "metadata", &serde_json::json!({"path": path, "value": value}).to_string());
    }

    /// Sets AWS's clock ahead of this machine's.
    pub fn clock_ahead(&self, seconds: i64) {
        let _: Value = self.ask("POST", "clock", &serde_json::json!({"ahead_seconds": seconds}).to_string());
    }

    /// Puts `rules` in the place of all fault rules.
    pub fn faults(&self, rules: &Value) {
        let _: Value = self.ask("POST", "faults", &rules.to_string());
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, page: &str, body: &str) -> T {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        // In HTTP 1.0 the end of the connection is the end of the answer.
        write!(stream, "{method} /lab/{page} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{page}: {answer}");
        serde_json::from_str(content).unwrap()
    }
}

/// A rule that makes the role what it should be: it may stop no other instance. moto lets every dry run pass.
pub fn narrow_role() -> Value {
    serde_json::json!({"instance_id": "i-00000000000000000", "code": "UnauthorizedOperation"})
}

/// The states that `heartbeats` went through.
pub fn states(heartbeats: &[Value]) -> Vec<&str> {
    let mut states: Vec<&str> = heartbeats.iter().map(|heartbeat| heartbeat["state"].as_str().unwrap()).collect();
    states.dedup();
    states
}
