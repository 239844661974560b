//! The status ping of the Java edition, 1.7 and later, as bytes (minecraft.wiki, "Java Edition protocol/Server List
//! Ping"). Pure: received bytes go in, an answer comes out. No length that the server claims is ever allocated.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::error::Category;

use crate::PingForm;
use crate::answer::Answer;
use crate::varint::{self, VarIntTooLong, varint};

/// The longest answer that is read, in bytes. The protocol allows a text of 32,767 UTF-16 units, at most 3 bytes each.
pub const LONGEST: usize = 128 * 1024;

/// A PROXY header, version 2: LOCAL, no addresses (haproxy, doc/proxy-protocol.txt, 2.2).
const PROXY_LOCAL: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// The protocol version of a client that wants to know the server's: -1 as a VarInt.
const ANY_VERSION: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x0f];
/// The purpose of the connection, in the handshake.
const STATUS: u8 = 1;
/// The packet id of the handshake, the request and the response.
const ID: u8 = 0;

/// Why an answer is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JavaStatusError {
    #[error("answer too long: {claimed} bytes claimed, at most {LONGEST} accepted")]
    TooLong { claimed: u32 },
    /// The frame, the packet id or the length of the text is wrong.
    #[error("not an answer to a Minecraft status ping")]
    NoStatus,
    #[error("status is not JSON")]
    NoJson,
    /// There is no count, or it is not a possible number of players.
    #[error("status does not say how many players are online")]
    NoCount,
}

impl From<VarIntTooLong> for JavaStatusError {
    fn from(_: VarIntTooLong) -> Self {
        JavaStatusError::NoStatus
    }
}

/// What to send to the server at `address`: handshake and status request, in one piece.
#[must_use]
pub fn request(address: SocketAddr, form: PingForm) -> Vec<u8> {
    let host = address.ip().to_canonical().to_string();
    let mut handshake = vec![ID];
    handshake.extend(ANY_VERSION);
    // At most 45 characters, so the length is one byte as a VarInt.
    handshake.extend(u8::try_from(host.len()));
    handshake.extend(host.bytes());
    handshake.extend(address.port().to_be_bytes());
    handshake.push(STATUS);

    let mut bytes = match form {
        PingForm::Plain => Vec::new(),
        PingForm::Proxied => PROXY_LOCAL.to_vec(),
    };
    bytes.extend(u8::try_from(handshake.len()));
    bytes.extend(handshake);
    bytes.extend([1, ID]);
    bytes
}

/// Assembles an answer from the pieces that it arrives in.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has arrived; never more than one answer.
    bytes: Vec<u8>,
}

impl Reader {
    /// A reader that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece, of any length; `None`: the answer is not complete yet. After an answer or an error there
    /// is nothing more to read.
    ///
    /// # Errors
    /// It cannot become an answer any more.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<Answer>, JavaStatusError> {
        self.push_for_text(piece)?.map(status).transpose()
    }

    /// The same for the whole text of the status, as the server wrote it.
    ///
    /// # Errors
    /// It cannot become an answer any more.
    pub fn push_for_text(&mut self, piece: &[u8]) -> Result<Option<&[u8]>, JavaStatusError> {
        let room = (varint::LONGEST + LONGEST).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        let Some((length, rest)) = varint(&self.bytes)? else { return Ok(None) };
        let frame = usize::try_from(length).unwrap_or(usize::MAX);
        if frame > LONGEST {
            return Err(JavaStatusError::TooLong { claimed: length });
        }
        rest.get(..frame).map(packet).transpose()
    }
}

/// The text of a status in a complete packet without its length.
fn packet(packet: &[u8]) -> Result<&[u8], JavaStatusError> {
    let (id, rest) = varint(packet)?.ok_or(JavaStatusError::NoStatus)?;
    let (length, rest) = varint(rest)?.ok_or(JavaStatusError::NoStatus)?;
    let text = usize::try_from(length).ok().and_then(|length| rest.get(..length)).ok_or(JavaStatusError::NoStatus)?;
    if id == u32::from(ID) { Ok(text) } else { Err(JavaStatusError::NoStatus) }
}

/// Parses the text of a status. Only `players.online` and `players.sample[].name` are used.
///
/// # Errors
/// It is not JSON, or does not say how many are online.
pub fn status(text: &[u8]) -> Result<Answer, JavaStatusError> {
    let status: JavaStatus<Count> = serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Data => JavaStatusError::NoCount,
        Category::Io | Category::Syntax | Category::Eof => JavaStatusError::NoJson,
    })?;
    let online = status.players.ok_or(JavaStatusError::NoCount)?.online;
    // Malformed names must not spoil the count, so they are parsed separately, and only after it.
    let sample = serde_json::from_slice::<JavaStatus<Names>>(text).ok().and_then(|status| status.players);
    let players = sample.into_iter().flat_map(|players| players.sample);
    Ok(Answer::new(online, players.map(|player| player.name)))
}

#[derive(Deserialize)]
struct JavaStatus<T> {
    players: Option<T>,
}

#[derive(Deserialize)]
struct Count {
    online: u32,
}

#[derive(Deserialize)]
struct Names {
    sample: Vec<PlayerSample>,
}

#[derive(Deserialize)]
struct PlayerSample {
    name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const TWO_GIB: u32 = i32::MAX.cast_unsigned();

    fn written(value: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, value);
        bytes
    }

    fn response(text: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| written(u32::try_from(bytes.len()).unwrap());
        let packet = [&[ID], &*length(text), text].concat();
        [length(&packet), packet].concat()
    }

    fn read(bytes: &[u8]) -> Result<Option<Answer>, JavaStatusError> {
        Reader::new().push(bytes)
    }

    fn said(status: &serde_json::Value) -> Result<Option<Answer>, JavaStatusError> {
        read(&response(status.to_string().as_bytes()))
    }

    #[test]
    fn asks_as_a_client_does_that_knows_no_version() {
        let address = "127.0.0.1:25565".parse().unwrap();
        let plain = b"\x13\x00\xff\xff\xff\xff\x0f\x09127.0.0.1\x63\xdd\x01\x01\x00";
        assert_eq!(request(address, PingForm::Plain), plain);
        let header = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";
        assert_eq!(request(address, PingForm::Proxied), [&header[..], &plain[..]].concat());
        // The longest possible host.
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let bytes = request(longest, PingForm::Plain);
        assert_eq!(usize::from(bytes[0]), bytes.len() - 3);
    }

    #[test]
    fn the_count_and_the_names_are_read_and_nothing_else() {
        let status = json!({
            "version": {"name": "1.21.4", "protocol": 769}, "description": {"text": "hi", "players": {"online": 9}},
            "players": {"max": 10, "online": 2, "sample": [{"name": "steve", "id": "x"}, {"name": "al\u{1b}ex"}]},
        });
        let names = vec!["steve".to_owned(), "al\u{fffd}ex".to_owned()];
        assert_eq!(said(&status), Ok(Some(Answer { online: 2, names })));
        for hidden in [json!({"online": 7}), json!({"online": 7, "sample": null}), json!({"online": 7, "sample": [1]})]
        {
            assert_eq!(said(&json!({"players": hidden})), Ok(Some(Answer { online: 7, names: vec![] })), "{hidden}");
        }
    }

    #[test]
    fn a_status_without_a_count_is_no_answer() {
        let nothing = json!({});
        let counts = [json!(-1), json!(1.5), json!("1"), json!(null), json!(4_294_967_296_u64)];
        let wrong = counts.map(|online| json!({"players": {"online": online}}));
        for status in
            [nothing, json!({"players": null}), json!({"players": {}}), json!({"players": 3})].iter().chain(&wrong)
        {
            assert_eq!(said(status), Err(JavaStatusError::NoCount), "{status}");
        }
        for text in ["", "{", "players", "\u{0}"] {
            assert_eq!(read(&response(text.as_bytes())), Err(JavaStatusError::NoJson), "{text}");
        }
    }

    #[test]
    fn what_is_no_status_is_told_from_what_is_not_whole() {
        let whole = response(br#"{"players":{"online":1}}"#);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Ok(None), "{length} bytes");
        }
        let no_status =
            [&b"\x00"[..], b"\x01\x00", b"\x01\x01", b"\x03\x01\x01{", b"\x03\x00\x02{", b"\xff\xff\xff\xff\xff"];
        for bytes in no_status {
            assert_eq!(read(bytes), Err(JavaStatusError::NoStatus), "{bytes:?}");
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        let longest = u32::try_from(LONGEST).unwrap();
        for claimed in [longest + 1, TWO_GIB, u32::MAX] {
            let mut reader = Reader::new();
            assert_eq!(reader.push(&written(claimed)), Err(JavaStatusError::TooLong { claimed }));
            assert!(reader.bytes.capacity() < 64, "{}", reader.bytes.capacity());
        }
        // The length of the text, within a short frame.
        let text = [&[ID], &*written(TWO_GIB), b"{}"].concat();
        assert_eq!(read(&[&[u8::try_from(text.len()).unwrap()], &*text].concat()), Err(JavaStatusError::NoStatus));
        // A claim that is accepted allocates nothing either.
        let mut reader = Reader::new();
        assert_eq!(reader.push(&written(longest)), Ok(None));
        assert!(reader.bytes.capacity() < 64, "{}", reader.bytes.capacity());
    }

    #[test]
    fn what_comes_after_the_answer_is_not_kept() {
        let mut reader = Reader::new();
        let flood = vec![b'x'; 8 * LONGEST];
        let bytes = [response(br#"{"players":{"online":1}}"#), flood].concat();
        assert!(matches!(reader.push(&bytes), Ok(Some(Answer { online: 1, .. }))));
        assert!(reader.bytes.capacity() <= 2 * LONGEST, "{}", reader.bytes.capacity());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_any_split_reads_the_same(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                any::<String>().prop_map(|text| response(text.as_bytes())),
                (any::<u32>(), any::<String>()).prop_map(|(online, name)| response(
                    json!({"players": {"online": online, "sample": [{"name": name}]}}).to_string().as_bytes())),
            ],
            cuts in prop::collection::vec(0_usize..300, 0..8),
        ) {
            let whole = read(&bytes);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let (mut reader, mut read) = (Reader::new(), Ok(None));
            for cut in cuts.windows(2) {
                read = reader.push(&bytes[cut[0]..cut[1]]);
                if read != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(read, whole);
        }

        #[test]
        fn any_count_is_read(online in any::<u32>(), max in any::<i64>()) {
            let answer = said(&json!({"players": {"max": max, "online": online}}));
            prop_assert_eq!(answer, Ok(Some(Answer { online, names: vec![] })));
        }

        #[test]
        fn numbers_are_read_as_they_are_written(value in any::<u32>(), rest in prop::collection::vec(any::<u8>(), 0..4)) {
            let bytes = [written(value), rest.clone()].concat();
            prop_assert_eq!(varint(&bytes), Ok(Some((value, &*rest))));
        }
    }
}
