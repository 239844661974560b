//! The program, and players who come to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::stand_ins::{BROKER_KEY, Launcher, SessionServer};
use crate::support::peers::node;
use crate::support::{Config, Process, emulated_aws, without_aws};

/// A broker that listens.
pub(crate) struct Broker {
    pub process: Process,
    pub port: u16,
    _config: Config,
}

/// The program with no settings of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mc-broker"));
    without_aws(&mut command);
    command
}

/// A configuration for this launcher and this session server, and these further lines.
pub(crate) fn config(launcher: &Launcher, sessions: &SessionServer, further: &str) -> Config {
    let config = Config::new("");
    let key = key_file(&config);
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nlauncher.url = \"http://127.0.0.1:{}\"\nlauncher.key_file = \"{}\"\n\
         auth_url = \"{}\"\n{further}\n",
        launcher.port,
        key.display(),
        sessions.url(),
    );
    config.write(&text);
    config
}

/// A file with the key beside `config`, which only its owner can read.
pub(crate) fn key_file(config: &Config) -> PathBuf {
    let path = config.path().with_file_name("broker-key");
    fs::write(&path, BROKER_KEY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

impl Broker {
    /// One that asks `launcher` and `sessions`, with these further lines of configuration.
    pub(crate) fn start(launcher: &Launcher, sessions: &SessionServer, further: &str) -> Self {
        Broker::start_with(config(launcher, sessions, further))
    }

    pub(crate) fn start_with(config: Config) -> Self {
        Broker::start_as(config, program())
    }

    /// The same by a command that has what the environment is to have.
    pub(crate) fn start_as(config: Config, mut command: Command) -> Self {
        let process = Process::start(command.arg("run").arg("--config").arg(config.path()));
        let line = process.wait_for(" listens at ");
        let port = line.rsplit_once(':').unwrap().1.trim_end_matches('.').parse().unwrap();
        Broker { process, port, _config: config }
    }

    /// A player from npm who joins with this version of the game, and has an account at `sessions` if there is one.
    pub(crate) fn join(&self, name: &str, version: &str, sessions: Option<&SessionServer>) -> Process {
        let mut further = vec!["--name", name, "--version", version];
        let url = sessions.map(SessionServer::url);
        if let Some(url) = &url {
            further.extend(["--session", url]);
        }
        node("broker_client.js", self.port, &further)
    }
}

/// Whether there are players and servers from npm, and what is missing if not.
pub(crate) const PEERS: &str = emulated_aws::NEEDS;

pub(crate) fn peers() -> bool {
    emulated_aws::installed()
}

/// A server from npm for every version; where it listens.
pub(crate) struct GameServer {
    pub process: Process,
    pub port: u16,
}

impl GameServer {
    pub(crate) fn start(further: &[&str]) -> Self {
        let process = node("any_server.js", 0, further);
        let port = process.wait_for("listening ").rsplit_once(' ').unwrap().1.parse().unwrap();
        GameServer { process, port }
    }
}
