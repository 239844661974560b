//! Stand-ins for servers that are behind something, broken or hostile. They are made up; what they do is done on real
//! sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mc_ping::PingForm;

/// A TCP server that does the same with each connection, each in a thread of its own.
pub fn tcp(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A UDP socket that does the same with each datagram.
pub fn udp(mut serve: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            serve(&socket, &datagram[..length], from);
        }
    });
    address
}

/// Says nothing for as long as the other side is there.
pub fn silence(mut stream: TcpStream) {
    let _ = io::copy(&mut stream, &mut io::sink());
}

/// Sends `bytes` at once and then nothing more.
pub fn says(bytes: Vec<u8>) -> SocketAddr {
    tcp(move |mut stream| {
        let _ = stream.write_all(&bytes);
        silence(stream);
    })
}

/// Sends `bytes` one by one, two in a second.
pub fn drips(bytes: Vec<u8>) -> SocketAddr {
    tcp(move |mut stream| {
        for byte in &bytes {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(500));
        }
    })
}

/// The answer of a server with `online` players.
pub fn status(online: u32) -> Vec<u8> {
    response(format!(r#"{{"players":{{"max":10,"online":{online}}}}}"#).as_bytes())
}

/// A status response with this text, of at most 120 bytes.
pub fn response(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length <= 120);
    [&[length + 2, 0, length], text].concat()
}

/// How a question begins, once all of it has come.
pub fn question(stream: &mut TcpStream) -> io::Result<PingForm> {
    let mut first = [0];
    stream.read_exact(&mut first)?;
    let form = if first == *b"\r" {
        let mut header = [0; 15];
        stream.read_exact(&mut header)?;
        assert_eq!(&header, b"\n\r\n\0\r\nQUIT\n\x20\0\0\0");
        stream.read_exact(&mut first)?;
        PingForm::Proxied
    } else {
        PingForm::Plain
    };
    let mut rest = vec![0; usize::from(first[0]) + 2];
    stream.read_exact(&mut rest)?;
    assert!(rest.ends_with(&[1, 1, 0]), "a handshake for the status, and the request: {rest:?}");
    Ok(form)
}

/// A server that speaks one form and hangs up on the other, until it is told to speak another.
#[derive(Clone)]
pub struct Gate {
    pub address: SocketAddr,
    speaks: Arc<Mutex<PingForm>>,
    seen: Arc<Mutex<Vec<PingForm>>>,
}

impl Gate {
    pub fn start(form: PingForm) -> Self {
        let (speaks, seen) = (Arc::new(Mutex::new(form)), Arc::<Mutex<Vec<PingForm>>>::default());
        let (speaks_now, all) = (Arc::clone(&speaks), Arc::clone(&seen));
        let address = tcp(move |mut stream| {
            let Ok(form) = question(&mut stream) else { return };
            all.lock().unwrap().push(form);
            if form == *speaks_now.lock().unwrap() {
                let _ = stream.write_all(&status(3));
                silence(stream);
            }
        });
        Gate { address, speaks, seen }
    }

    pub fn speak(&self, form: PingForm) {
        *self.speaks.lock().unwrap() = form;
    }

    /// The forms of the questions since this was asked last.
    pub fn seen(&self) -> Vec<PingForm> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}
