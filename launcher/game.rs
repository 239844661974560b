//! Asks the game itself who is online: a status ping of an instance's own address.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mc_ping::PingForm;
use mc_ping::answer::Answer;
use mc_ping::java::{Reader, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::deadline::Deadline;
use mc_launcher_core::server::instance::Instance;

/// What is left for the second form, when the first one is not answered.
const PROXIED: Duration = Duration::from_millis(500);
/// The bytes that are read at once.
const PIECE: usize = 4096;

/// What the server on `instance` answers until `deadline`; `None`: nothing that makes sense. A server behind a proxy that
/// speaks the PROXY protocol is asked in its way as well.
pub async fn ask(instance: &Instance, port: u16, deadline: Deadline) -> Option<Answer> {
    let address = instance.v4.map(IpAddr::V4).or(instance.v6.map(IpAddr::V6))?;
    let address = SocketAddr::new(address, port);
    let plain = deadline.earlier(PROXIED).limit("the game", exchange(address, PingForm::Plain)).await;
    match plain {
        Ok(Some(answer)) => Some(answer),
        // It drops what does not begin with a header, or says nothing.
        Ok(None) | Err(_) => deadline.limit("the game", exchange(address, PingForm::Proxied)).await.ok().flatten(),
    }
}

async fn exchange(address: SocketAddr, form: PingForm) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&request(address, form)).await.ok()?;
    let (mut reader, mut piece) = (Reader::new(), [0; PIECE]);
    loop {
        match stream.read(&mut piece).await.ok()? {
            0 => return None,
            length => match reader.push(&piece[..length]) {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(_) => return None,
            },
        }
    }
}
