//! Asking servers who is online: real ones (flying-squid behind nothing and behind HAProxy, bedrock-protocol) with real
//! players, and stand-ins for broken and hostile ones, all on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::unnecessary_wraps,
    clippy::similar_names,
    reason = "ends the test at what is wrong, and waits in real time"
)]

#[allow(unreachable_pub, reason = "a part of this test")]
mod stand_ins;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use mc_idle::ask::{Answer, AskOutcome, AskTarget, Asker, OwnSockets, Protocol};
use mc_idle::clock::Clock;
use mc_ping::PingForm;
use procfs::net::TcpState;

use crate::apart;
use crate::skip_unless;
use crate::support::peers::{Server, join, join_bedrock, leave};
use crate::support::{Process, checkout, emulated_aws, ports, wait_until};
use stand_ins::{Gate, drips, question, response, says, silence, status, tcp, udp};

/// A long time between two regular questions.
const LATER: Duration = Duration::from_hours(1);

fn target<K>(id: K, protocol: Protocol, address: SocketAddr) -> AskTarget<K> {
    AskTarget { id, protocol, address }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Nobody asks regularly; whoever has this can ask all at once.
fn asker<K: Clone + Ord + Send + Sync + 'static>() -> Asker<K> {
    Asker::start(Clock::start()).0
}

async fn ask(protocol: Protocol, address: SocketAddr) -> Result<Answer, String> {
    let [asked] = asker().ask_all(vec![target((), protocol, address)]).await.try_into().unwrap();
    asked.answer
}

fn online(count: u32) -> Answer {
    Answer { online: count, names: vec![] }
}

fn named(name: &str) -> Answer {
    Answer { online: 1, names: vec![name.to_owned()] }
}

/// Asks until that is the answer: a server takes a moment to count.
async fn answers(protocol: Protocol, address: SocketAddr, expected: Answer) {
    let mut last = ask(protocol, address).await;
    for _ in 0..300 {
        if last.as_ref() == Ok(&expected) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = ask(protocol, address).await;
    }
    assert_eq!(last, Ok(expected));
}

#[tokio::test]
async fn a_real_server_says_who_is_on_it_over_ipv4_and_ipv6() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Server::start(None);
    let port = server.port;
    let addresses = [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("[::ffff:127.0.0.1]:{port}")];
    let addresses = addresses.map(|address| address.parse().unwrap());
    for address in addresses {
        answers(Protocol::Java, address, online(0)).await;
    }
    let steve = join(&server, "127.0.0.1", "steve");
    for address in addresses {
        answers(Protocol::Java, address, named("steve")).await;
    }
    leave(steve);
    answers(Protocol::Java, addresses[0], online(0)).await;
}

/// HAProxy from the lab: takes only whoever begins with a PROXY header, and leads to `server`.
fn haproxy(server: &Server) -> Option<(Process, SocketAddr)> {
    let folder = checkout().join("target/lab/haproxy");
    let libraries: Vec<PathBuf> =
        fs::read_dir(folder.join("usr/lib")).ok()?.map(|entry| entry.unwrap().path()).collect();
    let work = tempfile::tempdir().unwrap().keep();
    // HAProxy takes no port 0.
    let port = ports::free();
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen minecraft\n bind 127.0.0.1:{port} accept-proxy\n server one 127.0.0.1:{}\n",
        server.port
    );
    fs::write(work.join("haproxy.cfg"), config).unwrap();
    let process = Process::start(
        Command::new(folder.join("usr/sbin/haproxy"))
            .arg("-db")
            .arg("-f")
            .arg(work.join("haproxy.cfg"))
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap()),
    );
    let listens =
        || fs::read_to_string("/proc/self/net/tcp").unwrap().contains(&format!(":{port:04X} 00000000:0000 0A"));
    wait_until("HAProxy listens", || listens().then_some(()));
    fs::remove_dir_all(work).unwrap();
    Some((process, local(port)))
}

#[tokio::test]
async fn a_real_server_behind_a_real_proxy_that_wants_a_header_says_who_is_on_it() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Server::start(Some("127.0.0.1"));
    let proxy = haproxy(&server);
    skip_unless!(proxy.is_some(), "HAProxy; run tests/lab/setup.sh on Debian");
    let (_process, address) = proxy.unwrap();
    answers(Protocol::Java, address, online(0)).await;
    let alex = join(&server, "127.0.0.1", "alex");
    answers(Protocol::Java, address, named("alex")).await;
    leave(alex);
}

#[tokio::test]
async fn the_form_that_was_answered_is_used_alone_and_one_that_changes_is_found() {
    let gates = [Gate::start(PingForm::Plain), Gate::start(PingForm::Proxied)];
    let (handle, mut results) = Asker::start(Clock::start());
    let targets: Vec<_> = (0..2).map(|id| target(id, Protocol::Java, gates[id].address)).collect();
    handle.watch(targets.clone(), LATER);
    for _ in 0..2 {
        assert_eq!(results.recv().await.unwrap().answer, Ok(online(3)));
    }
    let seen = || [gates[0].seen(), gates[1].seen()];
    assert_eq!(seen(), [vec![PingForm::Plain], vec![PingForm::Plain, PingForm::Proxied]]);
    let answers = async || handle.ask_all(targets.clone()).await.into_iter().map(|asked| asked.answer);
    assert!(answers().await.all(|answer| answer == Ok(online(3))));
    assert_eq!(seen(), [vec![PingForm::Plain], vec![PingForm::Proxied]]);

    gates[0].speak(PingForm::Proxied);
    let refused = Err("connection closed without an answer".to_owned());
    assert!(answers().await.eq([refused, Ok(online(3))]));
    assert_eq!(seen(), [vec![PingForm::Plain], vec![PingForm::Proxied]]);
    assert!(answers().await.all(|answer| answer == Ok(online(3))));
    assert_eq!(seen(), [vec![PingForm::Plain, PingForm::Proxied], vec![PingForm::Proxied]]);
    assert!(answers().await.all(|answer| answer == Ok(online(3))));
    assert_eq!(seen(), [vec![PingForm::Proxied], vec![PingForm::Proxied]]);
}

#[tokio::test]
async fn broken_and_hostile_servers_give_no_answer_and_keep_no_other_waiting() {
    let (hung_up, waits) = tokio::sync::oneshot::channel();
    let hung_up = Mutex::new(Some(hung_up));
    // As with `enable-status=false`; it sees that nobody waits any more.
    let silent = tcp(move |stream| {
        silence(stream);
        hung_up.lock().unwrap().take().map(|hung_up| hung_up.send(()));
    });
    let endless = tcp(|mut stream| while stream.write_all(&[0xff; 4096]).is_ok() {});
    let two_gib = [0xff, 0xff, 0xff, 0xff, 0x07];
    let frozen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = ports::reserved(Ipv4Addr::LOCALHOST.into());
    let nothing = "no answer within 3 s";
    let no_status = "not an answer to a Minecraft status ping";
    let cases = [
        ("silent", silent, nothing),
        ("never accepts", frozen.local_addr().unwrap(), nothing),
        ("drips", drips(status(5)), nothing),
        ("half an answer", says(status(5)[..20].to_vec()), nothing),
        ("2 GiB", says(two_gib.to_vec()), "answer too long: 2147483647 bytes claimed, at most 131072 accepted"),
        ("2 GiB of text", says([&[6, 0], &two_gib[..]].concat()), no_status),
        ("endless", endless, no_status),
        ("garbage", says(b"HTTP/1.1 400 Bad Request\r\n".repeat(9)), no_status),
        ("no JSON", says(response(b"welcome")), "status is not JSON"),
        (
            "no count",
            says(response(br#"{"description":"\u001b[2J"}"#)),
            "status does not say how many players are online",
        ),
        ("hangs up", tcp(|mut stream| drop(question(&mut stream))), "connection closed without an answer"),
        ("nobody", nobody.local_addr().unwrap(), "unreachable: Connection refused (os error 111)"),
    ];
    let good = tcp(|mut stream| {
        let _ = question(&mut stream).and_then(|_| stream.write_all(&status(5)));
        silence(stream);
    });
    let mut targets: Vec<_> = cases.map(|(what, address, _)| target(what, Protocol::Java, address)).into();
    targets.push(target("good", Protocol::Java, good));
    let mut asked = asker().ask_all(targets).await;
    let last = asked.pop().unwrap();
    assert_eq!(last.answer, Ok(online(5)));
    assert!(last.answered_at < asked[0].answered_at, "it did not wait for those that say nothing");
    for (AskOutcome { id, answer, .. }, (what, _, why)) in asked.into_iter().zip(cases) {
        assert_eq!((id, answer), (what, Err(why.to_owned())));
    }
    waits.await.unwrap();
}

#[tokio::test]
async fn many_servers_are_asked_at_once() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = Arc::clone(&most);
    let address = tcp(move |mut stream| {
        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _ = question(&mut stream);
        // One after the other would take too long.
        thread::sleep(Duration::from_millis(50));
        open.fetch_sub(1, Ordering::SeqCst);
        let _ = stream.write_all(&status(1));
        silence(stream);
    });
    let targets = (0..64).map(|id| target(id, Protocol::Java, address)).collect();
    let asked = asker::<u32>().ask_all(targets).await;
    assert!(asked.iter().map(|asked| asked.id).eq(0..64), "in their order");
    assert!(asked.iter().all(|asked| asked.answer == Ok(online(1))), "{asked:#?}");
    let highest = highest.load(Ordering::SeqCst);
    // Twice 32, if this machine is so slow that the servers' silence is answered with another form.
    assert!((2..=64).contains(&highest), "{highest} at once");
}

#[tokio::test]
async fn regular_questions_come_again_and_again_and_end_when_nobody_is_to_be_asked() {
    let (handle, mut results) = Asker::start(Clock::start());
    let gate = Gate::start(PingForm::Plain);
    let nobody = ports::reserved(Ipv4Addr::LOCALHOST.into());
    let targets = vec![
        target("gate", Protocol::Java, gate.address),
        target("nobody", Protocol::Java, nobody.local_addr().unwrap()),
    ];
    let pace = Duration::from_millis(200);
    handle.watch(targets.clone(), pace);
    let mut counts = BTreeMap::new();
    while counts.len() < 2 || counts.values().any(|count| *count < 3) {
        let asked = results.recv().await.unwrap();
        assert_eq!(asked.answer.is_ok(), asked.id == "gate");
        assert!(asked.asked_at <= asked.answered_at);
        *counts.entry(asked.id).or_insert(0) += 1;
        handle.watch(targets.clone(), pace);
    }
    handle.watch(vec![], pace);
    // What was open then.
    tokio::time::sleep(4 * pace).await;
    while results.try_recv().is_ok() {}
    gate.seen();
    tokio::time::sleep(4 * pace).await;
    assert!(results.try_recv().is_err() && gate.seen().is_empty());
    handle.watch(targets, pace);
    assert!(results.recv().await.is_some());
}

/// Reads the table over and over while `own` asks a server on `port`, and counts into `seen` the rows of its connections,
/// of either side: those that were not registered.
fn rows_beside(own: &OwnSockets, port: u16, seen: &AtomicUsize, over: &AtomicBool) -> Vec<SocketAddr> {
    let mut unknown = vec![];
    while !over.load(Ordering::SeqCst) {
        let rows: Vec<SocketAddr> = procfs::net::tcp()
            .unwrap()
            .into_iter()
            .filter(|row| row.state == TcpState::Established)
            .filter_map(|row| match (row.local_address, row.remote_address) {
                (client, server) | (server, client) if server.port() == port => Some(client),
                _ => None,
            })
            .collect();
        let registered = own.snapshot();
        seen.fetch_add(rows.len(), Ordering::SeqCst);
        unknown.extend(rows.into_iter().filter(|client| !registered.contains(client)));
    }
    unknown
}

#[test]
fn every_row_of_the_agents_own_questions_is_known_as_such() {
    apart!("--net");
    crate::support::sockets::loopback();
    let server = tcp(|mut stream| {
        let _ = question(&mut stream).and_then(|_| stream.write_all(&status(0)));
        silence(stream);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let handle = asker::<u32>();
    let own = handle.own();
    let (seen, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counts, ends) = (Arc::clone(&seen), Arc::clone(&over));
    let reader = thread::spawn(move || rows_beside(&own, server.port(), &counts, &ends));
    // How many are seen in a round is up to the scheduler.
    while seen.load(Ordering::SeqCst) < 100 && !reader.is_finished() {
        let targets = (0..20).map(|id| target(id, Protocol::Java, server)).collect();
        let asked = runtime.block_on(handle.ask_all(targets));
        assert!(asked.iter().all(|asked| asked.answer == Ok(online(0))));
    }
    over.store(true, Ordering::SeqCst);
    assert_eq!(reader.join().unwrap(), []);
    let own = handle.own();
    assert!(!own.any_open() && own.last_closed().is_some());
    wait_until("all are forgotten", || own.snapshot().is_empty().then_some(()));
}

#[tokio::test]
async fn a_real_bedrock_server_says_how_many_are_on_it() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Server::bedrock(&["--motd", "semi;colons; and a \\"]);
    let address = local(server.port);
    answers(Protocol::Bedrock, address, online(0)).await;
    let steve = join_bedrock(&server, "steve");
    answers(Protocol::Bedrock, address, online(1)).await;
    leave(steve);
    answers(Protocol::Bedrock, address, online(0)).await;
}

const PONG: &str = "MCPE;motd;766;1.21.50;2;10;1;world;Survival;1;19132;19133;0;";

/// The answer to `ping`.
fn pong(ping: &[u8], text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x1c], &ping[1..9], &[7; 8], &ping[9..25], &length, text.as_bytes()].concat()
}

#[tokio::test]
async fn datagrams_may_be_lost_and_those_of_somebody_else_are_no_answer() {
    let mut lost = 0;
    let lossy = udp(move |socket, ping, from| {
        lost += 1;
        if lost > 1 {
            socket.send_to(&pong(ping, PONG), from).unwrap();
        }
    });
    let noisy = udp(|socket, ping, from| {
        let other_ping = [&ping[..1], &[0; 8], &ping[9..]].concat();
        for datagram in [vec![], ping.to_vec(), pong(&other_ping, PONG), pong(ping, PONG)] {
            socket.send_to(&datagram, from).unwrap();
        }
    });
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let spoofed = udp(move |_, ping, from| drop(stranger.send_to(&pong(ping, PONG), from)));
    let flood = udp(|socket, _, from| (0..100).for_each(|_| drop(socket.send_to(&[0; 2000], from))));
    let mute = udp(|_, _, _| {});
    // It takes datagrams of one peer alone, which is not the agent: for everybody else nothing is there.
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    nobody.connect(nobody.local_addr().unwrap()).unwrap();
    let no_count = udp(|socket, ping, from| drop(socket.send_to(&pong(ping, "MCPE;motd;766;1.21.50;-1;10"), from)));
    let answers = [
        (lossy, Ok(online(2))),
        (noisy, Ok(online(2))),
        (spoofed, Err("no answer within 3 s".to_owned())),
        (flood, Err("not an answer to a RakNet ping".to_owned())),
        (mute, Err("no answer within 3 s".to_owned())),
        (nobody.local_addr().unwrap(), Err("unreachable: Connection refused (os error 111)".to_owned())),
        (no_count, Err("answer does not say how many players are online".to_owned())),
    ];
    let targets =
        answers.iter().enumerate().map(|(id, (address, _))| target(id, Protocol::Bedrock, *address)).collect();
    let asked = asker().ask_all(targets).await;
    for (AskOutcome { id, answer, .. }, (_, expected)) in asked.into_iter().zip(answers) {
        assert_eq!(answer, expected, "number {id}");
    }
}
