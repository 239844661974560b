//! What the operator sees of a running broker: systemd's status sentence, and the metrics.

use std::fs;

use crate::broker::{Broker, config, program};
use crate::stand_ins::{Launcher, SessionServer, status};
use crate::support::{Notices, wait_until};
use crate::wire::{Client, held};

#[test]
fn the_status_sentence_and_the_metrics_tell_how_the_server_is_and_who_waits() {
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let (notices, folder) = (Notices::listen(), tempfile::tempdir().unwrap());
    let metrics = folder.path().join("mc-broker.prom");
    let config = config(&launcher, &sessions, &format!("metrics.textfile = \"{}\"", metrics.display()));
    let mut command = program();
    command.env("NOTIFY_SOCKET", notices.socket());
    let broker = Broker::start_as(config, command);
    let told = |text: &str| {
        wait_until(text, || notices.all().iter().any(|notice| notice.contains(text)).then_some(()));
    };
    told("READY=1");
    told("STATUS=The server is asleep; nobody waits.");
    drop(Client::connect(broker.port, 774).status());
    let alex = held(broker.port, 774, "alex", &sessions);
    told("STATUS=The server is starting; 1 player waits.");
    let shows = |line: &str| {
        wait_until(line, || fs::read_to_string(&metrics).ok()?.lines().any(|other| other == line).then_some(()));
    };
    shows("mc_broker_held_players 1");
    shows("mc_broker_server_state{state=\"starting\"} 1");
    shows("mc_broker_starts_total 1");
    shows("mc_broker_pings_total 1");
    drop(alex);
    told("STATUS=The server is starting; nobody waits.");
    shows("mc_broker_held_players 0");
}
