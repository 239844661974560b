//! A client of the test's own, for what no client of others does: it speaks any protocol, and says nothing when it should.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use mc_broker_core::crypto::cipher::{Decryptor, Encryptor};
use mc_broker_core::crypto::login_hash::login_hash;
use mc_broker_core::wire::fields::Fields;
use mc_broker_core::wire::frame::Frames;
use mc_broker_core::wire::writer::Packet;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::stand_ins::SessionServer;
use crate::support::SOON;

/// A connection to the broker.
pub(crate) struct Client {
    pub stream: TcpStream,
    frames: Frames,
    cipher: Option<(Encryptor, Decryptor)>,
    protocol: u32,
}

/// The handshake: what for, with this protocol.
pub(crate) fn handshake(protocol: u32, intent: u32) -> Vec<u8> {
    Packet::new(0).varint(protocol).text("play.example.org").raw(&25565_u16.to_be_bytes()).varint(intent).framed()
}

/// Login Start.
pub(crate) fn login_start(protocol: u32, name: &str) -> Vec<u8> {
    let packet = Packet::new(0).text(name);
    match protocol {
        ..759 => packet,
        760 => packet.bool(false).bool(false),
        759..764 => packet.bool(false),
        _ => packet.u128(7),
    }
    .framed()
}

impl Client {
    pub(crate) fn connect(port: u16, protocol: u32) -> Self {
        Client::connect_from(Ipv4Addr::LOCALHOST, port, protocol).unwrap()
    }

    /// From another address of this machine: all of 127.0.0.0/8 are.
    pub(crate) fn connect_from(from: Ipv4Addr, port: u16, protocol: u32) -> io::Result<Self> {
        // Not for the processes that other tests start meanwhile.
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddr::new(IpAddr::V4(from), 0))?;
        connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        Client::over(TcpStream::from(socket), protocol)
    }

    pub(crate) fn over(stream: TcpStream, protocol: u32) -> io::Result<Self> {
        stream.set_read_timeout(Some(SOON))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, frames: Frames::default(), cipher: None, protocol })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        if let Some((encryptor, _)) = &mut self.cipher {
            encryptor.encrypt(&mut bytes);
        }
        // The broker may have closed it.
        let _ = self.stream.write_all(&bytes);
    }

    /// The next packet; `None`: the connection has ended.
    pub(crate) fn packet(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(packet) = self.frames.next_packet().unwrap() {
                return Some(packet);
            }
            let mut piece = [0; 2048];
            let length = self.stream.read(&mut piece).ok().filter(|length| *length > 0)?;
            if let Some((_, decryptor)) = &mut self.cipher {
                decryptor.decrypt(&mut piece[..length]);
            }
            self.frames.push(&piece[..length]);
        }
    }

    /// Whether the broker ends the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Says hello and its name.
    pub(crate) fn log_in(&mut self, name: &str) {
        self.send(&handshake(self.protocol, 2));
        self.send(&login_start(self.protocol, name));
    }

    /// Answers the request for encryption, as somebody who has an account there; or as somebody who only says so.
    pub(crate) fn encrypt(&mut self, name: &str, sessions: Option<&SessionServer>) {
        let packet = self.packet().unwrap();
        let mut fields = Fields(&packet);
        assert_eq!((fields.varint(), fields.text(0)), (Ok(1), Ok("")), "a request for encryption: {packet:?}");
        let (key, token) = (fields.bytes().unwrap(), fields.bytes().unwrap());
        assert_eq!(fields.0, if self.protocol >= 766 { &[1][..] } else { &[] });
        let secret: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        if let Some(sessions) = sessions {
            sessions.joined(name, &login_hash(&secret, key));
        }
        let encrypt = |plain: &[u8]| {
            let key = Pkcs1PublicEncryptingKey::new(PublicEncryptingKey::from_der(key).unwrap()).unwrap();
            let mut encrypted = vec![0; key.ciphertext_size()];
            key.encrypt(plain, &mut encrypted).unwrap().to_vec()
        };
        let packet = Packet::new(1).bytes(&encrypt(&secret));
        let packet = if matches!(self.protocol, 759 | 760) { packet.bool(true) } else { packet };
        self.send(&packet.bytes(&encrypt(token)).framed());
        self.cipher = Some((Encryptor::new(secret), Decryptor::new(secret)));
    }

    /// Reads Login Success, checks its form, and acknowledges it.
    pub(crate) fn succeed(&mut self, name: &str) {
        let packet = self.packet().unwrap();
        let mut fields = Fields(&packet);
        assert_eq!(fields.varint(), Ok(2), "Login Success: {packet:?}");
        fields.u128().unwrap();
        assert_eq!((fields.text(16), fields.varint()), (Ok(name), Ok(0)));
        let tail = match self.protocol {
            766 | 767 => 1,
            776.. => 16,
            _ => 0,
        };
        assert_eq!(fields.0.len(), tail, "the tail of {}", self.protocol);
        self.send(&Packet::new(3).framed());
    }

    /// The text of a disconnect in the login.
    pub(crate) fn told(&mut self) -> String {
        loop {
            let packet = self.packet().unwrap();
            let mut fields = Fields(&packet);
            match fields.varint().unwrap() {
                0 => return text_in(fields.text(1000).unwrap()),
                // A plugin request, which a client answers that it does not know.
                4 => {
                    let number = fields.varint().unwrap();
                    self.send(&Packet::new(2).varint(number).bool(false).framed());
                }
                other => panic!("packet {other}: {packet:?}"),
            }
        }
    }

    /// The text of a disconnect in the login; `None`: he is handed over.
    pub(crate) fn told_unless_handed_over(&mut self) -> Option<String> {
        let packet = self.packet().unwrap();
        let mut fields = Fields(&packet);
        if fields.varint() == Ok(0) {
            return Some(text_in(fields.text(1000).unwrap()));
        }
        self.send(&Packet::new(3).framed());
        self.transferred();
        None
    }

    /// Waits for the Transfer; where to.
    pub(crate) fn transferred(&mut self) -> (String, u32) {
        let transfer = if self.protocol == 777 { 0x0c } else { 0x0b };
        loop {
            let packet = self.packet().unwrap();
            let mut fields = Fields(&packet);
            match fields.varint().unwrap() {
                4 => self.send(&Packet::new(4).u64(fields.u64().unwrap()).framed()),
                id if id == transfer => return (fields.text(100).unwrap().to_owned(), fields.varint().unwrap()),
                other => panic!("packet {other}: {packet:?}"),
            }
        }
    }

    /// The text of a disconnect in the configuration.
    pub(crate) fn told_later(&mut self) -> String {
        loop {
            let packet = self.packet().unwrap();
            let mut fields = Fields(&packet);
            match fields.varint().unwrap() {
                4 => self.send(&Packet::new(4).u64(fields.u64().unwrap()).framed()),
                2 => return String::from_utf8(fields.0[3..].to_vec()).unwrap(),
                other => panic!("packet {other}: {packet:?}"),
            }
        }
    }

    /// The status, as JSON.
    pub(crate) fn status(&mut self) -> serde_json::Value {
        self.send(&handshake(self.protocol, 1));
        self.send(&Packet::new(0).framed());
        let packet = self.packet().unwrap();
        let mut fields = Fields(&packet);
        assert_eq!(fields.varint(), Ok(0));
        let status = serde_json::from_str(fields.text(32767).unwrap()).unwrap();
        self.send(&Packet::new(1).u64(42).framed());
        assert_eq!(self.packet(), Some([&[1][..], &42_u64.to_be_bytes()].concat()));
        status
    }
}

/// What a player reads of a text that is JSON.
fn text_in(json: &str) -> String {
    let text: serde_json::Value = serde_json::from_str(json).unwrap();
    text["text"].as_str().unwrap().to_owned()
}

/// A player of this protocol who has an account, and is held.
pub(crate) fn held(port: u16, protocol: u32, name: &str, sessions: &SessionServer) -> Client {
    let mut client = Client::connect(port, protocol);
    client.log_in(name);
    client.encrypt(name, Some(sessions));
    client.succeed(name);
    client
}

/// A short while, in which what must not happen would.
pub(crate) fn a_while() {
    std::thread::sleep(Duration::from_millis(1500));
}
