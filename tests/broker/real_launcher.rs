//! The broker and the real launcher, with a stand-in for EC2 and SSM behind it.

use std::time::Duration;

use crate::broker::{Broker, GameServer, PEERS, key_file, peers};
use crate::launcher::{Launcher, SELDOM};
use crate::outcomes::forget_what_is_known;
use crate::skip_unless;
use crate::stand_in::StandIn;
use crate::stand_ins::SessionServer;
use crate::support::Config;
use crate::wire::{a_while, held};

#[test]
fn friends_join_a_sleeping_instance_and_are_in_the_game_after_one_start() {
    skip_unless!(peers(), PEERS);
    let (ec2, sessions, game) = (StandIn::start("stopped"), SessionServer::start(), GameServer::start(&[]));
    ec2.state().boots = Duration::from_secs(3);
    ec2.put("allow", "one,two,three");
    let port = game.port.to_string();
    let launcher = Launcher::start(&ec2, SELDOM, &[("MC_PORT", &port), ("MC_ADDRESS", "localhost")]);
    let config = Config::new("");
    let (key, url) = (key_file(&config), sessions.url());
    config.write(&format!(
        "listen = [\"127.0.0.1:0\"]\nlauncher.url = \"http://127.0.0.1:{}\"\nlauncher.key_file = \"{}\"\nauth_url = \"{url}\"\n",
        launcher.port,
        key.display(),
    ));
    let broker = Broker::start_with(config);
    let text = held(broker.port, 774, "stranger", &sessions).told_later();
    assert_eq!(text, "The server is asleep, and you are not on the list of players who may start it.");
    assert_eq!(ec2.count("StartInstances"), 0);
    let friends = ["one", "two"].map(|name| broker.join(name, "1.21.11", Some(&sessions)));
    for friend in &friends {
        friend.wait_for(&format!("handed over 127.0.0.1 {port}"));
        friend.wait_for(&format!("in game {port}"));
    }
    assert_eq!(ec2.count("StartInstances"), 1);
    // It is stopping when the next one comes, and the game still answers: he waits it out, and it is started once more.
    ec2.set("stopping");
    forget_what_is_known();
    let third = broker.join("three", "1.21.11", Some(&sessions));
    third.wait_for("alive");
    broker.process.wait_for("three joins: the server is started.");
    a_while();
    assert_eq!(ec2.count("StartInstances"), 1);
    ec2.set("stopped");
    third.wait_for(&format!("in game {port}"));
    assert_eq!(ec2.count("StartInstances"), 2);
}
