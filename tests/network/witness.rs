//! When the second witness of a stop is believed: netlink, held against the tables before it and after it.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::Duration;

use mc_idle::config::settings::Scope;
use mc_idle::host::networks::{Depth, SecondLook};
use mc_idle::host::sockets::tables::Wanted;
use mc_idle::host::sockets::{sock_diag, witness};
use mc_idle::host::{Host, ThisHost};
use mc_idle_rule::facts::Sockets;
use mc_idle_rule::{Facts, Moment, NetworkId};
use tempfile::TempDir;

use crate::apart;
use crate::skip_unless;
use crate::support::sockets::{Pair, V4, V6, dual, loopback, on_the_host, port, scope, v4};

/// A host whose tables show, besides what this host's do, a socket that this host does not have. They come out of pipes,
/// so that every reading may have another text.
struct HostWithOneMore {
    folder: TempDir,
}

impl HostWithOneMore {
    /// The row stands in the readings whose number, from 0, `shows`; `tcp` is read that often.
    fn new(readings: usize, row: &'static str, shows: impl Fn(usize) -> bool + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("proc/self/net");
        fs::create_dir_all(&net).unwrap();
        // IPv6 is turned off there: a missing table is none.
        let tcp = net.join("tcp");
        rustix::fs::mkfifoat(rustix::fs::CWD, &tcp, 0o600.into()).unwrap();
        // It ends when all are read, or with the test's process.
        spawn(move || {
            for number in 0..readings {
                let mut pipe = fs::OpenOptions::new().write(true).open(&tcp).unwrap();
                let mut text = fs::read_to_string("/proc/self/net/tcp").unwrap();
                text.push_str(if shows(number) { row } else { "" });
                // Before the reader can come again for the next text.
                let fresh = tcp.with_extension("fresh");
                rustix::fs::mkfifoat(rustix::fs::CWD, &fresh, 0o600.into()).unwrap();
                fs::rename(&fresh, &tcp).unwrap();
                pipe.write_all(text.as_bytes()).unwrap();
            }
        });
        HostWithOneMore { folder }
    }

    fn witness(&self) -> Result<Sockets, String> {
        let (scope, own) = (scope(&[25565]), BTreeSet::new());
        let wanted = Wanted { ports: &scope.ports, scope: &scope, own: &own };
        witness::ask(&self.folder.path().join("proc/self/net"), &wanted).map_err(|error| error.to_string())
    }
}

const NOW: Moment = Moment(Duration::from_secs(1000));

/// What the second witness shows; fails the test if there is none.
fn second_look(host: &mut ThisHost, scope: &Scope) -> Facts {
    match host.second_look(NOW, scope, &BTreeSet::new()) {
        SecondLook::Witness(facts) => facts,
        SecondLook::Reread { why, .. } => panic!("{why}"),
    }
}

const LISTENER: &str = "   9: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4000000001 1 0000000000000000 100 0 0 10 0\n";
const CONNECTION: &str = "   9: 0100007F:0016 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4000000001 1 0000000000000000 20 4 30 10 -1\n";

#[test]
fn a_witness_that_does_not_show_what_is_there_is_not_believed() {
    apart!("--net");
    loopback();
    let _listener = v4();
    for row in [LISTENER, CONNECTION] {
        let host = HostWithOneMore::new(6, row, |_| true);
        assert_eq!(host.witness(), Err("netlink does not show 1 of the sockets that /proc shows".to_owned()));
    }
}

#[test]
fn a_socket_that_closes_while_the_witness_looks_does_not_make_it_unbelievable() {
    apart!("--net");
    loopback();
    let _listener = v4();
    for row in [LISTENER, CONNECTION] {
        // Before the first answer and not after it.
        HostWithOneMore::new(2, row, |number| number == 0).witness().unwrap();
        // What one answer has passed over the next one may have.
        HostWithOneMore::new(3, row, |number| number < 2).witness().unwrap();
    }
}

#[test]
fn a_machine_on_which_sockets_come_and_go_all_the_time_has_a_second_witness() {
    apart!("--net");
    loopback();
    let listener = dual();
    // To go through the networks of the whole machine each time would only take long.
    let scope = Scope { containers: false, ..scope(&[port(&listener)]) };
    let over = Arc::new(AtomicBool::new(false));
    let churn: Vec<_> = (0..4)
        .map(|_| {
            let over = Arc::clone(&over);
            spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let listener = v4();
                    let Pair { client, server } = Pair::open(&listener, V4);
                    // With a reset: what is left over of other connections would make the tables longer and longer.
                    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
                    drop(client);
                    drop(server);
                }
            })
        })
        .collect();
    let mut host = ThisHost::below(Path::new("/"));
    for _ in 0..100 {
        let facts = second_look(&mut host, &scope);
        assert_eq!(on_the_host(&facts).listening.len(), 1);
    }
    over.store(true, Ordering::Relaxed);
    for thread in churn {
        thread.join().unwrap();
    }
}

#[test]
fn the_second_witness_shows_who_is_connected_and_never_the_agents_own_questions() {
    apart!("--net");
    loopback();
    let listener = dual();
    let scope = scope(&[port(&listener)]);
    let (player, question) = (Pair::open(&listener, V4), Pair::open(&listener, V4));
    let own = BTreeSet::from([question.client.local_addr().unwrap()]);
    let mut host = ThisHost::below(Path::new("/"));
    let SecondLook::Witness(facts) = host.second_look(NOW, &scope, &own) else { panic!("no second witness") };
    let sockets = on_the_host(&facts);
    let rows: Vec<_> = sockets.connections.iter().map(|connection| connection.socket).collect();
    assert_eq!(rows, [player.row()]);
    assert_eq!(sockets.far_ends.len(), 1, "{:?}", sockets.far_ends);
    assert!(facts.networks.iter().any(|network| network.id == NetworkId::HOST));
}

#[test]
fn the_kernel_tells_how_much_has_come_in_on_a_connection() {
    apart!("--net");
    loopback();
    for address in [V4, V6] {
        let listener = dual();
        let Pair { mut client, mut server } = Pair::open(&listener, address);
        let (local, peer) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        let received = || sock_diag::ask(&BTreeSet::new(), [(local, peer)]).unwrap().received[&(local, peer)];
        assert_eq!(received(), 0);
        for total in [1000, 2000] {
            client.write_all(&[7; 1000]).unwrap();
            server.read_exact(&mut [0; 1000]).unwrap();
            assert_eq!(received(), total);
        }
        // What is sent the other way is not the client's.
        server.write_all(&[7; 1000]).unwrap();
        client.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(received(), 2000);
        // Of one that there is not nothing is told, nor of a listener in its place.
        let nobody = "127.0.0.1:9".parse().unwrap();
        assert!(sock_diag::ask(&BTreeSet::new(), [(local, nobody)]).unwrap().received.is_empty());
        // A look has it, too.
        let scope = scope(&[local.port()]);
        let facts = ThisHost::below(Path::new("/")).look(NOW, Depth::Sample, &scope, &BTreeSet::new()).facts;
        assert_eq!(on_the_host(&facts).connections[0].received, Some(2000));
    }
}

#[test]
fn the_kernel_tells_which_control_group_a_listener_was_made_in() {
    apart!("--net");
    loopback();
    let listener = dual();
    let address = listener.local_addr().unwrap();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folders = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|root| Path::new(root).join(path));
    let version_2 = folders.iter().find(|folder| folder.join("cgroup.procs").exists());
    skip_unless!(version_2.is_some(), "control groups of version 2");
    let inode = fs::metadata(version_2.unwrap()).unwrap().ino();
    let diagnosis = sock_diag::ask(&[address.port()].into(), []).unwrap();
    assert_eq!(diagnosis.control_groups.get(&address), Some(&inode), "{diagnosis:?}");
}
