//! Sockets on any port, anybody's, by which it shows whether a second witness has seen all there is.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

use super::row::Row;
use super::seq_file::End;
use super::tables::{self, TableError};
use crate::config::settings::Scope;

/// How many established sockets of each table are taken. They are the table's last: netlink goes through the kernel's
/// sockets in the order in which the tables do, so an answer that ended early lacks these first.
const LAST: usize = 64;

/// Sockets that a second witness has to show, by inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landmarks(BTreeSet<u64>);

impl Landmarks {
    /// Takes every listening socket of both tables in the folder `net`, every established one on a Minecraft port, and the
    /// last established ones on any.
    ///
    /// # Errors
    /// Whatever makes either table unknown.
    pub fn read(net: &Path, scope: &Scope) -> Result<Self, TableError> {
        let mut always = BTreeSet::new();
        let (mut tcp, mut tcp6) = (VecDeque::new(), VecDeque::new());
        each(net, |row, ipv4, inode| {
            if row.is_listening() || scope.ports.contains(&row.port) {
                always.insert(inode);
                return;
            }
            let last = if ipv4 { &mut tcp } else { &mut tcp6 };
            if last.len() == LAST {
                last.pop_front();
            }
            last.push_back(inode);
        })?;
        Ok(Landmarks(always.into_iter().chain(tcp).chain(tcp6).collect()))
    }

    /// The witness has shown the socket `inode`.
    pub fn shown(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// Leaves out those that both tables in `net` no longer show: they have gone while the witness looked.
    ///
    /// # Errors
    /// Whatever makes either table unknown.
    pub fn without_the_gone(self, net: &Path) -> Result<Self, TableError> {
        if self.0.is_empty() {
            return Ok(self);
        }
        let mut still_there = BTreeSet::new();
        each(net, |_, _, inode| {
            still_there.extend(self.0.get(&inode));
        })?;
        Ok(Landmarks(still_there))
    }

    /// How many have not been shown.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

/// Hands every LISTEN and every ESTABLISHED row that has an inode to `take`, and whether it stands in `tcp`. A connection
/// that the server has not accepted yet has none.
fn each(net: &Path, mut take: impl FnMut(&Row<'_>, bool, u64)) -> Result<(), TableError> {
    tables::both(net, End::Told, |row, ipv4| {
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
    use crate::config::Settings;

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

    fn landmarks(inodes: impl IntoIterator<Item = u64>) -> Landmarks {
        Landmarks(inodes.into_iter().collect())
    }

    fn scope(port: u16) -> Scope {
        Scope { ports: [port].into(), ..Settings::default().scope }
    }

    #[test]
    fn every_listener_and_the_last_established_of_each_table_are_landmarks() {
        let long = |first: u64| {
            let established = (0..100).map(move |number| (ESTABLISHED, first + number));
            [(LISTEN, first + 200), (CLOSE_WAIT, first + 201)].into_iter().chain(established).chain([(ESTABLISHED, 0)])
        };
        let folder = tables(&long(1000).collect::<Vec<_>>(), &long(2000).collect::<Vec<_>>());
        let expected = landmarks((1036..1100).chain([1200]).chain(2036..2100).chain([2200]));
        assert_eq!(Landmarks::read(folder.path(), &scope(25565)).unwrap(), expected);
    }

    #[test]
    fn every_connection_to_the_server_is_a_landmark() {
        let rows: Vec<_> = (1..200).map(|inode| (ESTABLISHED, inode)).collect();
        let folder = tables(&rows, &rows);
        assert_eq!(Landmarks::read(folder.path(), &scope(0x16)).unwrap(), landmarks(1..200));
    }

    #[test]
    fn what_was_not_shown_counts_only_if_it_is_still_there() {
        let mut landmarks = landmarks([1, 2, 3, 4, 5]);
        landmarks.shown(5);
        let folder = tables(&[(LISTEN, 1), (CLOSE_WAIT, 3)], &[(ESTABLISHED, 2), (LISTEN, 9)]);
        assert_eq!(landmarks.without_the_gone(folder.path()).unwrap(), self::landmarks([1, 2]));
    }

    #[test]
    fn where_the_tables_cannot_be_read_there_are_no_landmarks() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Landmarks::read(folder.path(), &scope(25565)).is_err());
        assert!(landmarks([1]).without_the_gone(folder.path()).is_err());
    }
}
