//! The agent with a supervisor, beside a server that nobody plays on.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use super::notify::WATCHDOG;
use super::{Config, Notices, Process, run};

/// A server that accepts every connection, holds it and never says a word: to the agent it is a Minecraft server like
/// any other, and to a client of AWS one that hangs. It stays until the test's process ends.
pub struct Silent {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Silent {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                held.push(stream);
                counter.store(held.len(), Ordering::Relaxed);
            }
        });
        Silent { port, accepted }
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Its address for a client of AWS.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Settings with quick samples for a server on `port`, and no EFS. Each further setting is a line of its own.
pub fn settings(port: u16, idle_seconds: f64, further: &[&str]) -> String {
    let idle_minutes = idle_seconds / 60.0;
    let sample =
        if further.iter().any(|line| line.starts_with("sample_seconds")) { "" } else { "sample_seconds = 0.3" };
    format!(
        "idle_minutes = {idle_minutes}\n{sample}\nminecraft.ports = [{port}]\nefs.mount_point = \"\"\n{}\n",
        further.join("\n")
    )
}

/// The running agent.
pub struct Agent {
    /// Its process; what it tells the journal comes out here.
    pub process: Process,
    /// What it tells its supervisor.
    pub notices: Notices,
    /// Its configuration, for a reload.
    pub config: Config,
}

impl Agent {
    /// Starts it with the configuration `text`. `prepare` may add to the command: arguments, and where AWS is.
    pub fn start(text: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let (config, notices) = (Config::new(text), Notices::listen());
        let mut command = run(&config);
        // Not the one of an agent that this machine may really have.
        command.env("RUNTIME_DIRECTORY", config.path().parent().unwrap());
        command.env("NOTIFY_SOCKET", notices.socket()).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        prepare(&mut command);
        Agent { process: Process::start(&mut command), notices, config }
    }

    /// Asks it to end, as systemd does, and waits until it has.
    pub fn end(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait()
    }
}
