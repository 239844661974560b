//! `mc-launcher serve` as a process, and a client of it.

use std::fmt::Write;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::stand_in::{SERVER, StandIn};
use crate::support::{self, Process, without_aws};

pub(crate) const KEY: &str = "correct-horse-battery";
pub(crate) const BROKER_KEY: &str = "broker-key-0123456789";
/// A player.
pub(crate) const ALEX: &str = r#"{"by": "Alex", "uuid": "ec561538-f3fd-461d-aff5-086b22154bce"}"#;
/// So seldom that a test sees one look of the warden, at the beginning.
pub(crate) const SELDOM: f64 = 1440.0;
/// The warden looks twice a second... almost: a second is the least.
pub(crate) const OFTEN: f64 = 0.017;

/// The launcher's program with its settings, and AWS at `endpoint`.
pub(crate) fn program(endpoint: &str, settings: &[(&str, &str)]) -> Command {
    // Another build of it may be tried, and by an emulator: `MC_LAUNCHER="qemu-aarch64 -L /usr/aarch64-linux-gnu FILE"`.
    let words = std::env::var("MC_LAUNCHER").unwrap_or_else(|_| support::program("mc-launcher").display().to_string());
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    without_aws(&mut command);
    command.env("MC_SERVER", SERVER).env("AWS_REGION", "eu-central-1").env("AWS_ENDPOINT_URL", endpoint);
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret-of-the-test");
    command.envs(settings.iter().copied());
    command
}

/// A launcher that listens.
pub(crate) struct Launcher {
    pub process: Process,
    pub port: u16,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The cookie that it sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Launcher {
    /// One that has `stand_in` for AWS, and whose warden looks every so many minutes.
    pub(crate) fn start(stand_in: &StandIn, every_minutes: f64, settings: &[(&str, &str)]) -> Self {
        Launcher::start_at(&stand_in.url(), every_minutes, settings)
    }

    pub(crate) fn start_at(endpoint: &str, every_minutes: f64, settings: &[(&str, &str)]) -> Self {
        let mut command = program(endpoint, settings);
        command.args(["serve", "--listen", "127.0.0.1:0", "--every-minutes", &every_minutes.to_string()]);
        let process = Process::start(&mut command);
        let line = process.wait_for("listens on http://127.0.0.1:");
        let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
        Launcher { process, port }
    }

    /// Sends `request` as it is and returns what comes back, if it is HTTP.
    pub(crate) fn raw(&self, request: &[u8]) -> Option<Answer> {
        exchange(self.port, request)
    }

    /// A request with these further headers.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n", self.port);
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        if !body.is_empty() || method == "POST" {
            write!(request, "content-length: {}\r\n", body.len()).unwrap();
        }
        self.raw(format!("{request}\r\n{body}").as_bytes()).unwrap()
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, "")
    }

    /// A start with the key.
    pub(crate) fn press(&self) -> Answer {
        self.send("POST", "/start", &[("authorization", &format!("Bearer {KEY}"))], "")
    }

    /// A start by the broker, for a player.
    pub(crate) fn press_by(&self, player: &str) -> Answer {
        self.send("POST", "/start", &[("authorization", &format!("Bearer {BROKER_KEY}"))], player)
    }

    /// The status for somebody with the key.
    pub(crate) fn status(&self) -> Value {
        self.get("/status", &[("authorization", &format!("Bearer {KEY}"))]).json()
    }

    /// The page's own origin.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn exchange(port: u16, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The other side may have enough before everything is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
