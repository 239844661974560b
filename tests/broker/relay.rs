//! `relay = true`: the game data of those who cannot be handed over.

use crate::broker::{Broker, GameServer, PEERS, peers};
use crate::skip_unless;
use crate::stand_ins::{Launcher, SessionServer, status};
use crate::support::wait_until;
use crate::wire::{Client, handshake, login_start};

const RELAYED: [&str; 2] = ["1.16.5", "1.20.4"];

#[test]
fn older_versions_are_in_the_game_through_the_broker_and_newer_ones_are_handed_over() {
    skip_unless!(peers(), PEERS);
    let game = GameServer::start(&[]);
    // Its first answer may take longer than the broker waits for one.
    drop(Client::connect(game.port, 774).status());
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
    // It wants a header of everybody, of whoever pings it as well.
    launcher.set(status("up", Some(("127.0.0.1", game.port))));
    for player in &players {
        player.wait_for(&format!("in game {}", broker.port));
    }
    // Whoever would come without one is not sent there.
    let mut newer = Client::connect(broker.port, 774);
    newer.log_in("newer");
    newer.succeed("newer");
    assert_eq!(newer.packet().unwrap()[0], 4, "a keep-alive: he is held");
    game.process.wait_for("client 127.0.0.1");
    assert_eq!(sessions.asked(), 0);
}

/// Five minutes in which players come, push data both ways, and go. Not in every run: `cargo test --workspace --test broker --
/// --ignored`.
#[test]
#[ignore = "takes five minutes"]
fn five_minutes_of_relayed_players_leave_nothing_behind() {
    use std::io::{Read, Write};
    const MINUTES: u64 = 5;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It answers pings, and sends everything else back.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut piece = vec![0; 16 * 1024];
                let mut is_ping = None;
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    let ping = *is_ping.get_or_insert_with(|| piece[..length].ends_with(&[1, 1, 0]));
                    let answer = mc_broker_core::protocol::status::response(r#"{"players":{"max":1,"online":0}}"#);
                    let sent = stream.write_all(if ping { &answer } else { &piece[..length] });
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let (launcher, sessions) = (Launcher::start(status("up", Some(("127.0.0.1", port)))), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, "relay = true");
    let evening = |seconds: u64, first: u8| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        let mut number = 0_u32;
        while std::time::Instant::now() < until {
            number += 1;
            // Thirty logins a minute are an address's share.
            let [.., b, c] = number.to_be_bytes();
            let from = std::net::Ipv4Addr::new(127, first, b, c.max(1));
            let mut player = Client::connect_from(from, broker.port, 754).unwrap();
            player.log_in("alex");
            // What was replayed comes back first: a client says nothing more until the server has answered.
            let mut replayed = [handshake(754, 2), login_start(754, "alex")].concat();
            player.stream.read_exact(&mut replayed).unwrap();
            let (mut writer, mut back) = (player.stream.try_clone().unwrap(), vec![0; 64 * 1024]);
            let sending = std::thread::spawn(move || writer.write_all(&vec![7; 64 * 1024]).unwrap());
            player.stream.read_exact(&mut back).unwrap();
            sending.join().unwrap();
        }
        number
    };
    let players = evening(60, 20);
    let before = (crate::limits::resident(&broker), crate::limits::descriptors(&broker));
    let players = players + evening(60 * (MINUTES - 1), 21);
    let after = (crate::limits::resident(&broker), crate::limits::descriptors(&broker));
    println!("{players} players; {before:?} KiB and descriptors after a minute, {after:?} after {MINUTES}");
    assert!(after.0 < before.0 + 1024 && after.1 < before.1 + 16, "{before:?} and {after:?}");
}
