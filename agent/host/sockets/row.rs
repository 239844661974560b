//! One row of a TCP table: only enough is parsed here to tell whether it matters; the crate procfs parses the rest.
//!
//! A host may have tens of thousands of connections that are not ours, and procfs takes about as long to parse a row as
//! the kernel takes to write it. So a row in exactly the kernel's format (`get_tcp4_sock` in net/ipv4/tcp_ipv4.c,
//! `get_tcp6_sock` in net/ipv6/tcp_ipv6.c) is only checked here, and parsed by procfs on demand; any other row is left
//! to procfs.

use std::ops::RangeInclusive;

use mc_service::error_chain::chain;
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};
use procfs::{FromBufReadSI, ProcError};

/// The states that a row may have (include/net/tcp_states.h).
const STATES: RangeInclusive<u8> = 1..=12;
/// A number with at most this many digits always fits a `u32`, and one with at most 19 a `u64`.
const UID_DIGITS: usize = 9;
const INODE_DIGITS: usize = 19;
/// The position of the inode among the words of a row, from 0.
const INODE_WORD: usize = 9;

/// A row of a TCP table.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    text: &'a [u8],
    /// On this side.
    pub port: u16,
    /// On the other side.
    pub peer_port: u16,
    /// In the kernel's numbering.
    pub state: u8,
}

impl<'a> Row<'a> {
    /// Takes a row, with or without its newline.
    ///
    /// # Errors
    /// What procfs says about a text that is not a row.
    pub fn new(text: &'a [u8]) -> Result<Self, String> {
        if let Some(row) = kernels_own(text) {
            return Ok(row);
        }
        let entry = entry(text)?;
        Ok(Row {
            text,
            port: entry.local_address.port(),
            peer_port: entry.remote_address.port(),
            state: entry.state.to_u8(),
        })
    }

    /// Whether it is in LISTEN.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        self.state == TcpState::Listen.to_u8()
    }

    /// Whether it is in ESTABLISHED.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == TcpState::Established.to_u8()
    }

    /// The inode of its socket; 0 if it has none.
    ///
    /// # Errors
    /// What procfs says about a text that is not a row.
    pub fn inode(&self) -> Result<u64, String> {
        let mut words = self.text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let inode = words.nth(INODE_WORD).and_then(|word| str::from_utf8(word).ok()?.parse().ok());
        match (kernels_own(self.text), inode) {
            (Some(_), Some(inode)) => Ok(inode),
            _ => Ok(self.entry()?.inode),
        }
    }

    /// The complete row.
    ///
    /// # Errors
    /// What procfs says about a text that is not a row.
    pub fn entry(&self) -> Result<TcpNetEntry, String> {
        entry(self.text)
    }
}

/// Parses a row with procfs.
fn entry(text: &[u8]) -> Result<TcpNetEntry, String> {
    // procfs skips the first line.
    let table = [b"\n", text].concat();
    let entries = TcpNetEntries::from_buf_read(table.as_slice(), procfs::current_system_info()).map_err(in_words)?;
    entries.0.into_iter().next().ok_or_else(|| "empty row".to_owned())
}

/// procfs takes what it cannot parse for a bug of its own and names its source file, which helps nobody here.
pub(super) fn in_words(error: ProcError) -> String {
    match error {
        ProcError::InternalError(error) => error.msg,
        other => chain(&other),
    }
}

/// A row in exactly the kernel's format; `None` for any other text.
fn kernels_own(text: &[u8]) -> Option<Row<'_>> {
    let mut rest = Rest(text.strip_suffix(b"\n").unwrap_or(text));
    rest.spaces();
    rest.decimals(INODE_DIGITS)?;
    rest.byte(b':')?;
    rest.byte(b' ')?;
    let length = rest.address()?;
    let port = rest.hexadecimals(4)?;
    rest.byte(b' ')?;
    (rest.address()? == length).then_some(())?;
    let peer_port = rest.hexadecimals(4)?;
    rest.byte(b' ')?;
    let state = u8::try_from(rest.hexadecimals(2)?).ok().filter(|state| STATES.contains(state))?;
    rest.byte(b' ')?;
    rest.hexadecimals(8)?;
    rest.byte(b':')?;
    rest.hexadecimals(8)?;
    // The timer and the retransmits, which are not needed here.
    rest.word()?;
    rest.word()?;
    rest.spaces();
    rest.decimals(UID_DIGITS)?;
    rest.word()?;
    rest.spaces();
    rest.decimals(INODE_DIGITS)?;
    let ends = rest.0.first().is_none_or(|byte| *byte == b' ');
    let plain = rest.0.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    let (port, peer_port) = (u16::try_from(port).ok()?, u16::try_from(peer_port).ok()?);
    (ends && plain).then_some(Row { text, port, peer_port, state })
}

/// The rest of a row. Each method consumes what its name says, or returns `None`.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == expected).then(|| self.0 = rest)
    }

    fn spaces(&mut self) {
        while self.byte(b' ').is_some() {}
    }

    /// 8 or 32 digits and a colon. Returns the number of digits.
    fn address(&mut self) -> Option<usize> {
        let length = if self.0.get(8) == Some(&b':') { 8 } else { 32 };
        let (digits, rest) = self.0.split_at_checked(length)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        self.0 = rest;
        self.byte(b':')?;
        Some(length)
    }

    /// Exactly `number` digits, at most 8.
    fn hexadecimals(&mut self, number: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(number)?;
        let mut value = 0;
        for digit in digits {
            value = value << 4 | char::from(*digit).to_digit(16)?;
        }
        self.0 = rest;
        Some(value)
    }

    /// 1 to `most` digits.
    fn decimals(&mut self, most: usize) -> Option<()> {
        let number = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (1..=most).contains(&number).then_some(())?;
        self.0 = &self.0[number..];
        Some(())
    }

    /// Spaces, then visible characters up to the next space.
    fn word(&mut self) -> Option<()> {
        self.byte(b' ')?;
        self.spaces();
        let number = self.0.iter().take_while(|byte| byte.is_ascii_graphic()).count();
        (number > 0 && self.0.get(number) == Some(&b' ')).then(|| self.0 = &self.0[number..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LISTEN: &str = "   0: 00000000:63DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 501 1 0000000000000000 100 0 0 10 0\n";
    const TIME_WAIT: &str = "  12: 0100007F:63DD 0200007F:C003 06 00000000:00000000 03:00000F5A 00000000     0        0 0 3 0000000000000000                                      \n";
    const MAPPED: &str = "1234: 0000000000000000FFFF00000100007F:63DD 0000000000000000FFFF00000300007F:C005 01 00000000:00000000 02:0000048C 00000000  1000        0 504 1 0000000000000000 20 4 30 10 -1\n";

    fn rows() -> impl Strategy<Value = String> {
        prop::sample::select(vec![LISTEN, TIME_WAIT, MAPPED]).prop_map(str::to_owned)
    }

    #[test]
    fn the_kernels_rows_need_no_second_judge() {
        assert_eq!(
            [LISTEN, TIME_WAIT, MAPPED].map(|row| kernels_own(row.as_bytes()).map(|row| (
                row.port,
                row.state,
                row.inode()
            ))),
            [(10, 501), (6, 0), (1, 504)].map(|(state, inode)| Some((25565, state, Ok(inode))))
        );
        for (name, text) in ["tcp", "tcp6"].map(|name| (name, std::fs::read(format!("/proc/self/net/{name}")))) {
            for row in text.unwrap_or_default().split_inclusive(|byte| *byte == b'\n').skip(1) {
                assert!(kernels_own(row).is_some(), "{name}: {}", String::from_utf8_lossy(row));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        /// procfs is the oracle: whatever is accepted as the kernel's means the same to procfs, however it was garbled.
        #[test]
        fn what_is_taken_here_is_what_procfs_takes(
            row in rows(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..4),
        ) {
            let mut row = row.into_bytes();
            for (at, change, byte) in changes {
                let at = at.index(row.len());
                // Bytes that occur in rows are more likely to make another row.
                let byte = if byte < 128 { b"0123456789ABCDEFabcdef: +-\n\t"[usize::from(byte) % 28] } else { byte };
                match change {
                    0 => row[at] = byte,
                    1 => row.insert(at, byte),
                    _ => drop(row.remove(at)),
                }
                if row.is_empty() {
                    row.push(b' ');
                }
            }
            if let Some(row) = kernels_own(&row) {
                let entry = row.entry();
                prop_assert!(entry.is_ok(), "{:?}: {entry:?}", String::from_utf8_lossy(row.text));
                let TcpNetEntry { local_address, remote_address, state, inode, .. } = entry.unwrap();
                let expected = (local_address.port(), remote_address.port(), state.to_u8(), Ok(inode));
                prop_assert_eq!((row.port, row.peer_port, row.state, row.inode()), expected);
            }
        }
    }
}
