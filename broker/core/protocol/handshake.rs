//! The first packet: which protocol, which address was typed, and what for.

use crate::wire::fields::{Fields, NotAField};

/// The longest host that is taken, in UTF-16 units: mods put more into it than a name (Forge, `host\0FML3\0`).
const LONGEST_HOST: usize = 1024;

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Status,
    /// To log in, or to come in from another server by a Transfer.
    Login,
}

/// The handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    pub protocol: u32,
    pub intent: Intent,
}

/// The handshake in `packet`.
///
/// # Errors
/// It is none.
pub fn read(packet: &[u8]) -> Result<Handshake, NotAField> {
    let mut fields = Fields(packet);
    if fields.varint()? != 0 {
        return Err(NotAField);
    }
    let protocol = fields.varint()?;
    fields.text(LONGEST_HOST)?;
    fields.u16()?;
    let intent = match fields.varint()? {
        1 => Intent::Status,
        2 | 3 => Intent::Login,
        _ => return Err(NotAField),
    };
    if fields.0.is_empty() { Ok(Handshake { protocol, intent }) } else { Err(NotAField) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::writer::Packet;

    fn packet(host: &str, intent: u32) -> Vec<u8> {
        let framed = Packet::new(0).varint(774).text(host).raw(&25565_u16.to_be_bytes()).varint(intent).framed();
        let length = if framed[0] & 0x80 == 0 { 1 } else { 2 };
        framed[length..].to_vec()
    }

    #[test]
    fn it_says_what_for() {
        let of = |intent| read(&packet("play.example.org.\0FML3\0", intent)).map(|handshake| handshake.intent);
        assert_eq!([1, 2, 3].map(of), [Ok(Intent::Status), Ok(Intent::Login), Ok(Intent::Login)]);
        assert_eq!(of(4), Err(NotAField));
        assert!(read(&packet(&"x".repeat(1025), 2)).is_err());
        assert!(read(&[packet("x", 2), vec![0]].concat()).is_err());
        assert!(read(b"").is_err() && read(b"\x01").is_err());
    }
}
