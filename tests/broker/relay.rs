//! `relay = true`: the game data of those who cannot be handed over.

use crate::broker::{Broker, GameServer, PEERS, peers};
use crate::skip_unless;
use crate::stand_ins::{Launcher, SessionServer, status};
use crate::support::wait_until;

const RELAYED: [&str; 2] = ["1.16.5", "1.20.4"];

#[test]
fn older_versions_are_in_the_game_through_the_broker_and_newer_ones_are_handed_over() {
    skip_unless!(peers(), PEERS);
    let game = GameServer::start(&[]);
    let up = status("up", Some(("127.0.0.1", game.port)));
    let (launcher, sessions) = (Launcher::start(up.clone()), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, "relay = true");
    for version in RELAYED {
        let player = broker.join("relayed", version, None);
        player.wait_for(&format!("in game {}", broker.port));
    }
    let newer = broker.join("newer", "1.21.11", None);
    newer.wait_for(&format!("in game {}", game.port));
    // Asleep: whoever has an account starts it, and comes again.
    launcher.set(status("asleep", None));
    wait_until("it is seen", || {
        broker.process.output().iter().any(|line| line.ends_with("The server is asleep.")).then_some(())
    });
    let mut sleeper = broker.join("sleeper", "1.16.5", Some(&sessions));
    sleeper.wait_for("asked");
    launcher.set(up);
    sleeper.wait_for("told The server is up. Join it directly at");
    sleeper.wait();
    let again = broker.join("sleeper", "1.16.5", None);
    again.wait_for(&format!("in game {}", broker.port));
}

#[test]
fn without_authentication_older_versions_are_held_and_then_relayed_with_their_address() {
    skip_unless!(peers(), PEERS);
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let game = GameServer::start(&["--proxy-header", "true"]);
    let further = "relay = true\nrelay_proxy_header = true\nauth = \"none\"\nallow_networks = [\"127.0.0.0/8\"]";
    let broker = Broker::start(&launcher, &sessions, further);
    let players: Vec<_> =
        RELAYED.iter().map(|version| broker.join(&format!("v{}", version.len()), version, None)).collect();
    for player in &players {
        player.wait_for("asked");
    }
    // What answers pings beside a server that wants a header: pings have none.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap().port();
    crate::outcomes::in_front_of(listener, game.port);
    launcher.set(status("up", Some(("127.0.0.1", front))));
    for player in &players {
        player.wait_for(&format!("in game {}", broker.port));
    }
    game.process.wait_for("client 127.0.0.1");
    assert_eq!(sessions.asked(), 0);
}
