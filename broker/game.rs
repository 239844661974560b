//! Asks the game itself: what it shows in the list, and whether it takes players who are handed over.

use std::net::SocketAddr;
use std::time::Duration;

use mc_broker_core::protocol::status;
use mc_broker_core::server::sight::PingResult;
use mc_broker_core::wire::writer::Packet;
use mc_ping::PingForm;
use mc_ping::java::{Reader, request};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take. It is less than the time between two questions.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How long a server may take to refuse somebody who was handed over; it does so at once.
const REFUSES_WITHIN: Duration = Duration::from_secs(1);
/// The bytes that are read at once.
const PIECE: usize = 4096;
/// What a server says to those who are handed over if it takes none, and the most that is read of it, in bytes. It is the key of
/// a text (the game's own source, ServerHandshakePacketListenerImpl); Velocity has the same.
const REFUSAL: &[u8] = b"transfers_disabled";
const LONGEST_REASON: u64 = 1024;
/// Somebody who was handed over (minecraft.wiki, "Java Edition protocol/Packets", handshake).
const TRANSFER: u32 = 3;
/// The protocol to speak where the server does not say its own: 1.21.11.
const SOME_PROTOCOL: u32 = 774;

/// What the server at `address` answers. `mark` is what the broker knows its own answers by. With `tries_header`, a server that
/// does not answer is asked again, in half of the time each, with the header that those who are relayed come with.
pub async fn ping(address: SocketAddr, mark: &str, tries_header: bool) -> PingResult {
    let patience = if tries_header { PATIENCE / 2 } else { PATIENCE };
    let answer = async |form| timeout(patience, Box::pin(exchange(address, form))).await.ok().flatten();
    match answer(PingForm::Plain).await {
        Some(text) if status::mark(&text).as_deref() == Some(mark) => PingResult::Ourselves,
        Some(text) => PingResult::Answered(text),
        None if tries_header => {
            answer(PingForm::Proxied).await.map_or(PingResult::Silent, PingResult::AnsweredBehindHeader)
        }
        None => PingResult::Silent,
    }
}

async fn exchange(address: SocketAddr, form: PingForm) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&request(address, form)).await.ok()?;
    let (mut reader, mut piece) = (Reader::new(), vec![0; PIECE]);
    loop {
        match stream.read(&mut piece).await.ok()? {
            0 => return None,
            length => {
                if let Some(text) = reader.push_for_text(&piece[..length]).ok()? {
                    return Some(text.to_vec());
                }
            }
        }
    }
}

/// Whether the server at `address`, whose answer to a ping is `words`, takes players who are handed over; `None`: it does not
/// say, or refuses for another reason. Only the handshake is sent, and nobody's name: one that refuses them says so at once.
pub async fn takes_transfers(address: SocketAddr, words: &[u8]) -> Option<bool> {
    let protocol = serde_json::from_slice::<Value>(words)
        .ok()
        .and_then(|words| u32::try_from(words.get("version")?.get("protocol")?.as_u64()?).ok());
    let handshake = Packet::new(0)
        .varint(protocol.unwrap_or(SOME_PROTOCOL))
        .text(&address.ip().to_canonical().to_string())
        .raw(&address.port().to_be_bytes())
        .varint(TRANSFER)
        .framed();
    let sent = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&handshake).await.ok()?;
        Some(stream)
    };
    let mut stream = timeout(PATIENCE, Box::pin(sent)).await.ok().flatten()?.take(LONGEST_REASON);
    let mut said = Vec::new();
    match timeout(REFUSES_WITHIN, Box::pin(stream.read_to_end(&mut said))).await {
        // It waits for the name.
        Err(_) if said.is_empty() => Some(true),
        _ if said.is_empty() || said.windows(REFUSAL.len()).any(|part| part == REFUSAL) => Some(false),
        // Too many connections of this address, for example.
        _ => None,
    }
}
