//! Real Minecraft servers and players from npm (`tests/emulated_aws/*.js`), as processes that end with their test.

use std::process::Command;

use super::{Process, checkout, wait_until};

/// Starts `script` with `--port port` and `further` arguments.
pub fn node(script: &str, port: u16, further: &[&str]) -> Process {
    let script = checkout().join("tests/lab").join(script);
    Process::start(Command::new("node").arg(script).args(["--port", &port.to_string()]).args(further))
}

/// A server that listens.
pub struct Server {
    /// Where.
    pub port: u16,
    _process: Process,
}

impl Server {
    /// A Java server on `host`, or on all addresses, IPv4 and IPv6, without one.
    pub fn start(host: Option<&str>) -> Self {
        Self::ready(node("server.js", 0, &host.map_or(vec![], |host| vec!["--host", host])))
    }

    /// A Bedrock server on 127.0.0.1.
    pub fn bedrock(further: &[&str]) -> Self {
        Self::ready(node("bedrock.js", 0, further))
    }

    fn ready(process: Process) -> Self {
        // The server's own log speaks of listening too.
        let port = wait_until("the server listens", || {
            process.output().iter().find_map(|line| line.strip_prefix("listening ")?.parse().ok())
        });
        Server { port, _process: process }
    }
}

/// A player who is in the game.
pub fn join(server: &Server, host: &str, name: &str) -> Process {
    let bot = node("bot.js", server.port, &["--host", host, "--name", name]);
    bot.wait_for("spawned");
    bot
}

/// A Bedrock player whom the server has let in.
pub fn join_bedrock(server: &Server, name: &str) -> Process {
    let bot = node("bedrock_bot.js", server.port, &["--name", name]);
    bot.wait_for("joined");
    bot
}

/// Has a player of either edition leave.
pub fn leave(mut bot: Process) {
    bot.say("quit");
    bot.wait_for("left");
}
