//! How often each network is looked at, and through which process. Networks of folders first, whose processes end while their
//! tables are read: those are pipes, so that the test decides what happens between the first and the second of them. Then real
//! ones.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "ends the test at what is wrong")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mc_idle::config::Settings;
use mc_idle::host::networks::{Depth, SecondLook};
use mc_idle::host::{Host, ThisHost};
use mc_idle_rule::{Facts, Moment, NetworkId};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::skip_unless;
use crate::support::{Process, root};

const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const HEADER: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
/// Somebody from 192.0.2.7 on port 25565, and the server.
const PLAYER: &str = "\
   0: 00000000000000000000000000000000:63DD 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 100 0 0 10 0\n   \
   1: 0000000000000000FFFF0000020011AC:63DD 0000000000000000FFFF0000070200C0:C350 01 00000000:00000000 00:00000000 00000000  1000        0 102 1 0 20 4 0 10 -1\n";

/// How long a look at a folder may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(20);

/// A host with processes of its own.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for process in ["1", "self"] {
            let net = root.path().join("proc").join(process).join("net");
            fs::create_dir_all(&net).unwrap();
            fs::write(net.join("tcp6"), HEADER).unwrap();
            fs::write(net.join("udp"), UDP_HEADER).unwrap();
            fs::write(net.join("../cgroup"), "0::/init.scope\n").unwrap();
            fs::write(net.join("../comm"), "init\n").unwrap();
        }
        // One network has one file.
        fs::write(root.path().join("proc/1/net/tcp"), HEADER).unwrap();
        fs::hard_link(root.path().join("proc/1/net/tcp"), root.path().join("proc/self/net/tcp")).unwrap();
        Machine { root }
    }

    /// The same with process 100 in a container.
    fn with_a_container() -> Self {
        let machine = Machine::new();
        machine.starts(100);
        machine
    }

    fn host(&self) -> ThisHost {
        ThisHost::below(self.root.path())
    }

    fn process(&self, id: u32) -> PathBuf {
        self.root.path().join("proc").join(id.to_string())
    }

    /// A process of the container, with somebody connected in its second table.
    fn starts(&self, id: u32) {
        let net = self.process(id).join("net");
        fs::create_dir_all(&net).unwrap();
        mknodat(CWD, net.join("tcp"), FileType::Fifo, Mode::from(0o644), 0).unwrap();
        fs::write(net.join("tcp6"), format!("{HEADER}{PLAYER}")).unwrap();
        fs::write(net.join("udp"), UDP_HEADER).unwrap();
        fs::write(net.join("../cgroup"), format!("0::/system.slice/docker-{}.scope\n", "a1".repeat(32))).unwrap();
        fs::write(net.join("../comm"), "java\n").unwrap();
    }

    /// The same with tables that are files.
    fn starts_with(&self, id: u32, rows: &str) {
        self.starts(id);
        let net = self.process(id).join("net");
        fs::remove_file(net.join("tcp")).unwrap();
        fs::write(net.join("tcp"), HEADER).unwrap();
        fs::write(net.join("tcp6"), format!("{HEADER}{rows}")).unwrap();
    }

    /// A process in the same network as `other`.
    fn starts_beside(&self, id: u32, other: u32) {
        self.starts(id);
        let tables = self.process(id).join("net/tcp");
        fs::remove_file(&tables).unwrap();
        fs::hard_link(self.process(other).join("net/tcp"), tables).unwrap();
    }

    fn ends(&self, id: u32) {
        fs::remove_dir_all(self.process(id)).unwrap();
    }

    /// Waits until the first table of `id` is being read, and hands it out after `meanwhile`.
    fn first_table(&self, id: u32, meanwhile: impl FnOnce()) {
        let mut pipe = OpenOptions::new().write(true).open(self.process(id).join("net/tcp")).unwrap();
        meanwhile();
        pipe.write_all(HEADER.as_bytes()).unwrap();
    }
}

fn at(seconds: f64) -> Moment {
    Moment(Duration::from_secs_f64(1000.0 + seconds))
}

fn facts(host: &mut ThisHost, now: Moment, depth: Depth) -> Facts {
    host.look(now, depth, &Settings::default().scope, &BTreeSet::new()).facts
}

/// What the second of two sources shows, whichever that is here.
fn second_facts(host: &mut ThisHost, now: Moment) -> Facts {
    match host.second_look(now, &Settings::default().scope, &BTreeSet::new()) {
        SecondLook::Witness(facts) | SecondLook::Reread { facts, .. } => facts,
    }
}

/// How many are connected in the networks beside the host's, or why that is unknown.
fn connected(facts: &Facts) -> Result<usize, String> {
    let others = facts.networks.iter().filter(|network| !network.id.is_host());
    let numbers = others.map(|network| network.sockets.as_ref().map(|sockets| sockets.connections.len()));
    numbers.sum::<Result<usize, &String>>().map_err(Clone::clone)
}

/// How many are connected, or why that is unknown, after one look while `meanwhile` is done.
fn look(machine: Machine, meanwhile: impl FnOnce(&Machine) + Send + 'static) -> Result<usize, String> {
    let machine = Arc::new(machine);
    let (sender, seen) = mpsc::channel();
    let mut host = machine.host();
    thread::spawn(move || sender.send(facts(&mut host, at(0.0), Depth::Sample)));
    let (hands, done) = mpsc::channel();
    let meanwhile_machine = Arc::clone(&machine);
    thread::spawn(move || {
        meanwhile(&meanwhile_machine);
        hands.send(())
    });
    let facts = seen.recv_timeout(STUCK).expect("the look ends");
    done.recv_timeout(STUCK).expect("all of it has happened");
    connected(&facts)
}

#[test]
fn a_process_that_ends_between_its_tables_does_not_hide_those_who_are_connected() {
    // Its first table is read on, but the second one is gone; the container lives on in a process that came later.
    let seen = look(Machine::with_a_container(), |machine| {
        machine.first_table(100, || {
            machine.ends(100);
            machine.starts(200);
        });
        machine.first_table(200, || {});
    });
    assert_eq!(seen, Ok(1));
}

#[test]
fn a_container_that_ends_while_it_is_read_is_no_trouble() {
    assert_eq!(look(Machine::with_a_container(), |machine| machine.first_table(100, || machine.ends(100))), Ok(0));
}

#[test]
fn a_container_whose_processes_end_again_and_again_is_unknown() {
    let seen = look(Machine::with_a_container(), |machine| {
        for id in 100..102 {
            machine.first_table(id, || {
                machine.ends(id);
                machine.starts(id + 1);
            });
        }
        machine.first_table(102, || {
            machine.starts_beside(103, 102);
            machine.ends(102);
        });
    });
    assert!(seen.as_ref().is_err_and(|why| why.contains("exited while its sockets were being read")), "{seen:?}");
}

#[test]
fn containers_that_come_and_go_all_the_time_are_no_trouble() {
    let seen = look(Machine::with_a_container(), |machine| {
        for id in 100..103 {
            machine.first_table(id, || {
                machine.ends(id);
                machine.starts(id + 1);
            });
        }
    });
    assert_eq!(seen, Ok(0));
}

#[test]
fn a_container_without_ipv6_is_read_for_what_it_has() {
    let machine = Machine::with_a_container();
    fs::remove_file(machine.process(100).join("net/tcp6")).unwrap();
    assert_eq!(look(machine, |machine| machine.first_table(100, || {})), Ok(0));
}

#[test]
fn processes_are_gone_through_every_30_s_and_in_every_last_look() {
    // A new process is found by going through all of them, and by nothing else.
    type LookAt = fn(&mut ThisHost) -> Facts;
    let cases: [(&str, LookAt, usize); 5] = [
        ("the next sample", |host| facts(host, at(5.0), Depth::Sample), 0),
        ("a sample after 29.9 s", |host| facts(host, at(29.9), Depth::Sample), 0),
        ("a sample after 30 s", |host| facts(host, at(30.0), Depth::Sample), 1),
        ("a last look", |host| facts(host, at(0.1), Depth::LastLook), 1),
        ("the second reading of a last look", |host| second_facts(host, at(0.1)), 1),
    ];
    for (name, look, expected) in cases {
        let machine = Machine::new();
        let mut host = machine.host();
        assert_eq!(connected(&facts(&mut host, at(0.0), Depth::Sample)), Ok(0));
        machine.starts_with(100, PLAYER);
        assert_eq!(connected(&look(&mut host)), Ok(expected), "{name}");
    }
}

#[test]
fn a_network_in_which_nothing_listens_is_read_every_30_s_and_every_other_in_each_sample() {
    let listener = PLAYER.split_inclusive('\n').next().unwrap();
    for (before, depth, seconds, expected) in [
        ("", Depth::Sample, 29.9, 0),
        ("", Depth::Sample, 30.0, 1),
        ("", Depth::LastLook, 0.1, 1),
        (listener, Depth::Sample, 0.1, 1),
    ] {
        let machine = Machine::new();
        machine.starts_with(100, before);
        let mut host = machine.host();
        assert_eq!(connected(&facts(&mut host, at(0.0), Depth::Sample)), Ok(0));
        fs::write(machine.process(100).join("net/tcp6"), format!("{HEADER}{PLAYER}")).unwrap();
        assert_eq!(
            connected(&facts(&mut host, at(seconds), depth)),
            Ok(expected),
            "{before:?}, {depth:?}, {seconds} s"
        );
    }
}

#[test]
fn the_second_reading_goes_through_another_process_of_the_network() {
    let machine = Machine::new();
    machine.starts_with(100, "");
    machine.starts_with(101, PLAYER);
    // One network has one file; what else they show is not the same here, so that it is seen through which one it was read.
    let table = |id| machine.process(id).join("net/tcp");
    fs::remove_file(table(101)).unwrap();
    fs::hard_link(table(100), table(101)).unwrap();
    let mut host = machine.host();
    assert_eq!(connected(&facts(&mut host, at(0.0), Depth::LastLook)), Ok(0));
    assert_eq!(connected(&second_facts(&mut host, at(0.0))), Ok(1));
    // Where there is no other, through the same.
    machine.ends(100);
    assert_eq!(connected(&second_facts(&mut host, at(0.0))), Ok(1));
}

#[test]
fn a_network_in_which_no_tcp_is_in_use_is_not_walked() {
    let machine = Machine::new();
    machine.starts_with(100, PLAYER);
    let net = machine.process(100).join("net");
    let sockstat = |tcp, tcp6| {
        fs::write(net.join("sockstat"), format!("sockets: used 1\nTCP: inuse {tcp} orphan 0\nUDP: inuse 0 mem 0\n"))
            .unwrap();
        fs::write(net.join("sockstat6"), format!("TCP6: inuse {tcp6}\nUDP6: inuse 0\n")).unwrap();
    };
    for (tcp, tcp6, expected) in [(0, 0, 0), (1, 0, 1), (0, 1, 1)] {
        sockstat(tcp, tcp6);
        assert_eq!(connected(&facts(&mut machine.host(), at(0.0), Depth::LastLook)), Ok(expected), "{tcp}, {tcp6}");
    }
}

const SERVER: &str = "MC_IDLE_TEST_SERVER";

/// Not a test of its own: a server in a network of its own, with one who is connected.
#[test]
fn a_server_process() {
    if std::env::var_os(SERVER).is_none() {
        return;
    }
    crate::support::sockets::loopback();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 25565)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    println!("connected");
    // Until the test has seen enough.
    std::io::stdin().lines().for_each(drop);
    drop((client, server));
}

struct Server {
    process: Process,
    network: NetworkId,
}

impl Server {
    fn start() -> Self {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(std::env::current_exe().unwrap());
        command.args(["--exact", "networks::a_server_process", "--nocapture"]).env(SERVER, "1");
        let process = Process::start(&mut command);
        process.wait_for("connected");
        let network = fs::metadata(format!("/proc/{}/net/tcp", process.pid())).unwrap().ino();
        Server { process, network: NetworkId(network) }
    }

    /// How many are connected to it; `None`: its network is not seen.
    fn connected(&self, facts: &Facts) -> Option<usize> {
        let network = facts.networks.iter().find(|network| network.id == self.network)?;
        Some(network.sockets.as_ref().unwrap().connections.len())
    }
}

#[test]
fn a_real_network_namespace_is_found_within_30_s_and_in_every_last_look() {
    skip_unless!(root(), "root");
    let mut host = ThisHost::below(Path::new("/"));
    let _ = facts(&mut host, at(0.0), Depth::Sample);
    let mut server = Server::start();
    assert_eq!(server.connected(&facts(&mut host, at(29.9), Depth::Sample)), None);
    assert_eq!(server.connected(&facts(&mut host, at(30.0), Depth::Sample)), Some(1));
    let second = Server::start();
    assert_eq!(second.connected(&facts(&mut host, at(31.0), Depth::Sample)), None);
    assert_eq!(second.connected(&facts(&mut host, at(31.0), Depth::LastLook)), Some(1));
    let third = Server::start();
    assert_eq!(third.connected(&second_facts(&mut host, at(32.0))), Some(1));
    // Its own loopback interface has brought the connection.
    let seen = facts(&mut host, at(33.0), Depth::LastLook);
    let received = seen.networks.iter().find(|network| network.id == third.network).unwrap().received;
    assert!(received.is_some_and(|received| received > 0), "{received:?}");
    server.process.signal(rustix::process::Signal::KILL);
    server.process.wait();
    assert_eq!(server.connected(&facts(&mut host, at(34.0), Depth::LastLook)), None);
    assert_eq!(third.connected(&facts(&mut host, at(34.0), Depth::LastLook)), Some(1));
}
