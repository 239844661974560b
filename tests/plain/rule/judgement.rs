//! Machines as people run them: servers in containers and plain network namespaces, behind proxies and publications. Each
//! network, listener and port is judged by itself. Over 400 lines: the tests share one set of helpers.

use std::time::Duration;

use mc_idle_rule::facts::{ConnectionRow, FarEnd, Proxy, Publication, Publisher, Sockets};
use mc_idle_rule::observation::Unknown;
use mc_idle_rule::{Edition, Facts, NetworkId, Question, Rule, RuleSettings, State, View};

use crate::rule::machine::{A, B, connection, docker_proxy, java, listens, machine, network, publisher, root_listens};
use crate::rule::run::{INTERVAL, Run, address, empty, listening, rule_settings, unknown};

const MINUTE: Duration = Duration::from_mins(1);
const PUBLISHED: &str = "0.0.0.0:25565";

/// These facts for ten minutes, which end with the first preparation of a stop.
fn ten_minutes(facts: &Facts) -> (bool, View) {
    let mut run = Run::new(rule_settings());
    let prepared = run.see_for(10 * MINUTE, facts).is_some();
    (prepared, run.rule.view(run.now))
}

/// Somebody is there: for ten minutes there is no stop, and so many players are shown in the end.
fn counted(facts: &Facts, players: usize) {
    let (prepared, view) = ten_minutes(facts);
    assert!(!prepared, "stopped on a player");
    assert_eq!((view.state, view.counts.map(|counts| counts.players)), (State::Occupied, Some(players)));
}

/// Nobody is there, and that is known: the stop comes.
fn stops(facts: &Facts, listening: bool) {
    let (prepared, view) = ten_minutes(facts);
    assert!(prepared, "{:?}", view.state);
    assert_eq!((view.counts.map(|counts| counts.players), view.listening), (Some(0), Some(listening)));
}

/// It cannot be known whether somebody is there.
fn blind(facts: &Facts) -> String {
    let (prepared, view) = ten_minutes(facts);
    assert!(!prepared, "stopped though it was unknown whether somebody is there");
    match view.state {
        State::Blind { why, .. } => why,
        state => panic!("{state:?}"),
    }
}

/// A server at 25565 in a network of its own, with so many players.
fn server_with(id: NetworkId, ip: &str, players: u64) -> mc_idle_rule::facts::Network {
    let mut sockets = listens(&["0.0.0.0:25565"]);
    for number in 0..players {
        let peer = format!("203.0.113.7:{}", 40000 + number);
        sockets.connections.push(connection(id, &format!("{ip}:25565"), &peer, 100 + number));
    }
    network(id, ip, sockets)
}

fn published(to: &str, others: Vec<mc_idle_rule::facts::Network>) -> Facts {
    let mut facts = machine(root_listens(&[PUBLISHED]), others);
    facts.publishers = vec![docker_proxy(PUBLISHED, to)];
    facts
}

#[test]
fn a_player_in_a_plain_network_namespace_is_counted() {
    counted(&machine(Sockets::default(), vec![server_with(A, "192.168.7.2", 1)]), 1);
    stops(&machine(Sockets::default(), vec![server_with(A, "192.168.7.2", 0)]), true);
}

#[test]
fn the_inner_port_of_each_publication_is_followed() {
    // A is published as 25566 and idle; B listens on 25577 inside, and somebody plays there.
    let mut inner = listens(&["0.0.0.0:25577"]);
    inner.connections.push(connection(B, "172.17.0.3:25577", "203.0.113.7:40000", 100));
    let others = vec![server_with(A, "172.17.0.2", 0), network(B, "172.17.0.3", inner)];
    let mut facts = machine(root_listens(&["0.0.0.0:25566", PUBLISHED]), others);
    facts.publishers =
        vec![docker_proxy("0.0.0.0:25566", "172.17.0.2:25565"), docker_proxy(PUBLISHED, "172.17.0.3:25577")];
    counted(&facts, 1);
    facts.networks[2].sockets.as_mut().unwrap().connections.clear();
    stops(&facts, true);
}

#[test]
fn a_player_on_a_published_proxy_is_counted_beside_an_empty_server_in_another_container() {
    let mut proxy = listens(&["0.0.0.0:25577"]);
    proxy.connections.push(connection(A, "172.17.0.2:25577", "203.0.113.7:40000", 100));
    let mut facts =
        published("172.17.0.2:25577", vec![network(A, "172.17.0.2", proxy), server_with(B, "172.17.0.3", 0)]);
    counted(&facts, 1);
    // He goes on to the server: the proxy's connection there is the same client's.
    let passed_on = ("172.17.0.2:51000", "172.17.0.3:25565");
    let backend = facts.networks[2].sockets.as_mut().unwrap();
    backend.connections.push(connection(B, passed_on.1, passed_on.0, 200));
    let far_end = FarEnd { local: address(passed_on.0), peer: address(passed_on.1) };
    facts.networks[1].sockets.as_mut().unwrap().far_ends.push(far_end);
    counted(&facts, 1);
    // Another one who comes to the server directly is another player.
    let backend = facts.networks[2].sockets.as_mut().unwrap();
    backend.connections.push(connection(B, "172.17.0.3:25565", "203.0.113.8:41000", 201));
    counted(&facts, 2);
}

#[test]
fn a_published_port_behind_which_nothing_listens_is_no_server_whatever_else_lives_on_the_machine() {
    let database = network(B, "172.17.0.3", Sockets::default());
    let facts = published("172.17.0.2:25565", vec![network(A, "172.17.0.2", Sockets::default()), database]);
    stops(&facts, false);
}

#[test]
fn a_port_that_leads_to_one_server_over_ipv4_and_to_another_over_ipv6_is_followed_to_both() {
    let mut inner = listens(&["0.0.0.0:25577"]);
    inner.connections.push(connection(B, "172.17.0.3:25577", "203.0.113.7:40000", 100));
    let others = vec![server_with(A, "172.17.0.2", 0), network(B, "172.17.0.3", inner)];
    let mut facts = machine(root_listens(&[PUBLISHED, "[::]:25565"]), others);
    facts.publishers =
        vec![docker_proxy(PUBLISHED, "172.17.0.2:25565"), docker_proxy("[::]:25565", "172.17.0.3:25577")];
    counted(&facts, 1);
    // A proxy that names the address of IPv6 alone has not made a row of IPv4, and does not speak for the server there.
    let mut of_a_server = facts.clone();
    of_a_server.publishers.remove(0);
    of_a_server.networks[0].sockets.as_mut().unwrap().listening.remove(1);
    of_a_server.networks[2].sockets.as_mut().unwrap().connections.clear();
    let mut run = Run::new(rule_settings());
    run.see(&of_a_server);
    assert_eq!(run.rule.watched_ports(), [25565].into());
    // One of Docker's earlier versions names the address of IPv4 where it listens for both.
    facts.publishers[1] = docker_proxy(PUBLISHED, "172.17.0.3:25577");
    facts.publishers.remove(0);
    facts.networks[0].sockets.as_mut().unwrap().listening.remove(0);
    counted(&facts, 1);
}

#[test]
fn a_connection_shows_of_the_listener_that_has_accepted_it_that_it_is_a_server_and_of_no_other() {
    let mut host = root_listens(&[PUBLISHED, "[::]:25565"]);
    host.listening[0].uid = Some(1000);
    host.connections.push(connection(NetworkId::HOST, "10.0.0.5:25565", "203.0.113.7:40000", 7));
    let mut facts = machine(host, vec![network(A, "172.17.0.2", listens(&["0.0.0.0:80"]))]);
    facts.publishers = vec![publisher(Proxy::Conmon)];
    let mut run = Run::new(rule_settings());
    run.see_for(MINUTE, &facts);
    facts.networks[0].sockets.as_mut().unwrap().connections.clear();
    assert_eq!(run.see_for(10 * MINUTE, &facts), None, "who is behind the other one is not known");
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
}

#[test]
fn a_listener_that_another_user_has_in_the_place_of_a_server_has_not_accepted_anybody() {
    // A server of a user's own ends, and Podman publishes its port at once.
    let facts = |uid, players: u64| {
        let mut host = listens(&[PUBLISHED]);
        host.listening[0].uid = Some(uid);
        host.connections
            .extend((0..players).map(|_| connection(NetworkId::HOST, "10.0.0.5:25565", "203.0.113.7:40000", 7)));
        let mut facts = machine(host, vec![network(A, "172.17.0.2", listens(&["0.0.0.0:80"]))]);
        facts.publishers = vec![publisher(Proxy::Conmon)];
        facts
    };
    let mut run = Run::new(rule_settings());
    run.see_for(MINUTE, &facts(1000, 1));
    assert_eq!(run.see_for(10 * MINUTE, &facts(0, 0)), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
}

/// Docker's daemon can end while its containers live on, and its docker-proxies end with it; the packet filter still leads
/// players to the server.
#[test]
fn where_a_publication_has_led_is_watched_for_as_long_as_the_container_lives() {
    let inner = |players: u64| {
        let mut sockets = listens(&["0.0.0.0:25577"]);
        sockets.connections.extend(
            (0..players)
                .map(|number| connection(A, "172.17.0.2:25577", &format!("203.0.113.7:{}", 40000 + number), 100)),
        );
        network(A, "172.17.0.2", sockets)
    };
    let without_docker = |players| machine(Sockets::default(), vec![inner(players)]);
    let mut run = Run::new(rule_settings());
    assert_eq!(run.see_for(5 * MINUTE, &published("172.17.0.2:25577", vec![inner(1)])), None);
    assert_eq!(run.see_for(10 * MINUTE, &without_docker(1)), None);
    assert_eq!(run.state(), State::Occupied);
    assert_eq!(run.rule.watched_ports(), [25565, 25577].into(), "the rows there have to be read");
    // Nor does an agent forget that which is started now; and whoever comes is seen.
    run.restart(INTERVAL);
    assert_eq!(run.rule.watched_ports(), [25565, 25577].into());
    assert_eq!(run.see(&without_docker(0)), None);
    assert_eq!(run.state(), State::Idle);
    // A look that shows nothing at all does not show that the container has gone.
    assert_eq!(run.see(&unknown()), None);
    assert_eq!(run.see_for(10 * MINUTE, &without_docker(2)), None);
    assert_eq!(run.rule.view(run.now).counts.map(|counts| counts.players), Some(2));
    // The container ends.
    assert_eq!(run.see(&machine(Sockets::default(), Vec::new())), None);
    assert_eq!((run.state(), run.rule.watched_ports()), (State::NoServer, [25565].into()));
}

#[test]
fn a_publication_is_followed_from_the_ports_of_the_settings_in_force() {
    let mut run = Run::new(rule_settings());
    run.see(&published("172.17.0.2:25577", vec![network(A, "172.17.0.2", listens(&["0.0.0.0:25577"]))]));
    // One more port takes nothing from those who came by the other, though Docker's daemon may be down.
    run.rule.set_settings(RuleSettings { ports: [25565, 25566].into(), ..rule_settings() });
    assert_eq!(run.rule.watched_ports(), [25565, 25566, 25577].into());
    // One that is gone does, by a reload as by a restart.
    let other = RuleSettings { ports: [25566].into(), ..rule_settings() };
    assert_eq!(Rule::remembering(other.clone(), run.rule.memory(), run.now).watched_ports(), [25566].into());
    run.rule.set_settings(other);
    assert_eq!(run.rule.watched_ports(), [25566].into());
    // The host does not end, and what a docker-proxy says of it is not kept.
    let mut run = Run::new(rule_settings());
    run.see(&published("10.0.0.5:22", Vec::new()));
    assert_eq!(run.rule.watched_ports(), [25565].into());
}

#[test]
fn a_published_port_that_leads_to_a_network_that_cannot_be_seen_is_unknown() {
    let facts = published("172.17.0.2:25565", vec![network(B, "172.17.0.9", Sockets::default())]);
    assert!(blind(&facts).contains("172.17.0.2:25565"));
    // Until somebody answers there.
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    assert!(run.see_and_hear(5 * MINUTE, &facts, java(NetworkId::HOST, PUBLISHED), Some(0)).is_some());
}

#[test]
fn an_address_that_two_networks_own_is_looked_for_in_both() {
    let facts = published("172.17.0.2:25565", vec![server_with(A, "172.17.0.2", 0), server_with(B, "172.17.0.2", 1)]);
    counted(&facts, 1);
}

#[test]
fn an_empty_server_of_roots_beside_containers_is_empty() {
    let facts = |publishers: Vec<Publisher>, control_group| {
        let mut facts = machine(root_listens(&[PUBLISHED]), vec![network(A, "172.17.0.2", listens(&["0.0.0.0:80"]))]);
        facts.networks[0].sockets.as_mut().unwrap().listening[0].control_group = control_group;
        facts.publishers = publishers;
        facts
    };
    // Docker publishes another port, and says so.
    stops(&facts(vec![docker_proxy("0.0.0.0:80", "172.17.0.2:80")], None), true);
    // The socket was made in another control group than Docker's.
    let dockerd = || Publisher { control_group: Some(7), ..publisher(Proxy::Dockerd) };
    stops(&facts(vec![dockerd()], Some(8)), true);
    let same = blind(&facts(vec![dockerd()], Some(7)));
    assert!(same.contains("dockerd"), "{same}");
    // That says nothing of Podman, nor where the kernel does not tell it; the server's answer does.
    let conmon = || Publisher { control_group: Some(7), ..publisher(Proxy::Conmon) };
    for (publisher, name) in [(conmon(), "conmon"), (publisher(Proxy::Dockerd), "dockerd")] {
        let untold = facts(vec![publisher], Some(8));
        let why = blind(&untold);
        assert!(why.contains(name), "{why}");
        let mut run = Run::new(rule_settings());
        run.see(&untold);
        assert!(run.see_and_hear(5 * MINUTE, &untold, java(NetworkId::HOST, PUBLISHED), Some(0)).is_some());
    }
    // Another user's processes have nothing to do with it.
    let other = Publisher { uid: Some(1001), ..publisher(Proxy::Rootlessport) };
    stops(&facts(vec![other], None), true);
}

#[test]
fn without_another_network_a_publisher_has_nothing_to_publish() {
    let mut facts = Facts::of_host(root_listens(&[PUBLISHED]));
    facts.publishers = vec![publisher(Proxy::Conmon)];
    stops(&facts, true);
    facts.others = true;
    blind(&facts);
}

#[test]
fn a_listener_that_cannot_be_told_is_a_server_once_it_has_shown_a_connection() {
    let mut facts = machine(root_listens(&[PUBLISHED]), vec![network(A, "172.17.0.2", Sockets::default())]);
    facts.publishers = vec![publisher(Proxy::Conmon)];
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    assert!(matches!(run.state(), State::Blind { .. }));
    let mut joined = facts.clone();
    let host = joined.networks[0].sockets.as_mut().unwrap();
    host.connections.push(connection(NetworkId::HOST, "10.0.0.5:25565", "203.0.113.7:4000", 7));
    run.see(&joined);
    assert!(run.see_for(MINUTE + INTERVAL, &facts).is_some(), "and it stays one");
    // One that was not accepted shows nothing: the kernel took it in for whoever listens.
    let mut waiting = facts.clone();
    let host = waiting.networks[0].sockets.as_mut().unwrap();
    host.connections.push(connection(NetworkId::HOST, "10.0.0.5:25565", "203.0.113.7:4000", 0));
    blind(&waiting);
}

#[test]
fn a_process_that_calls_itself_docker_proxy_is_believed_only_as_the_rows_user() {
    // It says that the port leads to a network where nothing listens, and so that there is no server.
    let mut facts = machine(listens(&[PUBLISHED]), vec![network(A, "172.17.0.2", Sockets::default())]);
    facts.publishers = vec![docker_proxy(PUBLISHED, "172.17.0.2:25565")];
    stops(&facts, true);
    // Nor is another address or port believed of root's own.
    let mut facts = machine(root_listens(&[PUBLISHED]), vec![network(A, "172.17.0.2", Sockets::default())]);
    facts.publishers = vec![docker_proxy("10.0.0.5:25565", "172.17.0.2:25565")];
    stops(&facts, true);
    // A user whom the agent has no number for may be anybody.
    facts.publishers = vec![docker_proxy(PUBLISHED, "172.17.0.2:25565")];
    facts.publishers[0].uid = None;
    facts.networks[0].sockets.as_mut().unwrap().listening[0].uid = None;
    blind(&facts);
}

/// Docker of a user without a number here: in a network of its own a docker-proxy listens at `from`, and leads to a container with so
/// many players.
fn docker_of_somebody(from: &str, players: u64) -> Facts {
    let mut inner = listens(&["0.0.0.0:25577"]);
    let row = |number| connection(B, "172.17.0.2:25577", &format!("203.0.113.7:{}", 40000 + number), 100 + number);
    inner.connections.extend((0..players).map(row));
    let mut outer = listens(&[from]);
    outer.listening[0].uid = None;
    let others = vec![network(A, "192.168.7.2", outer), network(B, "172.17.0.2", inner)];
    let mut facts = machine(Sockets::default(), others);
    facts.publishers = vec![Publisher { network: A, uid: None, ..docker_proxy(from, "172.17.0.2:25577") }];
    facts
}

/// As in a machine with users of its own (`systemd-nspawn -U`, unprivileged LXC) and Docker in it.
#[test]
fn where_a_user_without_a_number_says_that_his_port_leads_is_watched_and_proves_nothing() {
    counted(&docker_of_somebody(PUBLISHED, 2), 2);
    blind(&docker_of_somebody(PUBLISHED, 0));
}

/// Its docker-proxy listens on loopback in the engine's own network, and clients show on the host as rootlesskit's.
#[test]
fn an_empty_server_of_a_rootless_docker_is_empty() {
    for loopback in ["127.0.0.1:25565", "[::1]:25565"] {
        stops(&docker_of_somebody(loopback, 0), true);
        counted(&docker_of_somebody(loopback, 1), 1);
    }
}

/// As with kind, k3s in a container, or a router: the packet filter in the container leads on to a server that nobody publishes.
#[test]
fn a_published_port_behind_which_nothing_listens_is_asked_whether_it_leads_on() {
    let facts = published("172.17.0.2:25565", vec![network(A, "172.17.0.2", Sockets::default())]);
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    let questions = run.rule.questions();
    assert_eq!(questions.len(), 1);
    assert_eq!((questions[0].address.to_string().as_str(), questions[0].direct), ("127.0.0.1:25565", false));
    assert!(run.see_and_hear(10 * MINUTE, &facts, java(NetworkId::HOST, PUBLISHED), Some(1)).is_none());
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn a_publication_of_udp_says_nothing_of_tcp() {
    let mut facts = machine(root_listens(&[PUBLISHED]), vec![network(A, "172.17.0.2", Sockets::default())]);
    let udp =
        Publication { edition: Edition::Bedrock, ..docker_proxy(PUBLISHED, "172.17.0.2:25565").publication.unwrap() };
    facts.publishers = vec![Publisher { publication: Some(udp), ..publisher(Proxy::DockerProxy) }];
    stops(&facts, true);
}

#[test]
fn a_network_that_cannot_be_read_is_unknown_and_hides_nobody_elsewhere() {
    let mut unreadable = server_with(A, "172.17.0.2", 0);
    unreadable.sockets = Err("permission denied".to_owned());
    let facts = machine(listens(&[PUBLISHED]), vec![unreadable.clone()]);
    assert!(blind(&facts).contains("permission denied"));
    let facts = machine(listens(&[PUBLISHED]), vec![unreadable, server_with(B, "172.17.0.3", 1)]);
    let (prepared, view) = ten_minutes(&facts);
    assert!(!prepared);
    assert_eq!(view.state, State::Occupied);
    assert!(view.also_unknown.is_some_and(|why| why.contains("permission denied")));
}

#[test]
fn a_player_elsewhere_resets_the_clocks_though_not_everything_can_be_read() {
    let mut unreadable = server_with(A, "172.17.0.2", 0);
    unreadable.sockets = Err("permission denied".to_owned());
    let readable =
        machine(listens(&[PUBLISHED]), vec![server_with(A, "172.17.0.2", 0), server_with(B, "172.17.0.3", 0)]);
    let half = machine(listens(&[PUBLISHED]), vec![unreadable, server_with(B, "172.17.0.3", 1)]);
    let mut run = Run::new(rule_settings());
    run.see_for(MINUTE / 2, &readable);
    assert!(run.elapsed() > 0);
    run.see_for(MINUTE / 2, &half);
    assert_eq!((run.elapsed(), run.rule.memory().no_player), (0, Duration::ZERO));
}

#[test]
fn a_connection_counts_once_though_the_table_shows_it_twice() {
    let mut facts = machine(Sockets::default(), vec![server_with(A, "192.168.7.2", 1)]);
    let sockets = facts.networks[1].sockets.as_mut().unwrap();
    let twice = sockets.connections[0];
    sockets.connections.push(twice);
    counted(&facts, 1);
}

#[test]
fn the_same_addresses_in_two_networks_are_two_connections() {
    let others = vec![server_with(A, "192.168.7.2", 1), server_with(B, "192.168.7.2", 1)];
    counted(&machine(Sockets::default(), others), 2);
}

#[test]
fn a_connection_on_a_port_that_is_not_watched_is_nobody() {
    let mut sockets = listens(&["0.0.0.0:25565", "0.0.0.0:22"]);
    sockets.connections.push(connection(NetworkId::HOST, "10.0.0.5:22", "203.0.113.7:4000", 7));
    stops(&Facts::of_host(sockets), true);
}

#[test]
fn everybody_who_listens_is_asked_at_an_address_of_his_own() {
    let shown = |question: &Question| (question.address.to_string(), question.direct);
    let asked = |facts: &Facts| {
        let mut run = Run::new(RuleSettings { ports: [25565].into(), ..rule_settings() });
        run.see(facts);
        let mut asked: Vec<(String, bool)> = run.rule.questions().iter().map(shown).collect();
        asked.sort();
        asked
    };
    assert_eq!(asked(&empty()), [("127.0.0.1:25565".to_owned(), true)]);
    assert_eq!(asked(&Facts::of_host(listens(&["10.0.0.5:25565"]))), [("10.0.0.5:25565".to_owned(), true)]);
    // A server behind a publication is asked directly, and not by way of docker-proxy.
    let facts = published("172.17.0.2:25565", vec![server_with(A, "172.17.0.2", 0)]);
    assert_eq!(asked(&facts), [("172.17.0.2:25565".to_owned(), true)]);
    // Where it cannot be reached directly, what is published is asked.
    let facts = published("172.17.0.2:25565", vec![]);
    assert_eq!(asked(&facts), [("127.0.0.1:25565".to_owned(), false)]);
    // Not every address of a network can be reached from the host: that of a VPN cannot, and that of a bridge can.
    let mut beside_a_vpn = server_with(A, "172.18.0.2", 0);
    beside_a_vpn.addresses.insert("10.2.0.2".parse().unwrap());
    beside_a_vpn.addresses.insert("192.168.255.2".parse().unwrap());
    let mut facts = machine(Sockets::default(), vec![beside_a_vpn]);
    facts.networks[0].addresses.insert("172.18.0.1".parse().unwrap());
    assert_eq!(asked(&facts), [("172.18.0.2:25565".to_owned(), true)]);
    // An address that two networks own says nothing of either.
    let twins = machine(Sockets::default(), vec![server_with(A, "10.1.1.2", 0), server_with(B, "10.1.1.2", 0)]);
    assert_eq!(asked(&twins), []);
}

#[test]
fn the_answer_of_a_server_behind_a_publication_speaks_for_those_who_came_through_it() {
    // The docker-proxy's own connections on the host, of clients on the host, are the server's players too.
    let mut facts = published("172.17.0.2:25565", vec![server_with(A, "172.17.0.2", 0)]);
    let host = facts.networks[0].sockets.as_mut().unwrap();
    let through = connection(NetworkId::HOST, "127.0.0.1:25565", "127.0.0.1:40000", 7);
    host.connections.push(ConnectionRow { received: Some(1), ..through });
    let server = java(A, "0.0.0.0:25565");
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    assert_eq!(run.see_and_hear(9 * MINUTE, &facts, server, Some(0)), None);
    assert!(run.see_and_hear(4 * MINUTE, &facts, server, Some(0)).is_some(), "a ghost by the server's own word");
}

#[test]
fn what_was_heard_by_way_of_a_publication_ends_when_the_server_behind_it_is_found() {
    // A container that has just started: its processes are gone through a little later than the host's sockets.
    let found = published("172.17.0.2:25565", vec![server_with(A, "172.17.0.2", 0)]);
    let mut before = found.clone();
    before.networks.truncate(1);
    before.publishers.clear();
    let mut run = Run::new(rule_settings());
    run.see(&before);
    run.hear(java(NetworkId::HOST, PUBLISHED), Some(1));
    run.see(&found);
    assert_eq!(run.state(), State::Occupied);
    // For two minutes more, as if it had gone.
    assert_eq!(run.see_and_hear(2 * MINUTE, &found, java(A, "0.0.0.0:25565"), Some(0)), None);
    assert!(run.see_and_hear(MINUTE + INTERVAL, &found, java(A, "0.0.0.0:25565"), Some(0)).is_some());
    assert_eq!(run.rule.view(run.now).online, Some(0));
}

#[test]
fn what_is_unknown_says_what_would_change_that() {
    let listener = java(NetworkId::HOST, PUBLISHED);
    let texts = [
        (Unknown::Published { listener, by: "docker-proxy", to: None }, "enable-status"),
        (
            Unknown::Published { listener, by: "docker-proxy", to: Some(address("172.17.0.2:25565")) },
            "start the server",
        ),
        (Unknown::Untold { listener, perhaps: "conmon" }, "a separate user"),
        (Unknown::Unproven { listener }, "minecraft.bedrock_ports"),
    ];
    for (unknown, advice) in texts {
        let text = unknown.to_string();
        assert!(text.contains(advice) && text.contains(PUBLISHED), "{text}");
    }
}

#[test]
fn a_bedrock_port_that_is_published_is_asked_where_the_server_is() {
    let mut inner = Sockets { bedrock: vec![listening("0.0.0.0:19132")], ..Sockets::default() };
    let publication =
        Publication { edition: Edition::Bedrock, from: address("0.0.0.0:19132"), to: address("172.17.0.2:19132") };
    let mut outer = inner.clone();
    outer.bedrock[0].uid = Some(0);
    let mut facts = machine(outer, vec![network(A, "172.17.0.2", std::mem::take(&mut inner))]);
    facts.publishers = vec![Publisher { publication: Some(publication), ..publisher(Proxy::DockerProxy) }];
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    let addresses: Vec<String> = run.rule.questions().iter().map(|question| question.address.to_string()).collect();
    assert_eq!(addresses, ["172.17.0.2:19132"]);
}
