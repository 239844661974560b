//! When the second witness of a stop is believed: netlink, held against the tables before it and after it.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::spawn;
use std::time::Duration;

use mc_idle::config::settings::Scope;
use mc_idle::host::{Host, ThisHost};
use mc_idle::idle::Reading;
use support::sockets::{Pair, V4, dual, loopback, port, scope, seen, v4};
use tempfile::TempDir;

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

    fn witness(&self) -> Reading {
        let scope = Scope { containers: false, ..scope(&[25565]) };
        ThisHost::below(self.folder.path()).witness(&scope)
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
        assert_eq!(
            host.witness(),
            Reading::Unknown("netlink does not show 1 of the sockets that /proc shows".to_owned())
        );
    }
}

#[test]
fn a_socket_that_closes_while_the_witness_looks_does_not_make_it_unbelievable() {
    apart!("--net");
    loopback();
    let _listener = v4();
    for row in [LISTENER, CONNECTION] {
        // Before the first answer and not after it.
        seen(HostWithOneMore::new(2, row, |number| number == 0).witness());
        // What one answer has passed over the next one may have.
        seen(HostWithOneMore::new(3, row, |number| number < 2).witness());
    }
}

#[test]
fn a_machine_on_which_sockets_come_and_go_all_the_time_has_a_second_witness() {
    apart!("--net");
    loopback();
    let listener = dual();
    let scope = scope(&[port(&listener)]);
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
        assert!(seen(host.witness(&scope)).listener);
    }
    over.store(true, Ordering::Relaxed);
    for thread in churn {
        thread.join().unwrap();
    }
}
