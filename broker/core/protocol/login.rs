//! The packets of a login. Their ids have been the same since 1.13 (and those that are used here since 1.7).

use crate::protocol::component::json_text;
use crate::protocol::versions::{self, SuccessTail};
use crate::wire::fields::{Fields, NotAField};
use crate::wire::writer::Packet;

/// The longest name, in UTF-16 units.
const LONGEST_NAME: usize = 16;
/// What a plugin request is about. Nobody knows this name, so every client answers that it does not.
const CHANNEL: &str = "mc-broker:hold";

/// The first packet of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginStart {
    /// 1 to 16 visible characters, none of them a space, as the game asks for.
    pub name: String,
    /// As the client says it.
    pub uuid: Option<u128>,
}

/// Login Start in `packet`, from a client that speaks `protocol`.
///
/// # Errors
/// It is none.
pub fn read_start(packet: &[u8], protocol: u32) -> Result<LoginStart, NotAField> {
    let mut fields = Fields(packet);
    if fields.varint()? != 0 {
        return Err(NotAField);
    }
    let name = fields.text(LONGEST_NAME)?;
    // StringUtil.isValidPlayerName of the game.
    if name.is_empty() || !name.chars().all(|char| char > ' ' && char < '\u{7f}') {
        return Err(NotAField);
    }
    // What is between them in some versions is of no use here.
    let uuid = if versions::names_uuid(protocol) { Some(fields.u128()?) } else { None };
    Ok(LoginStart { name: name.to_owned(), uuid })
}

/// What a client proves that it has the key with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// The token of the request, encrypted.
    Token(&'a [u8]),
    /// A signature by a key of the player's own, which is not verified: the session server's word is enough.
    Signature,
}

/// Encryption Response in `packet`: the secret, encrypted, and the proof.
///
/// # Errors
/// It is none.
pub fn read_encryption(packet: &[u8], protocol: u32) -> Result<(&[u8], Proof<'_>), NotAField> {
    let mut fields = Fields(packet);
    if fields.varint()? != 1 {
        return Err(NotAField);
    }
    if versions::has_short_arrays(protocol) {
        let secret = fields.short_bytes()?;
        return Ok((secret, Proof::Token(fields.short_bytes()?)));
    }
    let secret = fields.bytes()?;
    let signed = versions::may_sign(protocol) && !fields.bool()?;
    Ok((secret, if signed { Proof::Signature } else { Proof::Token(fields.bytes()?) }))
}

/// Whether `packet` is Login Acknowledged.
#[must_use]
pub fn is_acknowledged(packet: &[u8]) -> bool {
    packet == [3]
}

/// Whether `packet` is an answer to a plugin request.
#[must_use]
pub fn is_plugin_response(packet: &[u8]) -> bool {
    packet.first() == Some(&2)
}

/// Asks for encryption, and for the session server.
#[must_use]
pub fn encryption_request(protocol: u32, public_key: &[u8], token: &[u8]) -> Vec<u8> {
    let packet = Packet::new(1).text("");
    if versions::has_short_arrays(protocol) {
        return packet.short_bytes(public_key).short_bytes(token).framed();
    }
    let packet = packet.bytes(public_key).bytes(token);
    if versions::says_whether_to_authenticate(protocol) { packet.bool(true).framed() } else { packet.framed() }
}

/// Ends the login of somebody who is to be held in the configuration.
#[must_use]
pub fn success(name: &str, uuid: u128, session: u128, tail: SuccessTail) -> Vec<u8> {
    let packet = Packet::new(2).u128(uuid).text(name).varint(0);
    match tail {
        SuccessTail::Nothing => packet,
        SuccessTail::StrictErrorHandling => packet.bool(false),
        SuccessTail::SessionId => packet.u128(session),
    }
    .framed()
}

/// Asks something that nobody can answer, so that the connection is not silent.
#[must_use]
pub fn plugin_request(number: u32) -> Vec<u8> {
    Packet::new(4).varint(number).text(CHANNEL).framed()
}

/// Ends the connection with a text.
#[must_use]
pub fn disconnect(text: &str) -> Vec<u8> {
    Packet::new(0).text(&json_text(text)).framed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_of_each_form_is_read() {
        let start = |rest: &[u8], protocol| read_start(&[b"\x00\x05Steve", rest].concat(), protocol);
        let steve = |uuid| Ok(LoginStart { name: "Steve".to_owned(), uuid });
        assert_eq!(start(b"", 47), steve(None));
        assert_eq!(start(b"\x01 a key and more", 759), steve(None));
        assert_eq!(start(&[7; 16], 764), steve(Some(u128::from_be_bytes([7; 16]))));
        assert_eq!(start(b"", 764), Err(NotAField));
        for name in ["", "a b", "seventeen_letters", "a\u{7f}", "a\n", "\u{202e}"] {
            let packet = [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
            assert_eq!(read_start(&packet, 47), Err(NotAField), "{name}");
        }
    }

    #[test]
    fn an_answer_to_the_request_for_encryption_is_read_in_each_form() {
        let token = |token| Ok((&b"ab"[..], Proof::Token(token)));
        assert_eq!(read_encryption(b"\x01\x00\x02ab\x00\x03cde", 5), token(&b"cde"[..]));
        assert_eq!(read_encryption(b"\x01\x02ab\x03cde", 340), token(b"cde"));
        assert_eq!(read_encryption(b"\x01\x02ab\x01\x03cde", 759), token(b"cde"));
        assert_eq!(read_encryption(b"\x01\x02ab\x00salt and signature", 760), Ok((&b"ab"[..], Proof::Signature)));
        assert_eq!(read_encryption(b"\x01\x02ab\x03cd", 774), Err(NotAField));
        assert_eq!(read_encryption(b"\x02\x02ab\x03cde", 774), Err(NotAField));
    }

    #[test]
    fn the_bytes_of_each_form_are_the_documented_ones() {
        assert_eq!(encryption_request(340, b"key", b"tokn"), b"\x0b\x01\x00\x03key\x04tokn");
        assert_eq!(encryption_request(777, b"key", b"tokn"), b"\x0c\x01\x00\x03key\x04tokn\x01");
        assert_eq!(encryption_request(5, b"key", b"tokn"), b"\x0d\x01\x00\x00\x03key\x00\x04tokn");
        let uuid = u128::from_be_bytes([1; 16]);
        let head = [&b"\x02"[..], &[1; 16], b"\x05Steve\x00"].concat();
        let with = |tail: &[u8]| [&[u8::try_from(head.len() + tail.len()).unwrap()][..], &head, tail].concat();
        assert_eq!(success("Steve", uuid, 0, SuccessTail::Nothing), with(b""));
        assert_eq!(success("Steve", uuid, 0, SuccessTail::StrictErrorHandling), with(b"\x00"));
        assert_eq!(success("Steve", uuid, u128::from_be_bytes([9; 16]), SuccessTail::SessionId), with(&[9; 16]));
        assert_eq!(plugin_request(300), b"\x12\x04\xac\x02\x0emc-broker:hold");
        assert_eq!(disconnect("no"), b"\x0f\x00\x0d{\"text\":\"no\"}");
    }
}
