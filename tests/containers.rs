//! Containers whose processes end while their tables are read. Their tables are pipes here, so that the test decides
//! what happens between the first and the second of them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "ends the test at what is wrong")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mc_idle::config::Settings;
use mc_idle::host::{Host, ThisHost};
use mc_idle::idle::Reading;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

const HEADER: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
/// Somebody from 192.0.2.7 on port 25565, and the server.
const PLAYER: &str = "\
   0: 00000000000000000000000000000000:63DD 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 100 0 0 10 0\n   \
   1: 0000000000000000FFFF0000020011AC:63DD 0000000000000000FFFF0000070200C0:C350 01 00000000:00000000 00:00000000 00000000  1000        0 102 1 0 20 4 0 10 -1\n";

/// How long a look at a folder may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(20);

/// A host with processes of its own, and process 100 in a container.
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
            fs::write(net.join("../cgroup"), "0::/init.scope\n").unwrap();
            fs::write(net.join("../comm"), "init\n").unwrap();
        }
        // One network has one file.
        fs::write(root.path().join("proc/1/net/tcp"), HEADER).unwrap();
        fs::hard_link(root.path().join("proc/1/net/tcp"), root.path().join("proc/self/net/tcp")).unwrap();
        let machine = Machine { root };
        machine.starts(100);
        machine
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
        fs::write(net.join("../cgroup"), format!("0::/system.slice/docker-{}.scope\n", "a1".repeat(32))).unwrap();
        fs::write(net.join("../comm"), "java\n").unwrap();
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

/// How many are connected, or why that is unknown, after one look while `meanwhile` is done.
fn look(machine: Machine, meanwhile: impl FnOnce(&Machine) + Send + 'static) -> Result<usize, String> {
    let machine = Arc::new(machine);
    let (sender, seen) = mpsc::channel();
    let root = machine.root.path().to_owned();
    thread::spawn(move || sender.send(ThisHost::below(&root).sample(&Settings::default().scope).reading));
    let (hands, done) = mpsc::channel();
    let meanwhile_machine = Arc::clone(&machine);
    thread::spawn(move || {
        meanwhile(&meanwhile_machine);
        hands.send(())
    });
    let reading = seen.recv_timeout(STUCK).expect("the look ends");
    done.recv_timeout(STUCK).expect("all of it has happened");
    match reading {
        Reading::Seen(seen) => Ok(seen.sockets.len()),
        Reading::Unknown(why) => Err(why),
    }
}

#[test]
fn a_process_that_ends_between_its_tables_does_not_hide_those_who_are_connected() {
    // Its first table is read on, but the second one is gone; the container lives on in a process that came later.
    let seen = look(Machine::new(), |machine| {
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
    assert_eq!(look(Machine::new(), |machine| machine.first_table(100, || machine.ends(100))), Ok(0));
}

#[test]
fn a_container_whose_processes_end_again_and_again_is_unknown() {
    let seen = look(Machine::new(), |machine| {
        for id in 100..103 {
            machine.first_table(id, || {
                machine.ends(id);
                machine.starts(id + 1);
            });
        }
    });
    assert!(seen.as_ref().is_err_and(|why| why.contains("end while its sockets are read")), "{seen:?}");
}

#[test]
fn a_network_whose_only_process_ends_before_it_says_what_it_is_in_is_unknown() {
    let machine = Machine::new();
    let groups = machine.process(100).join("cgroup");
    fs::remove_file(&groups).unwrap();
    let seen = look(machine, |_| {});
    assert!(seen.as_ref().is_err_and(|why| why.contains("end while its sockets are read")), "{seen:?}");
}

#[test]
fn a_container_without_ipv6_is_read_for_what_it_has() {
    let machine = Machine::new();
    fs::remove_file(machine.process(100).join("net/tcp6")).unwrap();
    assert_eq!(look(machine, |machine| machine.first_table(100, || {})), Ok(0));
}

#[test]
fn the_second_witness_finds_a_container_that_the_samples_have_not_looked_for() {
    let machine = Machine::new();
    machine.ends(100);
    // Only a process that is new makes a sample look for containers anew.
    fs::write(machine.root.path().join("proc/loadavg"), "0.00 0.01 0.05 1/200 99\n").unwrap();
    let scope = Settings::default().scope;
    let mut host = ThisHost::below(machine.root.path());
    let from_the_container = |reading: Reading| match reading {
        Reading::Seen(seen) => {
            let peer = "192.0.2.7:50000".parse().unwrap();
            seen.sockets.iter().filter(|socket| socket.peer == peer).count()
        }
        Reading::Unknown(why) => panic!("unknown: {why}"),
    };
    assert_eq!(from_the_container(host.sample(&scope).reading), 0);
    machine.starts(100);
    let table = machine.process(100).join("net/tcp");
    fs::remove_file(&table).unwrap();
    fs::write(&table, HEADER).unwrap();
    assert_eq!(from_the_container(host.sample(&scope).reading), 0);
    assert_eq!(from_the_container(host.witness(&scope)), 1);
}
