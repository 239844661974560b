//! The sockets of one question: sends it, and passes what comes back to the parsers. Deadlines are up to the caller;
//! dropping one of these futures closes its socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::time;

use crate::ask::own::{Arrived, OwnSockets};
use crate::ask::{DEADLINE, raknet};
use mc_ping::PingForm;
use mc_ping::answer::Answer;
use mc_ping::java;

/// How long a server may be silent before the other form is tried in parallel, where that is allowed.
const HEAD_START: Duration = Duration::from_secs(1);
/// The time between two pings of the same question, because a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(900);
/// How many datagrams that do not belong to the question are tolerated from one server.
const MOST_WRONG: u32 = 32;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no route, or nobody listens.
    #[error("unreachable")]
    Unreachable(#[source] io::Error),
    #[error("connection lost")]
    Broken(#[source] io::Error),
    #[error("connection closed without an answer")]
    Closed,
    /// There was no answer, or not a complete one.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Silent,
    /// Its turn did not come in time.
    #[error("too many servers being asked at once")]
    Crowded,
    #[error(transparent)]
    Java(#[from] java::JavaStatusError),
    #[error(transparent)]
    Bedrock(#[from] raknet::PongError),
}

/// Asks the Java server at `address`, beginning with the form `first`. If that leads nowhere and `may_try_other`, which
/// is called only then, allows it, continues with the other form. Also returns the form that was answered.
///
/// # Errors
/// Neither form was answered; the error is that of the first.
pub async fn java(
    address: SocketAddr,
    first: PingForm,
    may_try_other: impl FnOnce() -> bool,
    own: &OwnSockets,
    arrived: &Arrived,
) -> Result<(Answer, PingForm), AskError> {
    let mut attempt = pin!(status(address, first, own, arrived));
    let failed = match time::timeout(HEAD_START, &mut attempt).await {
        Ok(Ok(answer)) => return Ok((answer, first)),
        // The other form would not reach it either.
        Ok(Err(error @ AskError::Unreachable(_))) => return Err(error),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    if !may_try_other() {
        return match failed {
            Some(error) => Err(error),
            None => attempt.await.map(|answer| (answer, first)),
        };
    }
    let mut other = pin!(status(address, first.other(), own, arrived));
    let Some(error) = failed else {
        return tokio::select! {
            answer = &mut attempt => match answer {
                Ok(answer) => Ok((answer, first)),
                Err(error) => other.await.map(|answer| (answer, first.other())).map_err(|_| error),
            },
            answer = &mut other => match answer {
                Ok(answer) => Ok((answer, first.other())),
                Err(_) => attempt.await.map(|answer| (answer, first)),
            },
        };
    };
    other.await.map(|answer| (answer, first.other())).map_err(|_| error)
}

async fn status(address: SocketAddr, form: PingForm, own: &OwnSockets, arrived: &Arrived) -> Result<Answer, AskError> {
    let connection = own.connect(address).await.map_err(AskError::Unreachable)?;
    let stream = connection.stream();
    let request = java::request(address, form);
    send(stream, &request).await.map_err(AskError::Broken)?;
    arrived.add(address, request.len());
    let mut reader = java::Reader::new();
    loop {
        stream.readable().await.map_err(AskError::Broken)?;
        let mut piece = [0; 4096];
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(AskError::Closed),
            Ok(length) => {
                if let Some(answer) = reader.push(&piece[..length])? {
                    return Ok(answer);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(AskError::Broken(error)),
        }
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Asks the Bedrock server at `address`, repeatedly for as long as it is silent.
///
/// # Errors
/// Nothing is bound there, or what comes back is not an answer.
pub async fn bedrock(address: SocketAddr, arrived: &Arrived) -> Result<Answer, AskError> {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await.map_err(AskError::Unreachable)?;
    // From here on the kernel drops datagrams from anybody else.
    socket.connect(address).await.map_err(AskError::Unreachable)?;
    // Random, so that nobody can answer without having seen it.
    let time = fastrand::u64(..) >> 1;
    let ping = raknet::ping(time, fastrand::u64(..));
    let mut wrong = 0;
    loop {
        socket.send(&ping).await.map_err(AskError::Unreachable)?;
        arrived.add_datagram(address, ping.len());
        if let Ok(answer) = time::timeout(AGAIN, answer(&socket, time, &mut wrong)).await {
            return answer;
        }
    }
}

/// Waits for the answer. Up to [`MOST_WRONG`] datagrams that belong to something else are tolerated.
async fn answer(socket: &UdpSocket, time: u64, wrong: &mut u32) -> Result<Answer, AskError> {
    loop {
        socket.readable().await.map_err(AskError::Broken)?;
        let mut datagram = [0; raknet::LONGEST];
        match socket.try_recv(&mut datagram) {
            Ok(length) => match raknet::pong(&datagram[..length], time) {
                Ok(answer) => return Ok(answer),
                Err(raknet::PongError::NoPong | raknet::PongError::AnotherPing) if *wrong < MOST_WRONG => *wrong += 1,
                Err(error) => return Err(error.into()),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The result of an earlier ping (udp(7)): nothing is bound there.
            Err(error) => return Err(AskError::Unreachable(error)),
        }
    }
}
