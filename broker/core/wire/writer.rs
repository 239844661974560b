//! Writes packets.

use mc_ping::varint;

use crate::wire::frame::framed;

/// A packet that is being written.
#[derive(Debug)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// One with this id and no fields yet.
    #[must_use]
    pub fn new(id: u32) -> Self {
        let mut bytes = Vec::with_capacity(64);
        varint::put(&mut bytes, id);
        Packet(bytes)
    }

    #[must_use]
    pub fn varint(mut self, value: u32) -> Self {
        varint::put(&mut self.0, value);
        self
    }

    #[must_use]
    pub fn u64(self, value: u64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    #[must_use]
    pub fn u128(self, value: u128) -> Self {
        self.raw(&value.to_be_bytes())
    }

    #[must_use]
    pub fn bool(self, value: bool) -> Self {
        self.raw(&[u8::from(value)])
    }

    /// Bytes with their number in front.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.varint(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// The same, as 1.7 reads it.
    #[must_use]
    pub fn short_bytes(self, bytes: &[u8]) -> Self {
        self.raw(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()).raw(bytes)
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The packet as it is sent, with its length.
    #[must_use]
    pub fn framed(self) -> Vec<u8> {
        framed(&self.0)
    }
}
