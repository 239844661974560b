//! A table in `/proc`, which the kernel hands out row by row (fs/seq_file.c), and how its end is recognized.
//!
//! When asked for more after the last row, the kernel walks its whole hash table of connections once more, only to find
//! that there is nothing left (`tcp_seq_start` in net/ipv4/tcp_ipv4.c). On a quiet machine that is half the cost of a
//! look. But it never ends a read while a memory page has room for another row (`seq_read_iter`), so a read that has
//! left room was the last.

use std::fs::File;
use std::io::{self, Read};

/// The longest row, in bytes. The kernel pads a row of `tcp` to 149 characters; one of `tcp6` has about 180.
pub const ROW_LONGEST: usize = 1024;
/// The smallest memory page of the kernel, in bytes.
const PAGE: usize = 4096;

/// How the end of a table is recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableEnd {
    /// The kernel says so, as it always has, by an empty read.
    Told,
    /// A read has left room for another row.
    Seen,
}

/// A table that is being read.
#[derive(Debug)]
pub struct SeqFile<R = File> {
    file: R,
    end: TableEnd,
    over: bool,
}

impl<R: Read> SeqFile<R> {
    /// Reads `file` from its current position.
    pub fn new(file: R, end: TableEnd) -> Self {
        SeqFile { file, end, over: false }
    }
}

impl<R: Read> Read for SeqFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.over {
            return Ok(0);
        }
        let length = self.file.read(buffer)?;
        self.over = self.end == TableEnd::Seen && length + ROW_LONGEST <= PAGE.min(buffer.len());
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the given number of bytes at each read, and counts the reads.
    struct Kernel<'a> {
        hands_out: &'a [usize],
        reads: &'a mut usize,
    }

    impl Read for Kernel<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.hands_out.get(*self.reads).copied().unwrap_or(0);
            assert!(length <= buffer.len());
            *self.reads += 1;
            Ok(length)
        }
    }

    fn reads(hands_out: &[usize], end: TableEnd) -> (usize, usize) {
        let mut reads = 0;
        let mut file = SeqFile::new(Kernel { hands_out, reads: &mut reads }, end);
        let mut buffer = [0; 2 * PAGE];
        let mut bytes = 0;
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                length => bytes += length,
            }
        }
        (bytes, reads)
    }

    #[test]
    fn a_read_that_has_left_room_for_a_row_is_the_last() {
        assert_eq!(reads(&[150], TableEnd::Seen), (150, 1));
        assert_eq!(reads(&[4050, 4050, PAGE - ROW_LONGEST], TableEnd::Seen), (4050 + 4050 + PAGE - ROW_LONGEST, 3));
        assert_eq!(reads(&[], TableEnd::Seen), (0, 1));
    }

    #[test]
    fn a_read_that_has_left_none_is_not() {
        for length in [PAGE - ROW_LONGEST + 1, 4050, PAGE, 2 * PAGE] {
            assert_eq!(reads(&[length, length, 150], TableEnd::Seen), (2 * length + 150, 3));
            assert_eq!(reads(&[length], TableEnd::Seen), (length, 2));
        }
    }

    #[test]
    fn a_small_buffer_is_not_taken_for_a_table_that_is_over() {
        let mut file = SeqFile::new([7_u8; 3000].as_slice(), TableEnd::Seen);
        let mut buffer = [0; 100];
        let mut bytes = 0;
        while let length @ 1.. = file.read(&mut buffer).unwrap() {
            bytes += length;
        }
        assert_eq!(bytes, 3000);
    }

    #[test]
    fn the_kernel_is_asked_for_the_end_where_that_is_wanted() {
        assert_eq!(reads(&[150, 10, 20], TableEnd::Told), (180, 4));
    }
}
