//! What comes from outside and is no player: nothing is started, and the friend gets in meanwhile.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use mc_broker_core::connection::HANDSHAKE;
use mc_broker_core::wire::writer::Packet;

use crate::broker::Broker;
use crate::stand_ins::{Launcher, SessionServer, status};
use crate::support::wait_until;
use crate::wire::{Client, handshake, held, login_start};

fn asleep(further: &str) -> (Launcher, SessionServer, Broker) {
    let (launcher, sessions) = (Launcher::start(status("asleep", None)), SessionServer::start());
    let broker = Broker::start(&launcher, &sessions, further);
    wait_until("it has heard", || {
        (Client::connect(broker.port, 774).status()["description"]["text"] == "Asleep. Join to start it.").then_some(())
    });
    (launcher, sessions, broker)
}

/// An address of this machine's own, one of very many.
fn somewhere(number: usize) -> Ipv4Addr {
    let [a, b, ..] = (number / 250).to_le_bytes();
    let c = u8::try_from(1 + number % 250).unwrap();
    Ipv4Addr::new(127, 1 + b, a, c)
}

/// What scanners and bots do, by number.
fn try_something(number: usize, port: u16, sessions: &SessionServer) -> Option<Client> {
    let mut client = Client::connect_from(somewhere(number), port, 774).ok()?;
    match number % 9 {
        0 => drop(client.status()),
        1 => {
            client.send(b"\xfe\x01");
            let mut answer = Vec::new();
            client.stream.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(&[0xff]) && answer.len() > 40, "a legacy ping is answered: {answer:?}");
        }
        // A port scan, and somebody who says nothing.
        2 => drop(client),
        3 => return Some(client),
        // Half a handshake.
        4 => {
            client.send(&handshake(774, 2)[..7]);
            return Some(client);
        }
        // No name at all, or one that nobody has.
        5 => {
            client.send(&handshake(774, 2));
            client.send(&login_start(774, "a name"));
            assert!(client.is_closed());
        }
        // A name on the list without a session: nobody asks for it.
        6 => {
            client.log_in("alex");
            return Some(client);
        }
        // The same, with a lie.
        7 => {
            client.log_in("alex");
            client.encrypt("alex", None);
            assert!(client.told().contains("could not be verified"));
            let _ = sessions;
        }
        // Something else altogether.
        _ => {
            // Longer than what its first letter is as the length of a packet: a shorter one is waited for.
            client.send(b"GET / HTTP/1.1\r\nhost: play.example.org\r\nuser-agent: a scanner, as there are many\r\naccept: */*\r\n\r\n");
            assert!(client.is_closed());
        }
    }
    None
}

#[test]
fn ten_thousand_mixed_tries_from_many_addresses_start_nothing_and_the_friend_gets_in() {
    const TRIES: usize = 10_000;
    let (launcher, sessions, broker) = asleep("allow = [\"alex\", \"friend\"]");
    let (next, port) = (AtomicUsize::new(0), broker.port);
    let friend_is_in = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let mut open = std::collections::VecDeque::new();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= TRIES {
                        return;
                    }
                    open.extend(try_something(number, port, &sessions));
                    // Some stay, as long as they may.
                    if open.len() > 20 {
                        open.pop_front();
                    }
                    if number == TRIES / 2 {
                        assert!(launcher.starts().is_empty());
                        let _friend = held(port, 774, "friend", &sessions);
                        wait_until("the friend's start", || (!launcher.starts().is_empty()).then_some(()));
                        friend_is_in.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(friend_is_in.load(Ordering::SeqCst));
    assert!(launcher.starts().iter().all(|name| name == "friend"), "{:?}", launcher.starts());
}

#[test]
fn what_no_client_sends_ends_the_connection_and_nothing_else() {
    let (launcher, _sessions, broker) = asleep("");
    let hello = handshake(774, 2);
    let long = vec![b'x'; 3000];
    let hostile: Vec<Vec<u8>> = vec![
        b"\x00".to_vec(),
        b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x80\x80\x80\x80\x80\x80".to_vec(),
        b"\xff\xff\xff\xff\x0f\x00".to_vec(),
        b"\xff\xff\x7f\x00".to_vec(),
        b"\x81\x10\x00".to_vec(),
        long.clone(),
        Packet::new(0).varint(774).text(&"x".repeat(1500)).raw(&[0, 0]).varint(2).framed(),
        Packet::new(0).varint(774).varint(u32::MAX).raw(&[0, 0]).varint(2).framed(),
        handshake(774, 0),
        handshake(774, 9),
        handshake(u32::MAX, 7),
        [hello.clone(), Packet::new(0).varint(u32::MAX).raw(b"alex").framed()].concat(),
        [hello.clone(), Packet::new(0).text("seventeen_letters").u128(1).framed()].concat(),
        [hello.clone(), Packet::new(0).text("alex").framed()].concat(),
        [hello.clone(), Packet::new(1).bytes(b"no").bytes(b"request").framed()].concat(),
        [hello.clone(), Packet::new(3).framed()].concat(),
        [handshake(774, 1), Packet::new(1).framed()].concat(),
        [handshake(774, 1), login_start(774, "alex")].concat(),
        [hello.clone(), long].concat(),
    ];
    for bytes in &hostile {
        let mut client = Client::connect(broker.port, 774);
        client.send(bytes);
        assert!(client.is_closed(), "{bytes:?}");
    }
    // Behind a good beginning.
    let mut client = Client::connect(broker.port, 774);
    client.log_in("alex");
    client.packet().unwrap();
    client.send(&Packet::new(1).bytes(&[1; 256]).bytes(&[2; 256]).framed());
    assert!(client.is_closed(), "a secret that is none");
    assert!(launcher.starts().is_empty());
    drop(Client::connect(broker.port, 774).status());
}

/// Two bytes ask for a status that may have some hundred kilobytes; no client asks twice.
#[test]
fn a_status_is_answered_once_however_often_it_is_asked_for() {
    let (_launcher, _sessions, broker) = asleep("");
    let mut client = Client::connect(broker.port, 774);
    client.send(&[handshake(774, 1), Packet::new(0).framed().repeat(1000)].concat());
    let mut answers = Vec::new();
    client.stream.read_to_end(&mut answers).unwrap();
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches("mcBroker").count(), 1, "{} bytes", answers.len());
}

#[test]
fn a_client_that_sends_byte_by_byte_is_understood() {
    let (launcher, sessions, broker) = asleep("");
    let mut client = Client::connect(broker.port, 774);
    for byte in [handshake(774, 2), login_start(774, "alex")].concat() {
        client.stream.write_all(&[byte]).unwrap();
        thread::sleep(std::time::Duration::from_millis(2));
    }
    client.encrypt("alex", Some(&sessions));
    client.succeed("alex");
    wait_until("the start", || (launcher.starts() == ["alex"]).then_some(()));
}

#[test]
fn whoever_is_slow_is_closed_and_five_thousand_of_them_leave_room_for_a_friend() {
    let (launcher, sessions, broker) = asleep("");
    let before = resident(&broker);
    let slow: Vec<Client> = (0..5000)
        .map(|number| {
            let mut client = Client::connect_from(somewhere(number), broker.port, 774).unwrap();
            client.send(&handshake(774, 2)[..3]);
            client
        })
        .collect();
    let friend = held(broker.port, 774, "friend", &sessions);
    wait_until("the start", || (launcher.starts() == ["friend"]).then_some(()));
    let during = resident(&broker);
    assert!(during < before + 40_000, "{before} KiB before, and {during} KiB with 5,000 half-open connections");
    // They are all closed within the time for a handshake; and then their descriptors are free.
    for mut client in slow {
        assert!(client.is_closed());
    }
    drop(friend);
    wait_until("the descriptors are free", || (descriptors(&broker) < 64).then_some(()));
    drop(Client::connect(broker.port, 774).status());
}

#[test]
fn one_address_has_so_many_connections_and_logins_and_another_one_has_its_own() {
    let (_launcher, _sessions, broker) = asleep("");
    let (one, other) = (Ipv4Addr::new(127, 9, 9, 9), Ipv4Addr::new(127, 9, 9, 10));
    let open: Vec<Client> = (0..256).map(|_| Client::connect_from(one, broker.port, 774).unwrap()).collect();
    let mut more = Client::connect_from(one, broker.port, 774).unwrap();
    assert!(more.is_closed());
    drop(Client::connect_from(other, broker.port, 774).unwrap().status());
    drop(open);
    wait_until("there is room again", || {
        let mut client = Client::connect_from(one, broker.port, 774).ok()?;
        client.send(&handshake(774, 1));
        client.send(&Packet::new(0).framed());
        client.packet().map(drop)
    });
    // One more is allowed every two seconds, so that a slow machine needs more of them.
    wait_until("there are too many", || {
        let mut client = Client::connect_from(one, broker.port, 774).unwrap();
        client.log_in("alex");
        let answer = client.packet().unwrap();
        String::from_utf8_lossy(&answer).contains("You have joined too often.").then_some(())
    });
    let mut client = Client::connect_from(other, broker.port, 774).unwrap();
    client.log_in("alex");
    assert_eq!(client.packet().unwrap()[0], 1, "a request for encryption");
}

/// Those beyond its limit take no place from anybody else.
#[test]
fn an_address_with_too_many_connections_pushes_nobody_out() {
    let (_launcher, _sessions, broker) = asleep("");
    let (flood, friend) = (Ipv4Addr::new(127, 9, 9, 11), Ipv4Addr::new(127, 9, 9, 12));
    // He may be silent for 10 s: a machine on which the others take longer than that shows nothing.
    wait_until("all of them came in time", || {
        let since = Instant::now();
        let mut friend = Client::connect_from(friend, broker.port, 774).unwrap();
        let _open: Vec<Client> = (0..256).map(|_| Client::connect_from(flood, broker.port, 774).unwrap()).collect();
        (0..4500).for_each(|_| drop(Client::connect_from(flood, broker.port, 774).unwrap()));
        friend.log_in("alex");
        let answer = friend.packet();
        (since.elapsed() < HANDSHAKE).then(|| {
            assert_eq!(answer.expect("he has been pushed out")[0], 1, "a request for encryption");
        })
    });
}

#[test]
fn a_network_that_may_not_log_in_may_ping() {
    let (launcher, _sessions, broker) = asleep("allow_networks = [\"127.0.0.1\", \"127.7.0.0/16\"]");
    let elsewhere = Ipv4Addr::new(127, 8, 0, 1);
    drop(Client::connect_from(elsewhere, broker.port, 774).unwrap().status());
    let mut client = Client::connect_from(elsewhere, broker.port, 774).unwrap();
    client.log_in("alex");
    assert_eq!(client.told(), "Nobody may log in from your network.");
    let mut client = Client::connect_from(Ipv4Addr::new(127, 7, 0, 1), broker.port, 774).unwrap();
    client.log_in("alex");
    assert_eq!(client.packet().unwrap()[0], 1, "a request for encryption");
    assert!(launcher.starts().is_empty());
}

#[test]
fn a_proxy_in_front_says_who_the_client_is_and_nobody_else_may() {
    use mc_broker_core::wire::proxy_header::written;
    let (_launcher, _sessions, broker) =
        asleep("proxy_networks = [\"127.6.0.1\"]\nallow_networks = [\"203.0.113.0/24\"]");
    let proxy = Ipv4Addr::new(127, 6, 0, 1);
    let header = |client: &str| written(client.parse().unwrap(), "192.0.2.1:25565".parse().unwrap());
    let mut silent = Client::connect_from(proxy, broker.port, 774).unwrap();
    for (client, first) in [("203.0.113.7:4242", 1), ("198.51.100.7:4242", 0)] {
        let mut connection = Client::connect_from(proxy, broker.port, 774).unwrap();
        connection.send(&header(client));
        connection.log_in("alex");
        assert_eq!(connection.packet().unwrap()[0], first, "{client}");
    }
    // Without a header, a proxy is not understood; with one, nobody else is.
    let mut without = Client::connect_from(proxy, broker.port, 774).unwrap();
    without.log_in("alex");
    assert!(without.is_closed());
    let mut other = Client::connect(broker.port, 774);
    other.send(&header("203.0.113.7:4242"));
    assert!(other.is_closed());
    assert!(silent.is_closed(), "after ten seconds");
}

fn proc_file(broker: &Broker, name: &str) -> String {
    format!("/proc/{}/{name}", broker.process.pid())
}

/// In KiB (proc(5), `status`).
pub(crate) fn resident(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(proc_file(broker, "status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

pub(crate) fn descriptors(broker: &Broker) -> usize {
    std::fs::read_dir(proc_file(broker, "fd")).unwrap().count()
}
