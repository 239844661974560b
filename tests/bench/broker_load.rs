//! Load for mc-broker, and for what could be used instead: see broker.py, which measures what it costs them. Over 400 lines: five
//! kinds of load, which share the protocol.
//!
//! ```text
//! broker-load game LISTEN                       a server that answers status pings, and says nothing to players
//! broker-load floor LISTEN                      answers status pings by a loop that does nothing else, one client at a time
//! broker-load pings TO RATE SECONDS             status pings, so many a second; 0: one after the other, without a pause
//! broker-load hold TO MANNER SESSIONS           players who wait: a line with their number in, a line of JSON out
//! broker-load transfers TO GAME LOGINS PAUSE_MS players who are handed over, one after the other
//! broker-load play TO GAME TICKS                one player's play, tick by tick, once a line comes
//! ```
//!
//! TO, LISTEN, GAME and SESSIONS are ports of 127.0.0.1. Clients come from many addresses of 127.0.0.0/8, as the broker has
//! limits for each. Prints a line of JSON.
#![expect(clippy::disallowed_methods, reason = "it keeps a rate, and times logins")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use mc_broker_core::crypto::cipher::{Decryptor, Encryptor};
use mc_broker_core::wire::fields::Fields;
use mc_broker_core::wire::writer::Packet;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use serde_json::{Value, json};

/// 1.21.11, which is handed over, and 1.16.5, which cannot be.
const NEWER: u32 = 774;
const OLDER: u32 = 754;
const STATUS: u32 = 1;
const LOGIN: u32 = 2;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Clients at once.
const AT_ONCE: usize = 16;
/// Players of one address: the broker takes 30 logins of one at once.
const OF_ONE_ADDRESS: usize = 25;
/// How often held players look whether they are asked for a sign of life.
const KEEPS: Duration = Duration::from_millis(500);
/// What a player receives and sends in a tick, in bytes: 20 ticks a second are 100 MB in an hour, and steps of his own.
const DOWN: usize = 1389;
const UP: usize = 32;
/// How long the broker's own answer is, in bytes.
const STATUS_LENGTH: usize = 150;

type Failure = Box<dyn Error + Send + Sync>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One address of very many that are this machine's own.
fn somewhere(number: usize) -> Ipv4Addr {
    let [a, b, ..] = (number / 250).to_le_bytes();
    let c = u8::try_from(1 + number % 250).unwrap_or(1);
    Ipv4Addr::new(127, b.saturating_add(1), a, c)
}

/// A connection that speaks the game's protocol, from either end.
struct Wire {
    stream: TcpStream,
    came: Vec<u8>,
    cipher: Option<(Encryptor, Decryptor)>,
}

impl Wire {
    fn connect(from: Ipv4Addr, port: u16) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddr::from((from, 0)))?;
        connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Wire::new(TcpStream::from(socket))
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, came: Vec::new(), cipher: None })
    }

    fn send(&mut self, mut bytes: Vec<u8>) -> io::Result<()> {
        if let Some((encryptor, _)) = &mut self.cipher {
            encryptor.encrypt(&mut bytes);
        }
        self.stream.write_all(&bytes)
    }

    /// Takes what has come in; whether more may come.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 8192];
        let length = self.stream.read(&mut piece)?;
        if let Some((_, decryptor)) = &mut self.cipher {
            decryptor.decrypt(&mut piece[..length]);
        }
        self.came.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }

    /// The next packet of those that have come in.
    fn whole(&mut self) -> Option<Vec<u8>> {
        let mut fields = Fields(&self.came);
        let packet = fields.bytes().ok()?.to_vec();
        let rest = fields.0.len();
        self.came.drain(..self.came.len() - rest);
        Some(packet)
    }

    fn packet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(packet) = self.whole() {
                return Ok(packet);
            }
            if !self.read()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The fields of the next packet, which has to be this one.
    fn expect(&mut self, id: u32) -> Result<Vec<u8>, Failure> {
        let packet = self.packet()?;
        let mut fields = Fields(&packet);
        if fields.varint()? == id { Ok(fields.0.to_vec()) } else { Err(format!("not packet {id}: {packet:?}").into()) }
    }
}

fn handshake(protocol: u32, intent: u32) -> Vec<u8> {
    Packet::new(0).varint(protocol).text("play.example.org").raw(&25565_u16.to_be_bytes()).varint(intent).framed()
}

fn login(protocol: u32, name: &str) -> Vec<u8> {
    let start = Packet::new(0).text(name);
    let start = if protocol < 764 { start } else { start.u128(7) };
    [handshake(protocol, LOGIN), start.framed()].concat()
}

/// The server itself: it answers pings. Who logs in comes out of the channel, with all that he has sent.
fn game(port: u16) -> io::Result<Receiver<Wire>> {
    fn serve(stream: TcpStream, players: &Sender<Wire>) -> Result<(), Failure> {
        let mut wire = Wire::new(stream)?;
        let hello = wire.packet()?;
        let mut fields = Fields(&hello);
        fields.varint()?;
        fields.varint()?;
        fields.text(255)?;
        fields.u16()?;
        match fields.varint()? {
            STATUS => {
                wire.packet()?;
                let status = json!({
                    "version": {"name": "1.21.11", "protocol": NEWER}, "players": {"max": 20, "online": 0},
                    "description": {"text": "the server itself"},
                });
                wire.send(Packet::new(0).text(&status.to_string()).framed())?;
                let ping = wire.packet()?;
                wire.send(Packet::new(1).raw(ping.get(1..).unwrap_or_default()).framed())?;
            }
            LOGIN => {
                wire.packet()?;
                players.send(wire)?;
            }
            // Whether it takes players who are handed over: it does, by its silence.
            _ => drop(wire.packet()),
        }
        Ok(())
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let (sender, players) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // Whoever hangs up had no more to ask.
            thread::spawn(move || drop(serve(stream, &sender)));
        }
    });
    Ok(players)
}

/// The least that an answer can cost: the same system calls, with the answer ready, and nobody else to look after.
fn floor(port: u16) -> Result<(), Failure> {
    fn answer(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
        let mut piece = [0; 2048];
        // Both come at once, as `ping` sends them.
        if stream.read(&mut piece)? == 0 {
            return Ok(());
        }
        stream.write_all(answer)?;
        let length = stream.read(&mut piece)?;
        stream.write_all(&piece[..length])
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let status = Packet::new(0).text(&"x".repeat(STATUS_LENGTH)).framed();
    for stream in listener.incoming() {
        let _ = answer(stream?, &status);
    }
    Ok(())
}

/// A session server that vouches for everybody.
fn sessions(port: u16) -> io::Result<()> {
    fn answer(mut stream: TcpStream) -> Result<(), Failure> {
        let (mut head, mut piece) = (Vec::new(), [0; 2048]);
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => return Ok(()),
                length => head.extend_from_slice(&piece[..length]),
            }
        }
        let head = String::from_utf8(head)?;
        let name = head.split(['?', '&', ' ']).find_map(|word| word.strip_prefix("username=")).ok_or("no name")?;
        let body = json!({"id": "ec561538f3fd461daff5086b22154bce", "name": name, "properties": []}).to_string();
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
        Ok(())
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream);
        }
    });
    Ok(())
}

/// What a client of the game does for a line of its server list, in one connection.
fn ping(from: Ipv4Addr, to: u16) -> Result<(), Failure> {
    let mut wire = Wire::connect(from, to)?;
    wire.send([handshake(NEWER, STATUS), Packet::new(0).framed()].concat())?;
    wire.expect(0)?;
    wire.send(Packet::new(1).u64(42).framed())?;
    wire.expect(1)?;
    Ok(())
}

fn pings(to: u16, rate: u32, seconds: u32) -> Value {
    let (next, answered, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (began, length) = (Instant::now(), Duration::from_secs(seconds.into()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = if rate == 0 {
                        began.elapsed()
                    } else {
                        Duration::from_secs(1) * u32::try_from(number).unwrap_or(u32::MAX) / rate
                    };
                    if due >= length {
                        return;
                    }
                    thread::sleep(due.saturating_sub(began.elapsed()));
                    let count = if ping(somewhere(number % 1000), to).is_ok() { &answered } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let [answered, failed] = [answered, failed].map(AtomicUsize::into_inner);
    json!({"answered": answered, "failed": failed, "seconds": began.elapsed().as_secs_f64()})
}

/// How somebody is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// By mc-broker: with an account and encryption, in the configuration.
    Encrypted,
    /// By a server in offline mode.
    Plain,
    /// By what only passes on what he says.
    Open,
}

/// Logs in, so far that he is held.
fn held(number: usize, to: u16, manner: Manner) -> Result<Wire, Failure> {
    let name = format!("player{number}");
    let mut wire = Wire::connect(somewhere(number / OF_ONE_ADDRESS), to)?;
    wire.send(login(NEWER, &name))?;
    match manner {
        Manner::Encrypted => {
            encrypt(&mut wire)?;
            wire.expect(2)?;
            wire.send(Packet::new(3).framed())?;
        }
        Manner::Plain => {
            // From then on every packet says how long it is without compression; 0: it has none.
            wire.expect(3)?;
            wire.expect(0)?;
            wire.send(Packet::new(0).varint(3).framed())?;
        }
        Manner::Open => {}
    }
    wire.stream.set_nonblocking(true)?;
    Ok(wire)
}

/// Answers the request for encryption.
fn encrypt(wire: &mut Wire) -> Result<(), Failure> {
    let request = wire.expect(1)?;
    let mut fields = Fields(&request);
    fields.text(20)?;
    let (key, token) = (fields.bytes()?, fields.bytes()?);
    let key = Pkcs1PublicEncryptingKey::new(PublicEncryptingKey::from_der(key)?)?;
    let encrypted = |plain: &[u8]| -> Result<Vec<u8>, Failure> {
        let mut room = vec![0; key.ciphertext_size()];
        Ok(key.encrypt(plain, &mut room)?.to_vec())
    };
    let secret = *b"0123456789abcdef";
    wire.send(Packet::new(1).bytes(&encrypted(&secret)?).bytes(&encrypted(token)?).framed())?;
    wire.cipher = Some((Encryptor::new(secret), Decryptor::new(secret)));
    Ok(())
}

/// Gives every sign of life that was asked for; whether he is still held.
fn lives(wire: &mut Wire, manner: Manner) -> bool {
    loop {
        match wire.read() {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Ok(false) | Err(_) => return false,
        }
    }
    if manner != Manner::Encrypted {
        wire.came = Vec::new();
        return true;
    }
    while let Some(packet) = wire.whole() {
        // The request has the same id as its answer in this version.
        if packet.first() != Some(&4) || wire.send(Packet::new(4).raw(&packet[1..]).framed()).is_err() {
            return false;
        }
    }
    true
}

fn hold(to: u16, manner: Manner) -> Result<(), Failure> {
    let players: Arc<Mutex<Vec<Wire>>> = Arc::default();
    let lost = Arc::new(AtomicUsize::new(0));
    let (keeper_players, keeper_lost) = (Arc::clone(&players), Arc::clone(&lost));
    thread::spawn(move || {
        loop {
            thread::sleep(KEEPS);
            let mut players = lock(&keeper_players);
            let before = players.len();
            players.retain_mut(|wire| lives(wire, manner));
            keeper_lost.fetch_add(before - players.len(), Ordering::Relaxed);
        }
    });
    let mut there = 0;
    for line in io::stdin().lines() {
        let wanted: usize = line?.trim().parse()?;
        let (next, began) = (AtomicUsize::new(there), Instant::now());
        let failure: Mutex<Option<String>> = Mutex::default();
        let failed = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while !failed.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= wanted {
                            return;
                        }
                        match held(number, to, manner) {
                            Ok(wire) => lock(&players).push(wire),
                            Err(error) => {
                                *lock(&failure) = Some(error.to_string());
                                failed.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        if let Some(failure) = lock(&failure).take() {
            return Err(failure.into());
        }
        there = there.max(wanted);
        let (held, lost) = (lock(&players).len(), lost.load(Ordering::Relaxed));
        println!("{}", json!({"held": held, "lost": lost, "seconds": began.elapsed().as_secs_f64()}));
    }
    Ok(())
}

/// Where he was handed over to, and how long that took, from his name to the Transfer; whether he was let go then.
fn transfer(number: usize, to: u16) -> Result<(Duration, bool), Failure> {
    let mut wire = Wire::connect(somewhere(number), to)?;
    let began = Instant::now();
    wire.send(login(NEWER, &format!("guest{number}")))?;
    wire.expect(2)?;
    wire.send(Packet::new(3).framed())?;
    wire.expect(0x0b)?;
    let took = began.elapsed();
    let closed = !wire.read()?;
    Ok((took, closed))
}

fn transfers(to: u16, logins: usize, pause: Duration) -> Result<Value, Failure> {
    let (mut milliseconds, mut closed) = (Vec::new(), 0);
    for number in 0..logins {
        let (took, is_closed) = transfer(number, to)?;
        milliseconds.push(took.as_secs_f64() * 1000.0);
        closed += usize::from(is_closed);
        thread::sleep(pause);
    }
    Ok(json!({"milliseconds": milliseconds, "closed": closed}))
}

fn play(to: u16, players: &Receiver<Wire>, ticks: usize) -> Result<(), Failure> {
    let mut client = Wire::connect(Ipv4Addr::LOCALHOST, to)?;
    client.send(login(OLDER, "player"))?;
    let mut server = players.recv_timeout(PATIENCE)?;
    println!("{}", json!({"playing": true}));
    io::stdin().read_line(&mut String::new())?;
    let (down, up, mut room) = ([7; DOWN], [8; UP], [0; DOWN]);
    let began = Instant::now();
    for _ in 0..ticks {
        // Each waits for the other: pieces that come at once would be passed on at once, which costs less.
        server.stream.write_all(&down)?;
        client.stream.read_exact(&mut room)?;
        client.stream.write_all(&up)?;
        server.stream.read_exact(&mut room[..UP])?;
    }
    server.stream.flush()?;
    println!("{}", json!({"ticks": ticks, "bytes": ticks * (DOWN + UP), "seconds": began.elapsed().as_secs_f64()}));
    Ok(())
}

fn run(words: &[String]) -> Result<(), Failure> {
    let manners = BTreeMap::from([("encrypted", Manner::Encrypted), ("plain", Manner::Plain), ("open", Manner::Open)]);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["game", listen] => {
            let players = game(listen.parse()?)?;
            println!("{}", json!({"listening": true}));
            // Whoever comes stays, until this ends.
            drop(players.iter().collect::<Vec<_>>());
        }
        ["floor", listen] => floor(listen.parse()?)?,
        ["pings", to, rate, seconds] => println!("{}", pings(to.parse()?, rate.parse()?, seconds.parse()?)),
        ["hold", to, manner, at] => {
            sessions(at.parse()?)?;
            hold(to.parse()?, *manners.get(manner).ok_or("no such manner")?)?;
        }
        ["transfers", to, at, logins, pause] => {
            let _players = game(at.parse()?)?;
            println!("{}", transfers(to.parse()?, logins.parse()?, Duration::from_millis(pause.parse()?))?);
        }
        ["play", to, at, ticks] => play(to.parse()?, &game(at.parse()?)?, ticks.parse()?)?,
        _ => return Err("see the head of tests/bench/broker_load.rs".into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker-load: {error}");
            ExitCode::FAILURE
        }
    }
}
