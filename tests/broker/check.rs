//! `mc-broker check`.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::broker::{Broker, config, key_file, program};
use crate::outcomes::answers;
use crate::stand_ins::{Launcher, Mood, SessionServer, status};
use crate::support::Config;

/// What it prints, and its exit code.
fn check(config: &Config) -> (String, Option<i32>) {
    let run = program().args(["check", "--config"]).arg(config.path()).output().unwrap();
    (String::from_utf8(run.stdout).unwrap(), run.status.code())
}

/// A configuration for the port at which a broker listens already.
fn config_of(broker: &Broker, launcher: &Launcher, sessions: &SessionServer) -> Config {
    let config = config(launcher, sessions, "");
    let text = std::fs::read_to_string(config.path()).unwrap();
    config.write(&text.replace("127.0.0.1:0", &format!("127.0.0.1:{}", broker.port)));
    config
}

#[test]
fn all_is_well_where_all_is_well() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let game = listener.local_addr().unwrap().port();
    answers(listener);
    let (launcher, sessions) = (Launcher::start(status("up", Some(("127.0.0.1", game)))), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, "");
    let config = config_of(&broker, &launcher, &sessions);
    let mut up = status("up", Some(("127.0.0.1", game)));
    up["address"] = json!("localhost");
    launcher.set(up.clone());
    let (lines, code) = check(&config);
    // What players type has the game's port here, and the broker has another one.
    let expected = format!(
        "ok      configuration\nok      launcher: says: The server is up.\nok      key: the launcher takes it\n\
         ok      listener: mc-broker answers at 127.0.0.1:{0}\n\
         FAILED  address: localhost leads to 127.0.0.1:{game}, and that is not this broker\n\
         ok      versions: players of 1.20.5 to 26.3 (protocol 777) are handed over; others are told where to join\n\
         ok      session server: answers\nok      transfers: the server at 127.0.0.1:{game} takes players who are handed over\n",
        broker.port
    );
    let lines = lines.replace("[::1]", "127.0.0.1").replace("nothing answers there: open the port in the firewall or the security group (or this machine cannot reach its own public address)", "that is not this broker");
    assert_eq!((lines.as_str(), code), (expected.as_str(), Some(1)));
    assert!(launcher.starts().is_empty(), "it starts nothing");
    up["port"] = json!(broker.port);
    up["address"] = json!("127.0.0.1");
    launcher.set(up);
    let (lines, code) = check(&config);
    assert!(lines.contains("ok      address: 127.0.0.1 leads here"), "{lines}");
    assert!(lines.contains("ok      transfers") && code == Some(0), "{lines}");
}

#[test]
fn each_thing_that_can_be_wrong_has_its_line() {
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let config = config(&launcher, &sessions, "");
    let (lines, code) = check(&config);
    assert!(lines.contains("note    listener: nothing answers at 127.0.0.1:0: mc-broker does not run"), "{lines}");
    assert!(lines.contains("not run transfers: the server does not run now") && code == Some(0), "{lines}");
    // Somebody else has the port, and says nothing.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = std::fs::read_to_string(config.path()).unwrap();
    config.write(&text.replace("127.0.0.1:0", &other.local_addr().unwrap().to_string()));
    let (lines, code) = check(&config);
    assert!(lines.contains("FAILED  listener: mc-broker cannot listen at 127.0.0.1:") && code == Some(1), "{lines}");
    config.write(&text);
    sessions.set(Mood::Down);
    let (lines, code) = check(&config);
    assert!(lines.contains("FAILED  session server: the session server answers 503"), "{lines}");
    assert_eq!(code, Some(1));
    let key = key_file(&config);
    std::fs::write(&key, "another-key-0123456789").unwrap();
    assert!(check(&config).0.contains("FAILED  key: the launcher does not take it"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check(&config).0.contains("FAILED  key: others can read the key in"));
    std::fs::remove_file(&key).unwrap();
    let (lines, _) = check(&config);
    assert!(lines.contains("FAILED  key: the key in") && lines.contains("not run launcher: without a key"), "{lines}");
    key_file(&config);
    launcher.set(json!("<html>"));
    assert!(check(&config).0.contains("FAILED  launcher: the launcher's answer makes no sense: see launcher.url"));
}
