//! Cuts a stream of bytes into packets: each has its length in front (minecraft.wiki, "Java Edition protocol/Packets",
//! without compression).

use mc_ping::varint::{self, VarIntTooLong, varint};

/// The longest packet that is taken, in bytes. A login has none that is longer.
pub const LONGEST: usize = 2048;
/// The longest length in front of a packet: 21 bits (minecraft.wiki, "Packet format").
const LONGEST_LENGTH: usize = 3;

/// What no client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a packet of {0} bytes")]
    TooLong(u32),
    #[error("a length of more than {LONGEST_LENGTH} bytes")]
    LengthTooLong,
    #[error("a packet of no bytes")]
    Empty,
}

impl From<VarIntTooLong> for FrameError {
    fn from(_: VarIntTooLong) -> Self {
        FrameError::LengthTooLong
    }
}

/// What has come in and is not used yet. Never more than is pushed, and nothing by what the peer claims.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Appends what has come in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is not used yet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes everything that is not used yet, and its memory.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Drops the first `count` bytes, and the memory with the last of them.
    pub fn skip(&mut self, count: usize) {
        if count >= self.bytes.len() {
            self.bytes = Vec::new();
        } else {
            self.bytes.drain(..count);
        }
    }

    /// The next whole packet, id and fields; `None`: it is not whole yet.
    ///
    /// # Errors
    /// No packet can begin like this.
    pub fn next_packet(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some((length, rest)) = varint(&self.bytes)? else {
            return if self.bytes.len() >= LONGEST_LENGTH { Err(FrameError::LengthTooLong) } else { Ok(None) };
        };
        if self.bytes.len() - rest.len() > LONGEST_LENGTH {
            return Err(FrameError::LengthTooLong);
        }
        let whole = usize::try_from(length).unwrap_or(usize::MAX);
        if whole > LONGEST {
            return Err(FrameError::TooLong(length));
        }
        if whole == 0 {
            return Err(FrameError::Empty);
        }
        let Some(packet) = rest.get(..whole).map(<[u8]>::to_vec) else { return Ok(None) };
        self.skip(self.bytes.len() - rest.len() + whole);
        Ok(Some(packet))
    }
}

/// `packet` with its length in front.
#[must_use]
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len() + LONGEST_LENGTH);
    // No packet of ours is nearly as long.
    varint::put(&mut bytes, u32::try_from(packet.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(packet);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(frames: &mut Frames) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut packets = Vec::new();
        while let Some(packet) = frames.next_packet()? {
            packets.push(packet);
        }
        Ok(packets)
    }

    #[test]
    fn what_no_client_sends_is_refused_before_it_is_stored() {
        let refused = |bytes: &[u8]| {
            let mut frames = Frames::default();
            frames.push(bytes);
            frames.next_packet().unwrap_err()
        };
        assert_eq!(refused(b"\x00"), FrameError::Empty);
        assert_eq!(refused(b"\x81\x10"), FrameError::TooLong(2049));
        for long in [&b"\xff\xff\xff\xff\x0f"[..], b"\xff\xff\xff\xff\xff\xff", b"\x80\x80\x80\x00", b"\xff\xff\xff"] {
            assert_eq!(refused(long), FrameError::LengthTooLong, "{long:?}");
        }
    }

    #[test]
    fn what_is_used_takes_no_memory_any_more() {
        let mut frames = Frames::default();
        frames.push(&framed(&[1; LONGEST]));
        assert_eq!(all(&mut frames).unwrap(), [vec![1; LONGEST]]);
        assert_eq!(frames.bytes.capacity(), 0);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_were_sent_however_they_are_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6), piece in 1_usize..40,
        ) {
            let sent: Vec<u8> = packets.iter().flat_map(|packet| framed(packet)).collect();
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            for piece in sent.chunks(piece) {
                frames.push(piece);
                came.extend(all(&mut frames).unwrap());
            }
            prop_assert_eq!(came, packets);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            let _ = all(&mut frames);
        }
    }
}
