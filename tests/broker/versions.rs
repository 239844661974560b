//! Every version of the game: held, and handed over, or told what is promised.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::broker::{Broker, GameServer, PEERS, peers};
use crate::skip_unless;
use crate::stand_ins::{Launcher, SessionServer, Start, status};
use crate::support::{Process, checkout, wait_until};
use crate::wire::held;

/// Longer than any client waits in silence.
const HOLD: Duration = Duration::from_secs(45);

/// From PyPI: an independent and strict decoder of the newest versions.
const AMP: [&str; 2] = ["26.1", "26.2"];
const BRIEF: [&str; 2] = ["1.8.8", "1.12.2"];
const TOLD: [&str; 7] = ["1.13.2", "1.16.5", "1.18.2", "1.19", "1.19.2", "1.20.1", "1.20.4"];
const HANDED_OVER: [&str; 8] = ["1.20.6", "1.21.1", "1.21.3", "1.21.4", "1.21.5", "1.21.8", "1.21.11", "26.1"];

fn name(version: &str) -> String {
    format!("v{}", version.replace('.', "_"))
}

fn amp(broker: &Broker, version: &str, sessions: &str) -> Process {
    let python = checkout().join("target/lab/venv/bin/python");
    let mut command = Command::new(python);
    command.arg(checkout().join("tests/lab/broker_amp.py")).args(["--port", &broker.port.to_string()]);
    Process::start(command.args([
        "--name",
        &name(version).replace('v', "a"),
        "--version",
        version,
        "--session",
        sessions,
    ]))
}

#[test]
fn every_version_sees_a_status_is_held_for_45_s_and_then_is_in_the_game_or_is_told_where_it_is() {
    skip_unless!(peers(), PEERS);
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    launcher.answer_starts(Start::Accept(json!({"state": "starting", "address": "play.example.org", "port": 25565})));
    let game = GameServer::start(&[]);
    let broker = Broker::start(&launcher, &sessions, "");
    let join = |version: &&'static str| (*version, broker.join(&name(version), version, Some(&sessions)));
    let brief: Vec<_> = BRIEF.iter().map(join).collect();
    for (version, mut player) in brief {
        let text = player.wait_for("told ");
        assert!(text.contains("Join play.example.org again in two or three minutes."), "{version}: {text}");
        assert_eq!(player.wait().code(), Some(1));
    }
    let told: Vec<(&str, Process)> = TOLD.iter().map(join).collect();
    let handed_over: Vec<(&str, Process)> = HANDED_OVER.iter().map(join).collect();
    for (_, player) in &told {
        player.wait_for("asked");
    }
    let url = sessions.url();
    let amp: Vec<(&str, Process)> = AMP.iter().map(|version| (*version, amp(&broker, version, &url))).collect();
    for (_, player) in handed_over.iter().chain(&amp) {
        player.wait_for("alive");
    }
    std::thread::sleep(HOLD);
    for (version, player) in told.iter().chain(&handed_over) {
        assert!(
            !player.output().iter().any(|line| line.starts_with("told") || line.contains("broke off")),
            "{version}"
        );
    }
    launcher.set(status("up", Some(("127.0.0.1", game.port))));
    for (version, player) in &handed_over {
        player.wait_for(&format!("handed over 127.0.0.1 {}", game.port));
        player.wait_for(&format!("in game {}", game.port));
        game.process.wait_for(&format!("joined {} ", name(version)));
    }
    for (version, mut player) in amp {
        player.wait_for("handed over");
        assert_eq!(player.wait().code(), Some(0), "{version}");
    }
    for (version, mut player) in told {
        let text = player.wait_for("told ");
        assert!(
            text.ends_with(&format!("The server is up. Join it directly at 127.0.0.1:{}", game.port)),
            "{version}: {text}"
        );
        assert_eq!(player.wait().code(), Some(1));
    }
    // Whoever comes now need not be authenticated: the server does that itself.
    let asked = sessions.asked();
    let late = broker.join("late", "1.21.11", None);
    late.wait_for(&format!("in game {}", game.port));
    let old = broker.join("old", "1.16.5", None);
    old.wait_for("Join it directly at");
    assert_eq!(sessions.asked(), asked);
    assert!(launcher.starts().iter().all(|name| name.starts_with(['a', 'v'])));
}

#[test]
fn the_newest_versions_that_no_client_of_others_speaks_are_handed_over_by_the_bytes_of_the_table() {
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let game = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = game.local_addr().unwrap().port();
    crate::outcomes::answers(game);
    let broker = Broker::start(&launcher, &sessions, "protocol.778.like = 776");
    let mut players: Vec<_> = (766..=778).map(|protocol| held(broker.port, protocol, "alex", &sessions)).collect();
    wait_until("a start", || (!launcher.starts().is_empty()).then_some(()));
    launcher.set(status("up", Some(("127.0.0.1", port))));
    for player in &mut players {
        assert_eq!(player.transferred(), ("127.0.0.1".to_owned(), u32::from(port)));
        assert!(player.is_closed());
    }
}
