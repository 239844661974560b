//! Sockets that a second witness must show, on any port and whoever they belong to, so that it is certain to have seen
//! everything.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use crate::host::sockets::row::Row;
use crate::host::sockets::seq_file::TableEnd;
use crate::host::sockets::tables::{self, TableError};

/// How many established sockets of each table are taken. They are the last ones in the table: netlink walks the
/// kernel's sockets in the same order as the tables, so an answer that ended early lacks these first.
const LAST: usize = 64;

/// Sockets that a second witness must show, by inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedSockets(BTreeSet<u64>);

impl ExpectedSockets {
    /// Takes every listening socket of both tables in the folder `net`, every established one on one of `ports`, and
    /// the last established ones on any port.
    ///
    /// # Errors
    /// Why either table is unknown.
    pub fn read(net: &Path, ports: &BTreeSet<u16>) -> Result<Self, TableError> {
        let mut always = BTreeSet::new();
        let (mut tcp, mut tcp6) = (VecDeque::new(), VecDeque::new());
        each(net, |row, ipv4, inode| {
            if row.is_listening() || ports.contains(&row.port) {
                always.insert(inode);
                return;
            }
            let last = if ipv4 { &mut tcp } else { &mut tcp6 };
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(inode);
        })?;
        Ok(ExpectedSockets(always.into_iter().chain(tcp).chain(tcp6).collect()))
    }

    /// Records that the witness has shown the socket `inode`.
    pub fn shown(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// Drops those that neither table in `net` still shows: they were closed while the witness looked.
    ///
    /// # Errors
    /// Why either table is unknown.
    pub fn without_the_gone(self, net: &Path) -> Result<Self, TableError> {
        if self.0.is_empty() {
            return Ok(self);
        }
        let mut still_there = BTreeSet::new();
        each(net, |_, _, inode| {
            still_there.extend(self.0.get(&inode));
        })?;
        Ok(ExpectedSockets(still_there))
    }

    /// How many have not been shown.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

/// Passes every LISTEN and ESTABLISHED row that has an inode to `take`, and whether it is from `tcp`. A connection that
/// the server has not accepted yet has no inode.
fn each(net: &Path, mut take: impl FnMut(&Row<'_>, bool, u64)) -> Result<(), TableError> {
    tables::both(net, TableEnd::Told, |row, ipv4| {
        if row.is_listening() || row.is_established() {
            match row.inode()? {
                0 => {}
                inode => take(row, ipv4, inode),
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const LISTEN: &str = "0A";
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";

    /// A folder with both tables.
    fn tables(tcp: &[(&str, u64)], tcp6: &[(&str, u64)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, rows, address) in [("tcp", tcp, "0100007F"), ("tcp6", tcp6, "00000000000000000000000001000000")] {
            let mut text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n".to_owned();
            for (number, (state, inode)) in rows.iter().enumerate() {
                let ends = format!("{address}:0016 {address}:C000 {state}");
                let rest = "00000000:00000000 00:00000000 00000000     0        0";
                writeln!(text, "{number:4}: {ends} {rest} {inode} 1 0 20 4 30 10 -1").unwrap();
            }
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn expected(inodes: impl IntoIterator<Item = u64>) -> ExpectedSockets {
        ExpectedSockets(inodes.into_iter().collect())
    }

    #[test]
    fn every_listener_and_the_last_established_of_each_table_are_landmarks() {
        let long = |first: u64| {
            let established = (0..100).map(move |number| (ESTABLISHED, first + number));
            [(LISTEN, first + 200), (CLOSE_WAIT, first + 201)].into_iter().chain(established).chain([(ESTABLISHED, 0)])
        };
        let folder = tables(&long(1000).collect::<Vec<_>>(), &long(2000).collect::<Vec<_>>());
        let expected = expected((1036..1100).chain([1200]).chain(2036..2100).chain([2200]));
        assert_eq!(ExpectedSockets::read(folder.path(), &[25565].into()).unwrap(), expected);
    }

    #[test]
    fn every_connection_to_the_server_is_a_landmark() {
        let rows: Vec<_> = (1..200).map(|inode| (ESTABLISHED, inode)).collect();
        let folder = tables(&rows, &rows);
        assert_eq!(ExpectedSockets::read(folder.path(), &[0x16].into()).unwrap(), expected(1..200));
    }

    #[test]
    fn what_was_not_shown_counts_only_if_it_is_still_there() {
        let mut expected = expected([1, 2, 3, 4, 5]);
        expected.shown(5);
        let folder = tables(&[(LISTEN, 1), (CLOSE_WAIT, 3)], &[(ESTABLISHED, 2), (LISTEN, 9)]);
        assert_eq!(expected.without_the_gone(folder.path()).unwrap(), self::expected([1, 2]));
    }

    #[test]
    fn where_the_tables_cannot_be_read_there_are_no_landmarks() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ExpectedSockets::read(folder.path(), &[25565].into()).is_err());
        assert!(expected([1]).without_the_gone(folder.path()).is_err());
    }
}
