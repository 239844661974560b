//! A real Minecraft server (flying-squid), real players (mineflayer) and real server list pings (mcstatus) on loopback.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::skip_unless;
use crate::support::agent::{Agent, settings};
use crate::support::emulated_aws::{self, EmulatedAws, states};
use crate::support::peers::{Server, join, leave};
use crate::support::{checkout, wait_until};

/// So short that a bot is a player at once.
const AT_ONCE: &str = "minecraft.min_connection_seconds = 1";

fn ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

fn dry_run(text: &str) -> Agent {
    Agent::start(text, |command| {
        command.arg("--dry-run");
    })
}

const STOP: &str = "EC2 would be asked to stop this instance now.";

/// Gives it a window of 5 s from now on: no bot is too slow for the long one that it had before.
fn shorten(agent: &Agent, port: u16) {
    agent.config.write(&settings(port, 5.0, &[AT_ONCE]));
    agent.process.signal(Signal::HUP);
    agent.process.wait_for("Configuration reloaded");
}

/// One player from `from` on a server on `host` is one player, and holds the stop off for longer than the window.
fn assert_counted_once(host: Option<&str>, from: &str) {
    let server = Server::start(host);
    let agent = dry_run(&settings(server.port, 600.0, &[AT_ONCE]));
    let bot = join(&server, from, "steve");
    let said = format!("1 player is on port {}.", server.port);
    agent.process.wait_for(&said);
    shorten(&agent, server.port);
    thread::sleep(Duration::from_secs(8));
    assert_eq!(agent.notices.status(), format!("{said} Dry run: no requests to AWS."));
    let statuses = agent.notices.statuses();
    assert!(!statuses.iter().any(|status| status.contains("players are on")), "{statuses:#?}");
    assert!(!agent.process.output().iter().any(|line| line.contains(STOP)), "{:#?}", agent.process.output());

    let so_far = agent.process.output().len();
    leave(bot);
    agent.process.wait_for_after(so_far, &format!("No players on port {}", server.port));
    agent.process.wait_for_after(so_far, STOP);
}

#[test]
fn a_player_over_ipv4_on_an_ipv4_server_counts_once() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    assert_counted_once(Some("127.0.0.1"), "127.0.0.1");
}

#[test]
fn a_player_over_ipv6_counts_once() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    skip_unless!(ipv6(), "IPv6 on loopback");
    assert_counted_once(Some("::1"), "::1");
}

#[test]
fn a_player_over_ipv4_on_a_server_for_both_counts_once() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    skip_unless!(ipv6(), "IPv6 on loopback");
    assert_counted_once(None, "127.0.0.1");
}

#[test]
fn an_evening_of_two_players_is_told_in_heartbeats_and_ends_with_the_stop() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    skip_unless!(ipv6(), "IPv6 on loopback");
    let (emulated_aws, server) = (EmulatedAws::start(), Server::start(None));
    let agent = Agent::start(&settings(server.port, 600.0, &[AT_ONCE]), |command| emulated_aws.attach(command));
    let players = |count: u64| {
        wait_until(&format!("the heartbeat tells of {count} players"), || {
            emulated_aws.heartbeats().pop().filter(|heartbeat| heartbeat["players"] == count)
        })
    };
    players(0);
    let steve = join(&server, "127.0.0.1", "steve");
    players(1);
    let alex = join(&server, "::1", "alex");
    players(2);
    shorten(&agent, server.port);
    leave(steve);
    players(1);
    assert!(emulated_aws.stops().is_empty());
    leave(alex);
    agent.process.wait_for("EC2 accepted the stop");
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (1, "stopped"));
    assert_eq!(states(&emulated_aws.heartbeats()), ["starting", "idle", "occupied", "idle", "stopping"]);
}

/// Asks for the server's status as a player's client does that shows its list of servers.
fn ping(server: &Server, host: &str) {
    let ping = Command::new(emulated_aws::python())
        .arg(checkout().join("tests/lab/ping.py"))
        .args([host, &server.port.to_string()])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&ping.stdout).trim(), "0/10", "{}", String::from_utf8_lossy(&ping.stderr));
}

#[test]
fn pings_and_a_silent_connection_never_turn_the_clock_back_and_the_stop_comes_once_they_are_gone() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Server::start(None);
    let agent = dry_run(&settings(server.port, 12.0, &[]));
    agent.notices.wait_for_countdown(12);
    // Scanners hold a connection like this for up to 30 s; a connection counts after 70 s.
    let silent = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut pings = 0;
    while agent.notices.countdown().last() > Some(&2) {
        ping(&server, "127.0.0.1");
        pings += 1;
        thread::sleep(Duration::from_millis(300));
    }
    assert!(pings >= 1, "{pings} pings");
    let joining = format!("somebody may be joining on port {}", server.port);
    agent.process.wait_for(&format!("The idle window of 12 s is over, but {joining}"));
    thread::sleep(Duration::from_secs(2));
    assert!(agent.notices.status().contains(&joining), "{}", agent.notices.status());

    let countdown = agent.notices.countdown();
    assert!(countdown.len() >= 10 && countdown.is_sorted_by(|before, after| before >= after), "{countdown:?}");
    let statuses = agent.notices.statuses();
    assert!(statuses.iter().any(|status| status.contains("too young to count")), "{statuses:#?}");
    assert!(!statuses.iter().any(|status| status.contains("player is on")), "{statuses:#?}");

    drop(silent);
    agent.process.wait_for(STOP);
}
