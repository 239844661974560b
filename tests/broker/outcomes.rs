//! Everything that can come of a join, and what the player reads. Over 400 lines: the tests share one set of helpers.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::thread;

use mc_broker_core::protocol::login::disconnect;
use mc_broker_core::protocol::status::response;
use mc_broker_core::wire::frame::Frames;
use serde_json::{Value, json};

use crate::broker::Broker;
use crate::stand_ins::{Launcher, Mood, SessionServer, Start, status};
use crate::support::{ports, wait_until};
use crate::wire::{Client, a_while, held};

/// Has `listener` answer status pings like a server on which nobody is, for as long as the test's process lives. Each thing
/// that it is sent beside is dropped.
pub(crate) fn answers(listener: TcpListener) {
    answers_with(listener, json!({"version": {"name": "x", "protocol": 774}, "players": {"max": 20, "online": 0}}));
}

pub(crate) fn answers_with(listener: TcpListener, words: Value) {
    use std::io::{Read, Write};
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let words = words.to_string();
            thread::spawn(move || {
                let (mut frames, mut piece) = (Frames::default(), [0; 512]);
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    frames.push(&piece[..length]);
                    while let Ok(Some(packet)) = frames.next_packet() {
                        if packet == [0] {
                            let _ = stream.write_all(&response(&words));
                        }
                    }
                }
            });
        }
    });
}

/// A server that answers pings.
fn game() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    answers(listener);
    port
}

fn asleep() -> (Launcher, SessionServer) {
    (Launcher::start(status("asleep", None)), SessionServer::start())
}

/// What somebody with an account reads who joins with a version that is held in the configuration.
fn told(broker: &Broker, sessions: &SessionServer) -> String {
    held(broker.port, 774, "alex", sessions).told_later()
}

#[test]
fn a_name_without_its_account_starts_nothing() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    for protocol in [340, 754, 759, 765, 774, 777, 5000] {
        let mut client = Client::connect(broker.port, protocol);
        client.log_in("alex");
        client.encrypt("alex", None);
        let text = client.told();
        assert!(text.starts_with("Your account could not be verified, so the server was not started."), "{text}");
        assert!(client.is_closed());
    }
    assert!(launcher.starts().is_empty());
    let mut alex = held(broker.port, 774, "alex", &sessions);
    wait_until("the start", || (launcher.starts() == ["alex"]).then_some(()));
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    alex.transferred();
}

#[test]
fn the_launcher_says_who_is_not_on_its_list_and_the_others_wait_on() {
    let (launcher, sessions) = asleep();
    launcher.state().list = Some(vec!["steve".to_owned()]);
    let broker = Broker::start(&launcher, &sessions, "");
    assert_eq!(
        told(&broker, &sessions),
        "The server is asleep, and you are not on the list of players who may start it."
    );
    let mut steve = held(broker.port, 774, "steve", &sessions);
    wait_until("steve's start", || (launcher.starts() == ["alex", "steve"]).then_some(()));
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    steve.transferred();
}

#[test]
fn the_brokers_own_list_has_names_and_uuids() {
    let (launcher, sessions) = asleep();
    let uuid = crate::stand_ins::uuid_of("steve");
    let broker = Broker::start(&launcher, &sessions, &format!("allow = [\"Zoe\", \"{uuid}\"]"));
    // By his UUID, which is known only afterwards.
    let mut client = Client::connect(broker.port, 754);
    client.log_in("alex");
    client.encrypt("alex", Some(&sessions));
    assert!(client.told().contains("not on the list"));
    assert!(launcher.starts().is_empty());
    let _steve = held(broker.port, 774, "steve", &sessions);
    wait_until("steve's start", || (launcher.starts() == ["steve"]).then_some(()));
    let by_name = Broker::start(&launcher, &sessions, "allow = [\"Zoe\"]");
    let asked = sessions.asked();
    let mut client = Client::connect(by_name.port, 774);
    client.log_in("alex");
    assert!(client.told().contains("not on the list"), "before anybody is asked");
    assert_eq!(sessions.asked(), asked);
}

#[test]
fn whatever_the_launcher_refuses_is_told_in_its_words() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    launcher.answer_starts(Start::Refuse(429, "Until tomorrow, 00:00 UTC; the owner can raise the limit.".to_owned()));
    assert_eq!(told(&broker, &sessions), "Until tomorrow, 00:00 UTC; the owner can raise the limit.");
    let capacity = "The server was not started: EC2 has no capacity right now; try again in some minutes.";
    launcher.answer_starts(Start::Refuse(503, capacity.to_owned()));
    assert_eq!(told(&broker, &sessions), capacity);
    assert_eq!(launcher.starts().len(), 3, "a 503 may pass: it is asked twice");
    launcher.answer_starts(Start::Refuse(403, "This key is not valid any more.".to_owned()));
    assert!(told(&broker, &sessions).contains("does not accept this broker's key"));
    launcher.answer_starts(Start::Garbage("<html>".to_owned()));
    let mut player = held(broker.port, 774, "alex", &sessions);
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    player.transferred();
}

/// The launcher has one code for a key that it does not take and for a player who is not on its list.
#[test]
fn a_name_with_the_word_key_in_it_is_no_refused_key() {
    let (launcher, sessions) = asleep();
    launcher.state().list = Some(vec!["steve".to_owned()]);
    let broker = Broker::start(&launcher, &sessions, "");
    let mut monkey = held(broker.port, 774, "monkey", &sessions);
    assert_eq!(monkey.told_later(), "The server is asleep, and you are not on the list of players who may start it.");
    assert_eq!(launcher.starts(), ["monkey"]);
}

/// What AWS itself answers when the function is throttled, has failed or may not be called by everybody says nothing about the
/// budget, the list or the server.
#[test]
fn what_something_in_front_of_the_launcher_refuses_is_not_told_as_the_launchers_word() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    for (code, body) in [
        (429, r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#),
        (403, r#"{"Message":"Forbidden"}"#),
        (503, r#"{"message":"Service Unavailable"}"#),
    ] {
        launcher.answer_starts(Start::InFront(code, body));
        let expected =
            format!("Nobody can tell whether the server is up: the launcher answers {code}. Try again in a minute.");
        assert_eq!(told(&broker, &sessions), expected);
    }
    // It passes, and he is still there.
    launcher.answer_starts(Start::InFront(429, "{}"));
    let mut player = held(broker.port, 774, "alex", &sessions);
    wait_until("the first try", || (launcher.starts().len() == 7).then_some(()));
    launcher.answer_starts(Start::Accept(status("up", Some(("127.0.0.1", game())))));
    player.transferred();
}

#[test]
fn a_player_is_not_held_for_longer_than_is_set() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "hold_minutes = 0.1");
    assert_eq!(told(&broker, &sessions), "The server has not come up within a minute. Try again, or ask its owner.");
}

#[test]
fn a_launcher_that_is_down_or_answers_garbage_takes_nobody_down() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    for garbage in [json!("<html>"), json!("{\"state\":"), json!({"no": "state"})] {
        launcher.set(garbage);
        forget_what_is_known();
        let mut joining = Client::connect(broker.port, 774);
        joining.log_in("alex");
        let text = joining.told();
        assert_eq!(
            text,
            "Nobody can tell whether the server is up: the launcher's answer makes no sense. Try again in a minute."
        );
        let shown = Client::connect(broker.port, 774).status();
        assert!(shown["description"]["text"].as_str().unwrap().contains("its launcher cannot be asked"), "{shown}");
    }
    forget_what_is_known();
    launcher.state().status = None;
    let mut joining = Client::connect(broker.port, 774);
    joining.log_in("alex");
    assert!(joining.told().contains("the launcher cannot be reached: does not answer in time"));
    assert!(launcher.starts().is_empty());
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    let mut player = Client::connect(broker.port, 774);
    player.log_in("alex");
    player.succeed("alex");
    player.transferred();
}

#[test]
fn a_session_server_that_hangs_or_is_down_is_told_and_starts_nothing() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    for (mood, words) in [(Mood::Hangs, "does not answer in time"), (Mood::Down, "answers 503")] {
        sessions.set(mood);
        // More than are asked about at once.
        let mut players: Vec<Client> = (0..12)
            .map(|number| {
                let mut client = Client::connect(broker.port, 774);
                client.log_in(&format!("alex{number}"));
                client.encrypt("alex", None);
                client
            })
            .collect();
        for player in &mut players {
            let text = player.told();
            assert!(text.contains(words) && text.contains("Try again in a minute."), "{text}");
        }
    }
    assert!(launcher.starts().is_empty());
}

#[test]
fn nobody_is_handed_over_to_a_server_that_dies() {
    // EC2 still says that it runs, it still answers, and its agent has said that it stops.
    let (launcher, sessions) = (Launcher::start(status("up", None)), SessionServer::start());
    let host = ("127.0.0.1", game());
    launcher.set(status("stopping", Some(host)));
    let broker = Broker::start(&launcher, &sessions, "");
    let mut players: Vec<Client> = [774, 754]
        .map(|protocol| {
            let mut client = Client::connect(broker.port, protocol);
            client.log_in("alex");
            client.encrypt("alex", Some(&sessions));
            client
        })
        .into();
    players[0].succeed("alex");
    wait_until("the wish", || (!launcher.starts().is_empty()).then_some(()));
    for state in ["stopping", "asleep", "starting"] {
        launcher.set(status(state, (state == "stopping").then_some(host)));
        a_while();
        let looks = launcher.state().looks;
        wait_until("it looks again", || (launcher.state().looks > looks + 1).then_some(()));
    }
    assert!(launcher.starts().len() >= 2, "the wish is repeated");
    let next = ("127.0.0.1", game());
    launcher.set(status("up", Some(next)));
    assert_eq!(players[0].transferred(), ("127.0.0.1".to_owned(), u32::from(next.1)));
    assert!(players[1].told().ends_with(&format!("127.0.0.1:{}", next.1)));
}

#[test]
fn nobody_is_handed_over_to_the_broker_itself() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    // The name that players type is the broker's, and that alone is no reason.
    let mut own = status("up", Some(("127.0.0.1", game())));
    own["address"] = json!("localhost");
    launcher.set(own);
    forget_what_is_known();
    let mut player = Client::connect(broker.port, 774);
    player.log_in("alex");
    player.succeed("alex");
    assert_ne!(player.transferred().1, u32::from(broker.port));
    // Its address is, by mistake.
    launcher.set(status("up", Some(("127.0.0.1", broker.port))));
    let mut player = held_once_it_is_seen(&broker, &sessions, "steve");
    broker.process.wait_for("that is this broker");
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    assert_ne!(player.transferred().1, u32::from(broker.port));
}

/// The same through something in between, such as a translation of addresses: only its own mark tells the broker.
#[test]
fn nobody_is_handed_over_to_the_broker_itself_by_another_address() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    let relay = crate::support::relay::Relay::start(broker.port);
    launcher.set(status("up", Some(("127.0.0.1", relay.port))));
    let mut player = held_once_it_is_seen(&broker, &sessions, "alex");
    broker.process.wait_for("that is this broker");
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    assert_ne!(player.transferred().1, u32::from(relay.port));
}

/// Waits until the broker has to ask the launcher again.
pub(crate) fn forget_what_is_known() {
    std::thread::sleep(std::time::Duration::from_secs(6));
}

/// A player who is held although the launcher says that the server is up.
fn held_once_it_is_seen(broker: &Broker, sessions: &SessionServer, name: &str) -> Client {
    forget_what_is_known();
    held(broker.port, 774, name, sessions)
}

#[test]
fn a_server_without_an_address_of_the_players_family_is_told() {
    let mut six = status("up", None);
    six["host"] = json!({"v4": null, "v6": "::1"});
    let (launcher, sessions) = (Launcher::start(six), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, "");
    let mut player = Client::connect(broker.port, 774);
    player.log_in("alex");
    assert_eq!(player.told(), "The server is up, but it has no IPv4 address, and you play over IPv4.");
}

#[test]
fn every_address_is_ipv4_and_ipv6_and_each_player_stays_in_his_own_family() {
    let (launcher, sessions) = asleep();
    let (game_v4, game_v6) = ports::reserved_pair();
    let port = game_v6.local_addr().unwrap().port();
    ports::listen(&game_v6);
    answers(game_v6);
    let config = crate::broker::config(&launcher, &sessions, "");
    let drop_ins = config.path().with_file_name("config.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("50-site.toml"), "listen = [\"[::]:0\"]").unwrap();
    let mut both = status("up", Some(("127.0.0.1", port)));
    both["host"]["v6"] = json!("::1");
    launcher.set(both);
    let broker = Broker::start_with(config);
    let mut six = Client::over(TcpStream::connect(("::1", broker.port)).unwrap(), 774).unwrap();
    six.log_in("alex");
    six.succeed("alex");
    assert_eq!(six.transferred(), ("::1".to_owned(), u32::from(port)));
    // Nothing answers at the IPv4 address: whoever comes from there waits.
    let mut four = Client::connect(broker.port, 774);
    four.log_in("steve");
    four.encrypt("steve", Some(&sessions));
    four.succeed("steve");
    ports::listen(&game_v4);
    answers(game_v4);
    assert_eq!(four.transferred(), ("127.0.0.1".to_owned(), u32::from(port)));
}

/// The port of a server that answers pings, and gives `reason` to whoever is handed over: at once after the handshake, as the
/// original game does with accepts-transfers=false.
fn refuses(reason: &'static str, hangs_up: bool) -> u16 {
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut frames, mut piece) = (Frames::default(), [0; 512]);
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    frames.push(&piece[..length]);
                    while let Ok(Some(packet)) = frames.next_packet() {
                        let words = r#"{"version":{"name":"x","protocol":774},"players":{"max":1,"online":0}}"#;
                        match packet.as_slice() {
                            [0] => drop(stream.write_all(&response(words))),
                            [.., 3] => {
                                let _ = stream.write_all(&disconnect(reason));
                                if hangs_up {
                                    return;
                                }
                            }
                            _ => {}
                        }
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_server_that_refuses_transfers_is_noticed_and_told() {
    let (launcher, sessions) = asleep();
    let port = refuses("multiplayer.disconnect.transfers_disabled", false);
    launcher.set(status("up", Some(("127.0.0.1", port))));
    let broker = Broker::start(&launcher, &sessions, "");
    let mut player = Client::connect(broker.port, 774);
    player.log_in("alex");
    player.succeed("alex");
    player.transferred();
    // A refusal that comes late is missed, and he is handed over once more.
    let text = wait_until("it is noticed", || {
        let mut again = Client::connect(broker.port, 774);
        again.log_in("alex");
        again.told_unless_handed_over()
    });
    assert!(text.contains("accepts-transfers=true") && text.ends_with(&format!("127.0.0.1:{port}")), "{text}");
    broker.process.wait_for("does not take players who are handed over");
}

/// Paper and Spigot refuse a second connection of one address within 4 s, whatever it is for.
#[test]
fn a_server_that_is_asked_too_often_is_not_said_to_refuse_transfers() {
    let (launcher, sessions) = asleep();
    let port = refuses("Connection throttled! Please wait before reconnecting.", true);
    launcher.set(status("up", Some(("127.0.0.1", port))));
    let broker = Broker::start(&launcher, &sessions, "");
    for _ in 0..2 {
        let mut player = Client::connect(broker.port, 774);
        player.log_in("alex");
        player.succeed("alex");
        player.transferred();
    }
}

#[test]
fn whoever_comes_back_to_a_server_that_takes_transfers_is_handed_over_again() {
    let (launcher, sessions) = (Launcher::start(status("up", Some(("127.0.0.1", game())))), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, "");
    for _ in 0..3 {
        let mut player = Client::connect(broker.port, 774);
        player.log_in("alex");
        player.succeed("alex");
        player.transferred();
    }
}

#[test]
fn an_account_whose_starts_nobody_joins_after_has_to_wait() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    let alex = held(broker.port, 774, "alex", &sessions);
    wait_until("the start", || (launcher.starts() == ["alex"]).then_some(()));
    drop(alex);
    // It comes up, nobody is there, and it goes to sleep again.
    for state in ["up", "asleep"] {
        launcher.set(status(state, None));
        let shown = if state == "up" { "Up." } else { "Asleep. Join to start it." };
        wait_until("it is seen", || {
            (Client::connect(broker.port, 774).status()["description"]["text"] == shown).then_some(())
        });
    }
    let text = told(&broker, &sessions);
    assert!(text.contains("The last time that you started it, nobody came in; you may start it again in "), "{text}");
    assert_eq!(launcher.starts(), ["alex"]);
    // Another one may.
    let mut steve = held(broker.port, 774, "steve", &sessions);
    wait_until("the start", || (launcher.starts() == ["alex", "steve"]).then_some(()));
    launcher.set(status("up", Some(("127.0.0.1", game()))));
    steve.transferred();
}

/// A friend of his has the server's own address.
#[test]
fn an_account_after_whose_start_somebody_played_need_not_wait_whichever_way_he_came() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    let alex = held(broker.port, 774, "alex", &sessions);
    wait_until("the start", || (launcher.starts() == ["alex"]).then_some(()));
    drop(alex);
    let mut played = status("up", None);
    played["players"] = json!(1);
    for (next, shown) in [(played, "Up."), (status("asleep", None), "Asleep. Join to start it.")] {
        launcher.set(next);
        wait_until("it is seen", || {
            (Client::connect(broker.port, 774).status()["description"]["text"] == shown).then_some(())
        });
    }
    let _alex = held(broker.port, 774, "alex", &sessions);
    wait_until("the second start", || (launcher.starts() == ["alex", "alex"]).then_some(()));
}

#[test]
fn held_players_are_told_that_the_broker_ends() {
    let (launcher, sessions) = asleep();
    let broker = Broker::start(&launcher, &sessions, "");
    let mut player = held(broker.port, 774, "alex", &sessions);
    wait_until("the start", || (!launcher.starts().is_empty()).then_some(()));
    broker.process.signal(rustix::process::Signal::TERM);
    assert_eq!(player.told_later(), "This address is being restarted. Join again in a minute.");
}
