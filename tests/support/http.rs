//! HTTP as a server sees it: for stand-ins of services.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// The head of a request, and its body; `None`: the connection has ended.
pub fn request(reader: &mut impl BufRead) -> Option<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// Answers requests on a port of 127.0.0.1, which is returned, for as long as the test's process lives. `answer` takes the
/// head of a request and its body, and gives a status and a body; without any the connection stays open in silence.
pub fn serve(answer: impl Fn(&str, &str) -> Option<(u16, String)> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            thread::spawn(move || converse(stream, |head, body| answer(head, body)));
        }
    });
    port
}

fn converse(mut stream: TcpStream, answer: impl Fn(&str, &str) -> Option<(u16, String)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((head, body)) = request(&mut reader) {
        let Some((status, body)) = answer(&head, &body) else {
            // Until the other side has enough.
            let _ = std::io::copy(&mut reader, &mut std::io::sink());
            return;
        };
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
