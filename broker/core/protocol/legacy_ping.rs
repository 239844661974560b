//! What the server list of clients before 1.7 asks, and is answered (minecraft.wiki, "Java Edition protocol/Server List
//! Ping", client to server, 1.6 and before).

/// The first byte of such a question. No packet of 1.7 and later begins with it: it would be 254 bytes long.
pub const FIRST: u8 = 0xfe;
/// The second one, from 1.4 on.
pub const SECOND: u8 = 0x01;

/// The answer for 1.4 to 1.6: no protocol of theirs is this one, so the list shows the text and the version.
#[must_use]
pub fn answer(text: &str) -> Vec<u8> {
    let text = text.replace('\0', " ");
    packet(&format!("§1\0{}\0mc-broker\0{text}\0{}\0{}", 127, 0, 0))
}

/// The answer for those before.
#[must_use]
pub fn oldest_answer(text: &str) -> Vec<u8> {
    packet(&format!("{}§{}§{}", text.replace('§', " "), 0, 0))
}

/// A kick, which is what carries the answer: a text in UTF-16, with the number of its units in front.
fn packet(text: &str) -> Vec<u8> {
    let units: Vec<u16> = text.encode_utf16().take(usize::from(u16::MAX)).collect();
    let mut bytes = vec![0xff];
    bytes.extend(u16::try_from(units.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(units.iter().flat_map(|unit| unit.to_be_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        assert_eq!(answer("Hi"), [&[0xff, 0x00, 0x17][..], &utf_16("§1\x00127\0mc-broker\0Hi\x000\x000")].concat());
        assert_eq!(oldest_answer("H§i"), [&[0xff, 0x00, 0x07][..], &utf_16("H i§0§0")].concat());
    }
}
