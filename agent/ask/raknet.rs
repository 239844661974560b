//! The ping of the Bedrock edition as bytes: RakNet's "unconnected ping" and "unconnected pong" (minecraft.wiki,
//! "RakNet"). Pure.

use mc_ping::answer::Answer;

/// RakNet's marker of a message outside a connection.
const MAGIC: [u8; 16] =
    [0x00, 0xff, 0xff, 0x00, 0xfe, 0xfe, 0xfe, 0xfe, 0xfd, 0xfd, 0xfd, 0xfd, 0x12, 0x34, 0x56, 0x78];
const PING: u8 = 0x01;
const PONG: u8 = 0x1c;

/// The longest pong that is read completely, in bytes: more than fits into an Internet packet.
pub const LONGEST: usize = 2048;

/// Why a datagram is not an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PongError {
    /// It is not a pong, or not a complete one.
    #[error("not an answer to a RakNet ping")]
    NoPong,
    #[error("answer to another ping")]
    AnotherPing,
    #[error("not an answer from a Minecraft server")]
    NoMinecraft,
    /// The count is missing, not a number, or cannot be told from other numbers.
    #[error("answer does not say how many players are online")]
    NoCount,
}

/// Builds a ping. The server sends `time` back; `guid` identifies the client. Both may be anything.
#[must_use]
pub fn ping(time: u64, guid: u64) -> [u8; 33] {
    let mut bytes = [0; 33];
    bytes[0] = PING;
    bytes[1..9].copy_from_slice(&time.to_be_bytes());
    bytes[9..25].copy_from_slice(&MAGIC);
    bytes[25..].copy_from_slice(&guid.to_be_bytes());
    bytes
}

/// Parses the answer to the ping with this `time`.
///
/// # Errors
/// It is not an answer to that ping.
pub fn pong(datagram: &[u8], time: u64) -> Result<Answer, PongError> {
    let rest = datagram.strip_prefix(&[PONG]).ok_or(PongError::NoPong)?;
    let (echo, rest) = rest.split_first_chunk().ok_or(PongError::NoPong)?;
    let (_server, rest) = rest.split_first_chunk::<8>().ok_or(PongError::NoPong)?;
    let rest = rest.strip_prefix(&MAGIC).ok_or(PongError::NoPong)?;
    let (length, rest) = rest.split_first_chunk().ok_or(PongError::NoPong)?;
    let text = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or(PongError::NoPong)?;
    if u64::from_be_bytes(*echo) != time {
        return Err(PongError::AnotherPing);
    }
    online(&String::from_utf8_lossy(text)).map(|online| Answer::new(online, []))
}

/// How many are online according to a text of the form `MCPE;motd;protocol;version;ONLINE;MAX;...`; `MCEE` is the
/// Education edition.
///
/// The motd is free text. Some servers write a semicolon in it as `\;`, others leave it as it is, and a motd may end in
/// a backslash, so the fields are found by what they look like, not by their position. A text that can be read in two
/// ways counts as having no count.
fn online(text: &str) -> Result<u32, PongError> {
    let fields: Vec<&str> = text.split(';').collect();
    if !matches!(fields[0], "MCPE" | "MCEE") {
        return Err(PongError::NoMinecraft);
    }
    let mut places = fields.windows(4).skip(2).filter(|fields| {
        let [protocol, version, online, max] = fields else { return false };
        is_number(protocol) && is_version(version) && is_number(online) && is_number(max)
    });
    let online = match (places.next(), places.next()) {
        (Some(place), None) => Some(place[2]),
        (Some(_), Some(_)) => None,
        // Some servers put free text into the version too. Then the motd must be escaped properly.
        (None, _) => match unescaped(text)[..] {
            [_, _, protocol, _, online, max, ..] if is_number(protocol) && is_number(max) => Some(online),
            _ => None,
        },
    };
    online.and_then(|online| online.parse().ok()).ok_or(PongError::NoCount)
}

/// The fields of `text`, where a semicolon after a backslash is not a separator.
fn unescaped(text: &str) -> Vec<&str> {
    let (mut fields, mut start) = (vec![], 0);
    for (at, _) in text.match_indices(';').filter(|(at, _)| !text[..*at].ends_with('\\')) {
        fields.push(&text[start..at]);
        start = at + 1;
    }
    fields.push(&text[start..]);
    fields
}

/// Whether it is a number of any size.
fn is_number(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it looks like "1.21.50": two numbers or more.
fn is_version(field: &str) -> bool {
    field.contains('.') && field.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: u64 = 0x0102_0304_0506_0708;

    fn datagram(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[PONG], &TIME.to_be_bytes()[..], &[9; 8], &MAGIC, &length, text.as_bytes()].concat()
    }

    fn said(text: &str) -> Result<u32, PongError> {
        pong(&datagram(text), TIME).map(|answer| {
            assert!(answer.names.is_empty());
            answer.online
        })
    }

    #[test]
    fn asks_as_raknet_does() {
        let expected = b"\x01\x01\x02\x03\x04\x05\x06\x07\x08\
            \x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78\x00\x00\x00\x00\x00\x00\x00\x07";
        assert_eq!(&ping(TIME, 7), expected);
    }

    #[test]
    fn the_count_is_found_whatever_stands_in_the_motd() {
        let rest = "13253860892328930865;Bedrock level;Survival;1;19132;19133;0;";
        for motd in [
            "Dedicated Server",
            "",
            "a;b",
            r"a\;b",
            "back\\",
            r"1\;1.0\;0\;10",
            "7;8;9",
            "§aHi",
            "1;2;3;4;5",
            "1;1.0;0;10",
            ";;;;",
        ] {
            for edition in ["MCPE", "MCEE"] {
                let text = format!("{edition};{motd};766;1.21.50;5;10;{rest}");
                assert_eq!(said(&text), Ok(5), "{text}");
                assert_eq!(said(&format!("{edition};{motd};766;1.21.50;0;10")), Ok(0), "{text}");
            }
        }
        assert_eq!(said(&format!("MCPE;a server;766;v1.21 beta;3;10;{rest}")), Ok(3));
        assert_eq!(said(&format!("MCPE;a server;766;;3;10;{rest}")), Ok(3));
    }

    #[test]
    fn a_text_that_can_be_read_in_two_ways_says_nothing() {
        let texts = [
            "MCPE;x;1;1.0;0;10;766;1.21.50;5;10",
            "MCPE;motd;766;1.21.50;5",
            "MCPE;motd;766;1.21.50;-1;10",
            "MCPE;motd;766;1.21.50;;10",
            "MCPE;motd;766;1.21.50;4294967296;10",
            "MCPE;",
            "MCPE",
        ];
        for text in texts {
            assert_eq!(said(text), Err(PongError::NoCount), "{text}");
        }
        assert_eq!(said(""), Err(PongError::NoMinecraft));
        assert_eq!(said("GMOD;motd;766;1.21.50;5;10"), Err(PongError::NoMinecraft));
    }

    #[test]
    fn only_a_whole_answer_to_the_own_ping_is_one() {
        let whole = datagram("MCPE;motd;766;1.21.50;5;10");
        assert_eq!(pong(&whole, TIME).unwrap().online, 5);
        assert_eq!(pong(&whole, TIME + 1), Err(PongError::AnotherPing));
        for length in 0..whole.len() {
            assert_eq!(pong(&whole[..length], TIME), Err(PongError::NoPong), "{length} bytes");
        }
        for at in [0, 17, 32] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(pong(&wrong, TIME), Err(PongError::NoPong), "byte {at}");
        }
        // A ping is not a pong.
        assert_eq!(pong(&ping(TIME, 7), TIME), Err(PongError::NoPong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
            let _ = pong(&bytes, TIME);
            let _ = said(&text);
            let _ = said(&format!("MCPE;{text}"));
        }

        #[test]
        fn an_escaped_motd_never_changes_the_count(motd in any::<String>(), online in any::<u32>(), max in any::<u32>()) {
            let motd = motd.replace(['\\', ';'], "\\;");
            prop_assert_eq!(said(&format!("MCPE;{motd};766;1.21.50;{online};{max};1;world;Survival")), Ok(online));
        }

        #[test]
        fn no_motd_ever_makes_another_count(motd in r"[0-9.;\\ a]{0,20}", online in any::<u32>()) {
            let found = said(&format!("MCPE;{motd};766;1.21.50;{online};10;1;world;Survival"));
            prop_assert!(found == Ok(online) || found == Err(PongError::NoCount), "{:?}", found);
        }
    }
}
