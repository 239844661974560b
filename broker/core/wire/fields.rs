//! Reads the fields of a packet (minecraft.wiki, "Java Edition protocol/Data types"). Nothing is allocated by what a
//! length claims.

use mc_ping::varint::varint;

/// A packet ends too early, or a field is not what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet with something else than its fields")]
pub struct NotAField;

/// What is left of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

/// Each of them fails if the packet ends before the field does, or the field is none of its kind.
#[expect(clippy::missing_errors_doc, reason = "all alike: see above")]
impl<'a> Fields<'a> {
    /// As the wire has it: a number below zero is one of the large ones.
    pub fn varint(&mut self) -> Result<u32, NotAField> {
        let (value, rest) = varint(self.0).ok().flatten().ok_or(NotAField)?;
        self.0 = rest;
        Ok(value)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], NotAField> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(NotAField)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], NotAField> {
        self.take(N)?.try_into().map_err(|_| NotAField)
    }

    pub fn u16(&mut self) -> Result<u16, NotAField> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, NotAField> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn u128(&mut self) -> Result<u128, NotAField> {
        self.array().map(u128::from_be_bytes)
    }

    pub fn bool(&mut self) -> Result<bool, NotAField> {
        Ok(self.array::<1>()? != [0])
    }

    /// Bytes with their number in front.
    pub fn bytes(&mut self) -> Result<&'a [u8], NotAField> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| NotAField)?)
    }

    /// The same, as 1.7 wrote it.
    pub fn short_bytes(&mut self) -> Result<&'a [u8], NotAField> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Text of at most `longest` UTF-16 units, as the game counts.
    pub fn text(&mut self, longest: usize) -> Result<&'a str, NotAField> {
        let text = str::from_utf8(self.bytes()?).map_err(|_| NotAField)?;
        if text.encode_utf16().count() <= longest { Ok(text) } else { Err(NotAField) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_claims_more_than_there_is_is_none() {
        assert_eq!(Fields(b"\x05abc").bytes(), Err(NotAField));
        assert_eq!(Fields(b"\xff\xff\xff\xff\x0fabc").text(16), Err(NotAField), "a negative length");
        assert_eq!(Fields(b"\xff\xffabc").short_bytes(), Err(NotAField));
        assert_eq!(Fields(b"\x03abc").text(2), Err(NotAField));
        assert_eq!(Fields(b"\x02\xc3\x28").text(2), Err(NotAField), "not UTF-8");
        assert_eq!(Fields(b"\x01").u16(), Err(NotAField));
    }

    #[test]
    fn fields_are_read_one_after_the_other() {
        let mut fields = Fields(b"\xff\x05\x03abc\x63\xdd\x01\x02rest");
        assert_eq!(
            (fields.varint(), fields.text(3), fields.u16(), fields.bool()),
            (Ok(767), Ok("abc"), Ok(25565), Ok(true))
        );
        assert_eq!(fields.bytes(), Ok(&b"re"[..]));
        assert_eq!(fields.0, b"st");
    }
}
