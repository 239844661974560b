//! The way to AWS: a relay that the agent takes for AWS, or asks as its proxy, and that breaks or slows down when it is told to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A relay. It lives as long as the test's process.
pub struct Relay {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    proxy: bool,
    delay: Mutex<Duration>,
    carried: Mutex<Vec<Carried>>,
}

#[derive(Default)]
struct Carried {
    said: Vec<u8>,
    answered: Vec<u8>,
    ends: Vec<TcpStream>,
}

impl Relay {
    /// A relay to `port` on 127.0.0.1.
    pub fn start(port: u16) -> Self {
        Self::start_as(Shared::default(), port)
    }

    /// An HTTP proxy behind which every server is at `port` on 127.0.0.1.
    pub fn start_proxy(port: u16) -> Self {
        Self::start_as(Shared { proxy: true, ..Shared::default() }, port)
    }

    fn start_as(shared: Shared, to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(shared);
        let relay = Relay { port, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
                shared.carried.lock().unwrap().push(Carried::default());
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(number, client, to));
            }
        });
        relay
    }

    /// Its address for a client that speaks plain HTTP.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What each connection so far has carried towards AWS, in the order in which they were accepted. To a proxy the head of
    /// what it was asked for is part of it.
    pub fn said(&self) -> Vec<String> {
        self.texts(|carried| &carried.said)
    }

    /// What each connection so far has carried back.
    pub fn answered(&self) -> Vec<String> {
        self.texts(|carried| &carried.answered)
    }

    fn texts(&self, which: fn(&Carried) -> &Vec<u8>) -> Vec<String> {
        let carried = self.shared.carried.lock().unwrap();
        carried.iter().map(|carried| String::from_utf8_lossy(which(carried)).into_owned()).collect()
    }

    /// Ends every connection. New ones are served as before.
    pub fn cut(&self) {
        for end in self.shared.carried.lock().unwrap().iter().flat_map(|carried| &carried.ends) {
            // It may have ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// From now on a connection is carried on only after `delay`.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }
}

impl Shared {
    fn serve(self: Arc<Self>, number: usize, mut client: TcpStream, to: u16) {
        let delay = *self.delay.lock().unwrap();
        thread::sleep(delay);
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).unwrap();
        {
            let mut carried = self.carried.lock().unwrap();
            carried[number].ends = vec![client.try_clone().unwrap(), server.try_clone().unwrap()];
        }
        if self.proxy {
            let head = head(&mut client);
            self.carried.lock().unwrap()[number].said.extend(&head);
            if head.starts_with(b"CONNECT ") {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            } else {
                server.write_all(&head).unwrap();
            }
        }
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let shared = Arc::clone(&self);
        thread::spawn(move || {
            pump(back.0, back.1, |bytes| shared.carried.lock().unwrap()[number].answered.extend(bytes));
        });
        pump(client, server, |bytes| self.carried.lock().unwrap()[number].said.extend(bytes));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, note: impl Fn(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn head(client: &mut TcpStream) -> Vec<u8> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    head
}
