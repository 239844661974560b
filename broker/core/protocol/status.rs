//! What the server list shows (minecraft.wiki, "Java Edition protocol/Server List Ping").

use serde_json::{Value, json};

use crate::protocol::versions::NEWEST;
use crate::wire::fields::Fields;
use crate::wire::writer::Packet;

/// The field by which the broker knows its own answers: a Transfer to where they come from would lead back here.
pub const MARK: &str = "mcBroker";

/// What a client asks once it has said that it wants the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusQuestion {
    Status,
    /// How long an answer takes; with the number that is to come back.
    Ping(u64),
}

/// The question in `packet`; `None`: it is none.
#[must_use]
pub fn read(packet: &[u8]) -> Option<StatusQuestion> {
    let mut fields = Fields(packet);
    let question = match fields.varint().ok()? {
        0 => StatusQuestion::Status,
        1 => StatusQuestion::Ping(fields.u64().ok()?),
        _ => return None,
    };
    fields.0.is_empty().then_some(question)
}

/// The broker's own text, for a client that speaks `protocol`: with another one, the list would call the server outdated.
#[must_use]
pub fn own(text: &str, protocol: u32, mark: &str) -> String {
    // -1 asks for any (and so does every other number that is none).
    let protocol = if protocol > i32::MAX.cast_unsigned() { NEWEST.0 } else { protocol };
    json!({
        "version": {"name": "mc-broker", "protocol": protocol}, "players": {"max": 0, "online": 0},
        "description": {"text": text}, (MARK): mark,
    })
    .to_string()
}

/// The server's own answer, marked as one that the broker passes on; `None`: it is no JSON object.
#[must_use]
pub fn passed_on(answer: &[u8], mark: &str) -> Option<String> {
    let mut answer: Value = serde_json::from_slice(answer).ok()?;
    answer.as_object_mut()?.insert(MARK.to_owned(), mark.into());
    Some(answer.to_string())
}

/// The mark in an answer.
#[must_use]
pub fn mark(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    Some(answer.get(MARK)?.as_str()?.to_owned())
}

/// The answer as a packet.
#[must_use]
pub fn response(status: &str) -> Vec<u8> {
    Packet::new(0).text(status).framed()
}

/// The number of a [`StatusQuestion::Ping`] as a packet.
#[must_use]
pub fn pong(number: u64) -> Vec<u8> {
    Packet::new(1).u64(number).framed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_nothing_else() {
        assert_eq!(read(b"\x00"), Some(StatusQuestion::Status));
        assert_eq!(read(b"\x01\0\0\0\0\0\0\0\x07"), Some(StatusQuestion::Ping(7)));
        for other in [&b""[..], b"\x00\x00", b"\x01\x00", b"\x02", b"\x01\0\0\0\0\0\0\0\x07\x00"] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_broker_knows_its_own_answers_and_those_that_it_passes_on() {
        let own_answer = own("Asleep \"now\"", 774, "m");
        assert_eq!(mark(own_answer.as_bytes()).as_deref(), Some("m"));
        let value: Value = serde_json::from_str(&own_answer).unwrap();
        assert_eq!(
            (&value["version"]["protocol"], &value["description"]["text"]),
            (&json!(774), &json!("Asleep \"now\""))
        );
        let any: Value = serde_json::from_str(&own("", u32::MAX, "m")).unwrap();
        assert_eq!(any["version"]["protocol"], NEWEST.0);
        let passed = passed_on(br#"{"players":{"online":3},"forgeData":{"x":1}}"#, "m").unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&passed).unwrap(),
            json!({"players": {"online": 3}, "forgeData": {"x": 1}, (MARK): "m"})
        );
        assert_eq!((passed_on(b"[]", "m"), passed_on(b"x", "m"), mark(b"{}")), (None, None, None));
    }
}
