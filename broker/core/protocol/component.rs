//! Text as the game has it.

use serde_json::json;

/// As JSON: in a login, and in a status.
#[must_use]
pub fn json_text(text: &str) -> String {
    json!({ "text": text }).to_string()
}

/// As NBT, without a name in front: in the configuration state (1.20.3 and later). A tag of text, its length in bytes as
/// 16 bits, and the text in Java's own UTF-8 (java.io.DataInput).
#[must_use]
pub fn nbt_text(text: &str) -> Vec<u8> {
    const STRING: u8 = 8;
    let mut written = Vec::with_capacity(text.len());
    for char in text.chars() {
        let mut next = Vec::new();
        match u32::from(char) {
            0 => next.extend([0xc0, 0x80]),
            1..=0xffff => next.extend(char.encode_utf8(&mut [0; 4]).bytes()),
            // Two units of UTF-16, each written as a character of its own.
            _ => next.extend(char.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| three_bytes(*unit))),
        }
        if written.len() + next.len() > usize::from(u16::MAX) {
            break;
        }
        written.extend(next);
    }
    let length = u16::try_from(written.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[STRING], &length[..], &written].concat()
}

fn three_bytes(unit: u16) -> [u8; 3] {
    let six = |shift: u16| u8::try_from(unit >> shift & 0x3f).unwrap_or_default();
    let four = u8::try_from(unit >> 12).unwrap_or_default();
    [0xe0 | four, 0x80 | six(6), 0x80 | six(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_written_as_java_reads_it() {
        assert_eq!(nbt_text("Zoë"), b"\x08\x00\x04Zo\xc3\xab");
        // java.io.DataOutputStream.writeUTF of U+1F600.
        assert_eq!(nbt_text("\u{1f600}"), b"\x08\x00\x06\xed\xa0\xbd\xed\xb8\x80");
        assert_eq!(nbt_text("\0"), b"\x08\x00\x02\xc0\x80");
        assert_eq!(nbt_text(&"ä".repeat(40_000)).len(), 3 + 65_534);
    }
}
