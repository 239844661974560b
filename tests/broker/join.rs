//! Friends who join.

use std::time::Instant;

use crate::broker::{Broker, GameServer, PEERS, peers};
use crate::skip_unless;
use crate::stand_ins::{Launcher, SessionServer, status};
use crate::support::{Process, wait_until};
use crate::wire::Client;

#[test]
fn ten_friends_at_once_share_one_start_and_are_all_handed_over() {
    skip_unless!(peers(), PEERS);
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let game = GameServer::start(&[]);
    let broker = Broker::start(&launcher, &sessions, "");
    let friends: Vec<Process> =
        (0..10).map(|number| broker.join(&format!("friend{number}"), "1.21.11", Some(&sessions))).collect();
    for friend in &friends {
        friend.wait_for("alive");
    }
    let starts = launcher.starts();
    assert!(starts.iter().all(|name| *name == starts[0]), "in the name of one of them: {starts:?}");
    broker.process.wait_for("joins: the server is started.");
    assert_eq!(broker.process.output().iter().filter(|line| line.contains("joins: the server is started.")).count(), 1);
    launcher.set(status("up", Some(("127.0.0.1", game.port))));
    for friend in &friends {
        friend.wait_for(&format!("in game {}", game.port));
    }
}

#[test]
fn the_list_shows_what_is_and_the_servers_own_answer_once_it_is_up() {
    skip_unless!(peers(), PEERS);
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let game = GameServer::start(&["--motd", "the server itself"]);
    let broker = Broker::start(&launcher, &sessions, "motd.asleep = \"zzz\"\nmotd.up = \"there\"");
    let text = |status: &serde_json::Value| {
        status["description"].as_str().or(status["description"]["text"].as_str()).unwrap().to_owned()
    };
    for protocol in [47, 340, 754, 774, 777] {
        let status = wait_until("it has heard", || {
            Some(Client::connect(broker.port, protocol).status()).filter(|status| text(status) == "zzz")
        });
        assert_eq!(status["version"]["protocol"], protocol, "else the list says that the server is outdated");
    }
    let mut up = status("up", Some(("127.0.0.1", game.port)));
    (up["players"], up["stop_at"]) = (0.into(), "2026-11-30T06:00:10Z".into());
    launcher.set(up.clone());
    wait_until("it is up", || (text(&Client::connect(broker.port, 774).status()) == "there").then_some(()));
    assert!(!game.process.output().iter().any(|line| line == "pinged"), "a stop is near, and a ping would put it off");
    up["players"] = 2.into();
    launcher.set(up);
    let since = Instant::now();
    wait_until("its own words", || {
        let status = Client::connect(broker.port, 774).status();
        (text(&status) == "the server itself").then_some(())
    });
    for _ in 0..20 {
        Client::connect(broker.port, 774).status();
    }
    let pings = game.process.output().iter().filter(|line| *line == "pinged").count();
    let most = 1 + usize::try_from(since.elapsed().as_secs() / 30).unwrap();
    assert!((1..=most).contains(&pings), "at most every 30 s: {pings} in {:?}", since.elapsed());
    assert!(launcher.starts().is_empty());
}
