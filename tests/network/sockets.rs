//! Real connections, as both witnesses see them: `/proc/self/net/tcp{,6}` and netlink. Each test has a network
//! namespace of its own, so that no other socket of the machine is in either.
//! Over 400 lines: the tests share one set of peers.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use mc_idle::config::Settings;
use mc_idle::config::settings::Scope;
use mc_idle::host::networks::{Depth, SecondLook};
use mc_idle::host::sockets::seq_file;
use mc_idle::host::sockets::tables::{self, Tables, Wanted};
use mc_idle::host::{Host, ThisHost};
use mc_idle_rule::facts::Sockets;
use mc_idle_rule::tracker::{BACKLOG_GRACE, Counts};
use mc_idle_rule::{Efs, Facts, Moment, NetworkId, Rule, RuleSettings, Socket};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::net::{AddressFamily, SocketType};

use crate::apart;
use crate::support::agent::{Agent, settings};
use crate::support::sockets::{
    OTHER_V6, Pair, V4, V6, dual, inode, loopback, on_the_host, port, run, scope, v4, v6, waiting,
};
use crate::support::{Process, wait_until};

/// A second address, for a peer that differs from the usual one.
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(127, 7, 0, 9);

/// The line that says that a dry run has come to its end.
const STOPPED: &str = "EC2 would be asked to stop this instance now";

/// What each witness shows of the host, the tables first. Networks beside it are not looked at: this machine has others.
fn looks(scope: &Scope) -> [Sockets; 2] {
    let (scope, own) = (Scope { containers: false, ..scope.clone() }, BTreeSet::new());
    let mut host = ThisHost::below(Path::new("/"));
    let tables = host.look(at(0.0), Depth::LastLook, &scope, &own).facts;
    match host.second_look(at(0.0), &scope, &own) {
        SecondLook::Witness(facts) => [on_the_host(&tables), on_the_host(&facts)],
        SecondLook::Reread { why, .. } => panic!("{why}"),
    }
}

fn rows(sockets: &Sockets) -> Vec<Socket> {
    sockets.connections.iter().map(|connection| connection.socket).collect()
}

/// Waits until both witnesses show a listener and just these sockets, each once; fails the test if they do not.
fn assert_seen(scope: &Scope, sockets: &BTreeSet<Socket>) {
    let mut last = looks(scope);
    let as_wanted = |looks: &[Sockets; 2]| {
        looks.iter().all(|seen| {
            let distinct: BTreeSet<Socket> = rows(seen).into_iter().collect();
            !seen.listening.is_empty() && seen.connections.len() == sockets.len() && distinct == *sockets
        })
    };
    // The other end's part of a handshake may still be on its way.
    for _ in 0..100 {
        if as_wanted(&last) {
            return;
        }
        sleep(Duration::from_millis(20));
        last = looks(scope);
    }
    panic!("wanted {sockets:#?}; /proc and netlink show {last:#?}");
}

/// Connects to `to` from the address `from`. What is bound to an address may get a port that somebody listens on at another
/// one, and would pass for a connection of theirs: none of `servers` is such a port.
fn connect_from(from: IpAddr, to: SocketAddr, servers: &BTreeSet<u16>) -> TcpStream {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    loop {
        let socket = rustix::net::socket(family, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
        let own = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
        if !servers.contains(&own.port()) {
            rustix::net::connect(&socket, &to).unwrap();
            return socket.into();
        }
    }
}

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(1000.0 + seconds))
}

fn now(scope: &Scope) -> Sockets {
    let [tables, witness] = looks(scope);
    assert_eq!(sorted(&tables), sorted(&witness));
    tables
}

fn sorted(seen: &Sockets) -> (BTreeSet<SocketAddr>, Vec<Socket>) {
    let mut sockets = rows(seen);
    sockets.sort();
    (seen.listening.iter().map(|listening| listening.address).collect(), sockets)
}

/// What the rule counts on such a host.
fn counts(rule: &mut Rule, now: Moment, sockets: &Sockets) -> Counts {
    rule.observe(now, &Facts::of_host(sockets.clone()), Efs::Off);
    rule.view(now).counts.unwrap()
}

fn rule_settings(scope: &Scope, min_connection: Duration) -> RuleSettings {
    RuleSettings { min_connection, ports: scope.ports.clone(), ..Settings::default().rule_settings() }
}

#[test]
fn each_connection_is_seen_once_over_ipv4_ipv6_and_both() {
    apart!("--net");
    loopback();
    for (listener, addresses) in [(v4(), &[V4][..]), (v6(), &[V6]), (dual(), &[V4, V6])] {
        let scope = scope(&[port(&listener)]);
        assert_seen(&scope, &BTreeSet::new());
        let mut pairs = Vec::new();
        for address in addresses.iter().cycle().take(6) {
            pairs.push(Pair::open(&listener, *address));
            assert_seen(&scope, &pairs.iter().map(Pair::row).collect());
        }
        let counts = counts(&mut Rule::new(rule_settings(&scope, Duration::ZERO)), at(0.0), &now(&scope));
        assert_eq!(counts, Counts { players: 6, ..Counts::default() });
        while pairs.pop().is_some() {
            assert_seen(&scope, &pairs.iter().map(Pair::row).collect());
        }
    }
}

#[test]
fn only_the_ports_of_the_server_are_looked_at() {
    apart!("--net");
    loopback();
    let (ours, also_ours, other) = (v4(), dual(), v4());
    let scope = scope(&[port(&ours), port(&also_ours)]);
    let pairs = [Pair::open(&ours, V4), Pair::open(&also_ours, V4)];
    let _stranger = Pair::open(&other, V4);
    assert_seen(&scope, &pairs.iter().map(Pair::row).collect());
    drop((ours, also_ours));
    // The players are still on; nothing listens any more.
    let seen = now(&scope);
    assert_eq!((seen.listening.len(), seen.connections.len()), (0, 2));
}

#[test]
fn what_the_server_has_not_accepted_is_joining_for_30_s_and_then_nobody() {
    apart!("--net");
    loopback();
    let (listener, min_connection) = (dual(), Duration::from_secs(70));
    let scope = scope(&[port(&listener)]);
    let clients: Vec<TcpStream> =
        (0..10).map(|number| TcpStream::connect(([V4, V6][number % 2], port(&listener))).unwrap()).collect();
    assert_seen(&scope, &clients.iter().map(waiting).collect());

    let seen = now(&scope);
    let mut rules = [min_connection, Duration::ZERO].map(|age| Rule::new(rule_settings(&scope, age)));
    let joining = Counts { joining: 10, ..Counts::default() };
    for (seconds, expected) in [(0.0, joining), (29.9, joining), (30.0, Counts::default()), (3600.0, Counts::default())]
    {
        // However young a player may be.
        for rule in &mut rules {
            assert_eq!(counts(rule, at(seconds), &seen), expected, "after {seconds} s");
        }
    }

    // What is accepted in the end begins anew, as a young connection.
    let pairs: Vec<Pair> = clients.into_iter().map(|client| Pair::accept(&listener, client)).collect();
    wait_until("all are accepted", || rows(&now(&scope)).iter().all(|socket| socket.inode.is_some()).then_some(()));
    let young = Counts { young: pairs.len(), ..Counts::default() };
    assert_eq!(counts(&mut rules[0], at(3601.0), &now(&scope)), young);
}

/// The states of the rows with this local port, as the kernel writes them.
fn states(port: u16) -> BTreeSet<String> {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/self/net/{name}")).unwrap());
    let rows = tables.iter().flat_map(|table| table.lines().skip(1));
    let words = rows.map(|row| row.split_whitespace().collect::<Vec<_>>());
    words.filter(|row| row[1].ends_with(&format!(":{port:04X}"))).map(|row| row[3].to_owned()).collect()
}

#[test]
fn a_connection_that_one_side_has_closed_is_nobody() {
    apart!("--net");
    loopback();
    // The listening row is 0A.
    let expect = |listener: &TcpListener, state: &str| {
        wait_until(state, || states(port(listener)).contains(state).then_some(()));
        assert_eq!(states(port(listener)), BTreeSet::from(["0A".to_owned(), state.to_owned()]));
        assert_seen(&scope(&[port(listener)]), &BTreeSet::new());
    };
    // CLOSE_WAIT: the client has gone, and the server has not noticed.
    let listener = dual();
    let Pair { client, server: _server } = Pair::open(&listener, V4);
    drop(client);
    expect(&listener, "08");
    // FIN_WAIT2: the server has thrown the client out, and the client holds on.
    let listener = dual();
    let Pair { client, server } = Pair::open(&listener, V6);
    server.shutdown(Shutdown::Both).unwrap();
    expect(&listener, "05");
    // TIME_WAIT: the client has let go at last.
    drop((server, client));
    expect(&listener, "06");
    // CLOSE_WAIT of one that was never accepted.
    let listener = v4();
    drop(TcpStream::connect((V4, port(&listener))).unwrap());
    expect(&listener, "08");
}

#[test]
fn ignored_peers_are_nobody() {
    apart!("--net");
    loopback();
    let listener = dual();
    let other_v6: IpAddr = OTHER_V6.parse().unwrap();
    let port = port(&listener);
    let pairs: Vec<Pair> = [(V4, V4), (OTHER_V4.into(), V4), (V6, V6), (other_v6, V6)]
        .into_iter()
        .map(|(from, to)| Pair::accept(&listener, connect_from(from, SocketAddr::new(to, port), &[port].into())))
        .collect();
    // Of 127.0.0.1, 127.7.0.9, ::1 and fd00:7::9 these are left.
    for (ignored, left) in [
        (&[][..], &[0, 1, 2, 3][..]),
        (&["127.0.0.1"], &[1, 2, 3]),
        (&["127.7.0.0/16"], &[0, 2, 3]),
        (&["127.0.0.0/8"], &[2, 3]),
        (&["0.0.0.0/0"], &[2, 3]),
        (&["::ffff:127.7.0.9"], &[0, 2, 3]),
        (&["::ffff:127.0.0.0/104"], &[2, 3]),
        (&["::1"], &[0, 1, 3]),
        (&["fd00::/8"], &[0, 1, 2]),
        (&["fd00:7::a/127"], &[0, 1, 2, 3]),
        (&["fd00:7::8/127"], &[0, 1, 2]),
        (&["::/0"], &[0, 1]),
        (&["192.0.2.1", "2001:db8::/32"], &[0, 1, 2, 3]),
        (&["0.0.0.0/0", "::/0"], &[]),
    ] {
        // As an operator writes it.
        let text = format!("minecraft.ports = [{port}]\nminecraft.ignore_peers = {ignored:?}\n");
        let settings = mc_idle::config::load::parse(Path::new("config.toml"), &text).unwrap();
        assert_seen(&settings.scope, &left.iter().map(|number: &usize| pairs[*number].row()).collect());
    }
}

/// What the tables show, however their end is known.
fn read(net: &Path, scope: &Scope) -> Sockets {
    let own = BTreeSet::new();
    let wanted = Wanted { ports: &scope.ports, scope, own: &own };
    let [seen, told] = [seq_file::TableEnd::Seen, seq_file::TableEnd::Told].map(|end| {
        let Tables { sockets, .. } = tables::read(net, NetworkId::HOST, end, &wanted).unwrap();
        sockets
    });
    assert_eq!(seen, told);
    seen
}

#[test]
fn a_table_is_read_to_its_end_however_long_it_is() {
    apart!("--net");
    loopback();
    let net = Path::new("/proc/self/net");
    let mut open = Vec::new();
    // The kernel hands out a page at a time, which is 27 rows of `tcp`.
    for _ in 0..70 {
        let v4 = v4();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port(&v4))).unwrap();
        let pair = Pair::open(&v4, V4);
        let sockets = read(net, &scope(&[port(&v4)]));
        assert_eq!((sockets.listening.len(), rows(&sockets)), (2, vec![pair.row()]), "{} before", open.len());
        open.push((v4, v6, pair));
    }
    let all: Vec<u16> = open.iter().map(|(v4, ..)| port(v4)).collect();
    while open.pop().is_some() {
        let sockets = read(net, &scope(&all));
        assert_eq!((sockets.listening.len(), sockets.connections.len()), (2 * open.len(), open.len()));
    }
}

/// One connection of a random set.
#[derive(Debug, Clone, Copy)]
struct Plan {
    listener: usize,
    v6: bool,
    other: bool,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Accepted,
    Waiting,
    ClosedByClient,
    ClosedByServer,
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = prop::sample::select(vec![
        End::Accepted,
        End::Accepted,
        End::Waiting,
        End::ClosedByClient,
        End::ClosedByServer,
    ]);
    (0_usize..4, any::<bool>(), any::<bool>(), end).prop_map(|(listener, v6, other, end)| Plan {
        listener,
        v6,
        other,
        end,
    })
}

/// Opens what is planned and compares; the last listener's port is not looked at.
fn compare(plans: &[Plan], ignore_other: bool) {
    let listeners = [v4(), v6(), dual(), dual()];
    let mut scope = scope(&[port(&listeners[0]), port(&listeners[1]), port(&listeners[2])]);
    let others = [IpAddr::V4(OTHER_V4), OTHER_V6.parse().unwrap()];
    if ignore_other {
        scope.ignore_peers = others.map(Into::into).into();
    }
    let (mut expected, mut held) = (BTreeSet::new(), Vec::new());
    // Whoever waits stays in the backlog, so all others are accepted before.
    let (waits, accepted): (Vec<&Plan>, Vec<&Plan>) = plans.iter().partition(|plan| plan.end == End::Waiting);
    for plan in accepted.into_iter().chain(waits) {
        let listener = &listeners[plan.listener];
        let v6 = [false, true, plan.v6, plan.v6][plan.listener];
        let usual = if v6 { V6 } else { V4 };
        let from = if plan.other { others[usize::from(v6)] } else { usual };
        let client = connect_from(from, SocketAddr::new(usual, port(listener)), &scope.ports);
        let counts = plan.listener < 3 && !(plan.other && ignore_other);
        if plan.end == End::Waiting {
            expected.extend(counts.then(|| waiting(&client)));
            held.push(client);
            continue;
        }
        let Pair { client, server } = Pair::accept(listener, client);
        match plan.end {
            End::ClosedByClient => held.push(server),
            End::ClosedByServer => held.push(client),
            _ => {
                let pair = Pair { client, server };
                expected.extend(counts.then(|| pair.row()));
                held.extend([pair.client, pair.server]);
            }
        }
    }
    assert_seen(&scope, &expected);
}

#[test]
fn both_witnesses_agree_on_any_set_of_connections() {
    apart!("--net");
    loopback();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let sets = (prop::collection::vec(plan(), 0..24), any::<bool>());
    TestRunner::new(config)
        .run(&sets, |(plans, ignore_other)| {
            compare(&plans, ignore_other);
            Ok(())
        })
        .unwrap();
}

const PEER: &str = "MC_IDLE_TEST_PEER";

/// Not a test of its own: what a [`Peer`] runs.
#[test]
fn a_peer_process() {
    if std::env::var_os(PEER).is_none() {
        return;
    }
    let mut streams = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (verb, address) = line.split_once(' ').unwrap();
        if verb == "connect" {
            let stream = TcpStream::connect(address).unwrap();
            println!("connected {}", stream.local_addr().unwrap());
            streams.push(stream);
        } else {
            let listener = TcpListener::bind(address).unwrap();
            println!("listening {}", listener.local_addr().unwrap());
            // Collecting never ends, so each connection is accepted and held.
            std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
        }
    }
}

/// Another process that connects, or listens and accepts, as it is told.
struct Peer {
    process: Process,
}

impl Peer {
    fn start(mut command: Command) -> Self {
        command.args(["--exact", "sockets::a_peer_process", "--nocapture"]).env(PEER, "1");
        Peer { process: Process::start(&mut command) }
    }

    fn here() -> Self {
        Peer::start(Command::new(std::env::current_exe().unwrap()))
    }

    fn elsewhere() -> Self {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(std::env::current_exe().unwrap());
        Peer::start(command)
    }

    /// Has it do something, and returns its own address.
    fn does(&mut self, what: &str, answer: &str) -> SocketAddr {
        let said = self.process.output().len();
        self.process.say(what);
        let line = self.process.wait_for_after(said, answer).1;
        line.split_once(answer).unwrap().1.trim().parse().unwrap()
    }

    fn connect(&mut self, to: &str) -> SocketAddr {
        self.does(&format!("connect {to}"), "connected ")
    }

    fn listen(&mut self, on: &str) -> SocketAddr {
        self.does(&format!("listen {on}"), "listening ")
    }

    /// Runs `ip` in its network namespace.
    fn ip(&self, arguments: &[&str]) {
        let pid = self.process.pid().to_string();
        run("nsenter", &[&["--target", &pid, "--net", "ip"], arguments].concat());
    }
}

#[test]
fn a_player_from_elsewhere_has_its_real_address_and_the_servers_own_connections_are_nobody() {
    apart!("--net");
    loopback();
    let mut peer = Peer::elsewhere();
    let pid = peer.process.pid().to_string();
    wait_until("the other namespace is there", || {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        (namespace(&pid) != namespace("self")).then_some(())
    });
    run("ip", &["link", "add", "near", "type", "veth", "peer", "name", "far", "netns", &pid]);
    for (address, far) in [("10.77.0.1/30", "10.77.0.2/30"), ("fd77::1/64", "fd77::2/64")] {
        run("ip", &[&["address", "add", address, "dev", "near"], nodad(address)].concat());
        peer.ip(&[&["address", "add", far, "dev", "far"], nodad(far)].concat());
    }
    run("ip", &["link", "set", "near", "up"]);
    peer.ip(&["link", "set", "far", "up"]);

    let listener = dual();
    let scope = scope(&[port(&listener)]);
    let v4 = peer.connect(&format!("10.77.0.1:{}", port(&listener)));
    let v6 = peer.connect(&format!("[fd77::1]:{}", port(&listener)));
    assert_eq!([v4.ip(), v6.ip()], ["10.77.0.2", "fd77::2"].map(|address| address.parse::<IpAddr>().unwrap()));
    // Whoever was first in the queue is accepted first.
    let servers = [listener.accept().unwrap().0, listener.accept().unwrap().0];
    let rows = [("10.77.0.1", v4), ("fd77::1", v6)].into_iter().zip(&servers).map(|((address, peer), server)| Socket {
        network: NetworkId::HOST,
        local: SocketAddr::new(address.parse().unwrap(), port(&listener)),
        peer,
        inode: Some(inode(server)),
    });
    let rows: BTreeSet<Socket> = rows.collect();
    assert_seen(&scope, &rows);

    // This host as a client of another server, on the very same port.
    let server = peer.listen(&format!("10.77.0.2:{}", port(&listener)));
    let _client = TcpStream::connect(server).unwrap();
    assert_seen(&scope, &rows);
}

fn nodad(address: &str) -> &'static [&'static str] {
    // The check for another owner of an IPv6 address takes a second.
    if address.contains("::") { &["nodad"] } else { &[] }
}

/// The agent in a dry run, with a server on `port`.
fn agent(port: u16, idle_seconds: f64, further: &[&str]) -> Agent {
    // This machine has other networks; and that a question is put to the server is another test's.
    let apart = ["minecraft.containers = false", "minecraft.ask = false", "minecraft.bedrock_ports = []"];
    Agent::start(&settings(port, idle_seconds, &[&apart, further].concat()), |command| {
        command.arg("--dry-run");
    })
}

#[test]
fn a_frozen_server_has_no_players_and_does_not_hold_off_the_stop_for_ever() {
    apart!("--net");
    loopback();
    let mut server = Peer::here();
    let address = server.listen("[::]:0");
    server.process.freeze();
    let _clients: Vec<TcpStream> =
        (0..10).map(|number| TcpStream::connect(([V4, V6][number % 2], address.port())).unwrap()).collect();
    let agent = agent(address.port(), 1.0, &["minecraft.min_connection_seconds = 1"]);
    agent.process.wait_for("but somebody may be joining on port");
    // Nothing happens for most of the grace.
    sleep(BACKLOG_GRACE / 2);
    assert!(!agent.process.output().join("\n").contains(STOPPED), "{:#?}", agent.process.output());
    agent.process.wait_for(STOPPED);
    let told = agent.notices.statuses();
    assert!(
        !told.iter().any(|status| status.contains("player is on") || status.contains("players are on")),
        "{told:#?}"
    );
}

#[test]
fn silent_holders_do_not_reset_the_idle_clock() {
    apart!("--net");
    loopback();
    let mut server = Peer::here();
    let address = server.listen("[::]:0");
    let to = SocketAddr::new(V4, address.port());
    // Each hold is longer than a few samples and shorter than a player's age; the window is longer than the gaps.
    let agent = agent(address.port(), 10.0, &["minecraft.min_connection_seconds = 8"]);
    agent.process.wait_for("No players on");
    let holds = (1..)
        .take_while(|_| {
            let holder = TcpStream::connect(to).unwrap();
            sleep(Duration::from_millis(1500));
            drop(holder);
            sleep(Duration::from_millis(700));
            !agent.process.output().join("\n").contains(STOPPED)
        })
        .take(12)
        .count();
    assert!((2..12).contains(&holds), "{holds} holds: {:#?}", agent.process.output());
    let told = agent.notices.statuses();
    assert!(told.iter().any(|status| status.contains("1 connection is too young to count.")), "{told:#?}");
    assert!(!told.iter().any(|status| status.contains("player is on")), "{told:#?}");
}

#[test]
fn a_holder_that_stays_is_a_player_and_does_reset_the_clock() {
    apart!("--net");
    loopback();
    let mut server = Peer::here();
    let address = server.listen("127.0.0.1:0");
    let agent = agent(address.port(), 3.0, &["minecraft.min_connection_seconds = 1"]);
    let player = TcpStream::connect(address).unwrap();
    agent.process.wait_for("1 player is on port");
    sleep(Duration::from_secs(4));
    assert!(!agent.process.output().join("\n").contains(STOPPED));
    let told = agent.notices.countdown().len();
    drop(player);
    agent.process.wait_for(STOPPED);
    assert_eq!(agent.notices.countdown().get(told), Some(&3), "the whole window again");
}

#[test]
fn where_nothing_listens_and_ipv6_is_off_the_machine_stops_all_the_same() {
    apart!("--net");
    loopback();
    for place in ["all", "default", "lo"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{place}/disable_ipv6"), "1").unwrap();
    }
    assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err(), "IPv6 is still on");
    let agent = agent(25565, 600.0, &["no_server_minutes = 0.02"]);
    agent.process.wait_for("No server on port 25565");
    agent.process.wait_for(STOPPED);
}
