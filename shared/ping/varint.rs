//! Numbers of variable length: seven bits in each byte, the lowest first; the highest bit says that another byte follows
//! (minecraft.wiki, "Java Edition protocol/Data types").

/// The longest VarInt of 32 bits, in bytes.
pub const LONGEST: usize = 5;

/// A number goes on after its fifth byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number is longer than {LONGEST} bytes")]
pub struct VarIntTooLong;

/// The number at the beginning of `bytes`, and what comes after it; `None`: it is not complete. Bits above the 32nd are
/// dropped, as the game does.
///
/// # Errors
/// It is too long.
pub fn varint(bytes: &[u8]) -> Result<Option<(u32, &[u8])>, VarIntTooLong> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(LONGEST).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[at + 1..])));
        }
    }
    if bytes.len() < LONGEST { Ok(None) } else { Err(VarIntTooLong) }
}

/// Appends `value` to `bytes`.
pub fn put(bytes: &mut Vec<u8>, mut value: u32) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_protocol_are_read_and_written() {
        let examples: [(u32, &[u8]); 7] = [
            (0, b"\x00"),
            (127, b"\x7f"),
            (128, b"\x80\x01"),
            (25565, b"\xdd\xc7\x01"),
            (2_097_151, b"\xff\xff\x7f"),
            (2_147_483_647, b"\xff\xff\xff\xff\x07"),
            (u32::MAX, b"\xff\xff\xff\xff\x0f"),
        ];
        for (value, bytes) in examples {
            let mut written = Vec::new();
            put(&mut written, value);
            assert_eq!(written, bytes);
            assert_eq!(varint(bytes), Ok(Some((value, &[][..]))));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in any::<u32>(), after in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let whole = bytes.len();
            bytes.extend(&after);
            prop_assert_eq!(varint(&bytes), Ok(Some((value, &after[..]))));
            for cut in 0..whole {
                prop_assert_eq!(varint(&bytes[..cut]), Ok(None));
            }
        }
    }
}
