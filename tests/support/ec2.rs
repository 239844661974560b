//! An EC2 that keeps its connections open, as AWS does and the emulator does not. A fake for this alone: it says which
//! connection each request came over.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request: the number of its connection, and its body.
pub type Request = (usize, String);

const WOULD_SUCCEED: &str = "<Response><Errors><Error><Code>DryRunOperation</Code><Message>It would have succeeded.\
     </Message></Error></Errors><RequestID>1</RequestID></Response>";
const STOPPING: &str = "<StopInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1\
     </requestId><instancesSet/></StopInstancesResponse>";

/// Starts one that lives as long as the test's process, and returns its port and its list of requests.
pub fn start() -> (u16, Arc<Mutex<Vec<Request>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&requests);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let record = Arc::clone(&record);
            thread::spawn(move || serve(stream, |body| record.lock().unwrap().push((number, body))));
        }
    });
    (port, requests)
}

fn serve(mut stream: TcpStream, record: impl Fn(String)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(length) = content_length(&mut reader) {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let (status, answer) = if body.contains("DryRun=true") {
            ("412 Precondition Failed", WOULD_SUCCEED)
        } else {
            ("200 OK", STOPPING)
        };
        record(body);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
    }
}

/// Reads the head of a request; `None` when the connection has ended.
fn content_length(reader: &mut impl BufRead) -> Option<usize> {
    let mut length = 0;
    for line in reader.lines() {
        let line = line.ok()?.to_ascii_lowercase();
        if line.is_empty() {
            return Some(length);
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    None
}
