//! The kernel's TCP tables, `/proc/self/net/tcp` and `tcp6` (proc(5), proc_net_tcp).
//!
//! They are read row by row: what is held at once does not grow with the sockets that are not ours. Refused are an empty
//! text, a missing header line, any row that is none, a last row that was cut off.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use procfs::net::TcpNetEntry;

use super::row::Row;
use super::seq_file::{End, ROW_LONGEST, SeqFile};
use crate::config::settings::Scope;
use crate::idle::{Seen, Socket};

/// Why a table is unknown.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The table.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is empty or does not begin with the header line.
    #[error("{} lacks its header line", path.display())]
    Header {
        /// The table.
        path: PathBuf,
    },
    /// Its last row was cut off.
    #[error("{} is cut off in row {row}", path.display())]
    Cut {
        /// The table.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
    },
    /// A row cannot be parsed.
    #[error("row {row} of {} is not one: {problem}", path.display())]
    Row {
        /// The table.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What procfs says of it.
        problem: String,
    },
}

/// A LISTEN row on a Minecraft port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// Whose socket it is, as this process sees user ids.
    pub uid: u32,
    /// It stands in `tcp`, not in `tcp6`.
    pub ipv4: bool,
}

/// What the tables of one network namespace show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// What is about a Minecraft port.
    pub seen: Seen,
    /// Connections on a Minecraft port whose peers are ignored.
    pub ignored: Vec<Socket>,
    /// The LISTEN rows on a Minecraft port.
    pub listeners: Vec<Listener>,
}

impl Tables {
    fn take_in(&mut self, row: &Row<'_>, ipv4: bool, scope: &Scope) -> Result<(), String> {
        if !scope.ports.contains(&row.port) {
            return Ok(());
        }
        if row.is_listening() {
            self.seen.listener = true;
            self.listeners.push(Listener { port: row.port, uid: row.entry()?.uid, ipv4 });
        } else if row.is_established() {
            let TcpNetEntry { local_address, remote_address, inode, .. } = row.entry()?;
            let socket = socket(local_address, remote_address, inode);
            let ignored = scope.ignores(socket.peer.ip());
            if ignored { &mut self.ignored } else { &mut self.seen.sockets }.push(socket);
        }
        Ok(())
    }
}

/// Reads both tables in `net`, the folder `/proc/self/net`, for a sample. No stop rests on it alone: the second witness
/// takes nothing for the end of a table but the end itself.
///
/// # Errors
/// Whatever makes either table unknown.
pub fn read(net: &Path, scope: &Scope) -> Result<Tables, TableError> {
    let mut tables = Tables::default();
    both(net, End::Seen, |row, ipv4| tables.take_in(row, ipv4, scope))?;
    Ok(tables)
}

/// Hands every LISTEN and every ESTABLISHED row of both tables in the folder `net` to `each`. A missing `tcp6` is IPv6
/// turned off.
///
/// # Errors
/// Whatever makes either table unknown; `each` may then have had some of the rows.
pub fn read_rows(net: &Path, mut each: impl FnMut(&TcpNetEntry)) -> Result<(), TableError> {
    both(net, End::Told, |row, _| {
        if row.is_listening() || row.is_established() {
            each(&row.entry()?);
        }
        Ok(())
    })
}

/// Hands every row of both tables to `each`, and whether it stands in `tcp`.
pub(super) fn both(
    net: &Path,
    end: End,
    mut each: impl FnMut(&Row<'_>, bool) -> Result<(), String>,
) -> Result<(), TableError> {
    for (name, ipv4) in [("tcp", true), ("tcp6", false)] {
        let path = net.join(name);
        match File::open(&path) {
            Ok(file) => parse(BufReader::new(SeqFile::new(file, end)), &path, |row| each(row, ipv4))?,
            Err(error) if !ipv4 && error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(TableError::Unreadable { path, source }),
        }
    }
    Ok(())
}

/// Hands every row of one table to `each`, which may find that it is none.
///
/// # Errors
/// Whatever makes the table unknown; `path` is only for the text. `each` may then have had some of its rows.
pub fn parse(
    mut table: impl BufRead,
    path: &Path,
    mut each: impl FnMut(&Row<'_>) -> Result<(), String>,
) -> Result<(), TableError> {
    let path = || path.to_owned();
    let mut text = Vec::new();
    let mut read = |text: &mut Vec<u8>| {
        text.clear();
        read_row(&mut table, text).map_err(|source| TableError::Unreadable { path: path(), source })
    };
    match read(&mut text)? {
        RowEnd::Whole if is_header(&text) => {}
        _ => return Err(TableError::Header { path: path() }),
    }
    for row in 1.. {
        match read(&mut text)? {
            RowEnd::Whole => {}
            RowEnd::Cut => return Err(TableError::Cut { path: path(), row }),
            RowEnd::EndOfTable => break,
        }
        let taken = Row::new(&text).and_then(|row| each(&row));
        taken.map_err(|problem| TableError::Row { path: path(), row, problem })?;
    }
    Ok(())
}

/// An ESTABLISHED row, in canonical form.
pub(super) fn socket(local: SocketAddr, peer: SocketAddr, inode: u64) -> Socket {
    let canonical = |address: SocketAddr| SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port());
    Socket { local: canonical(local), peer: canonical(peer), inode: NonZeroU64::new(inode) }
}

enum RowEnd {
    Whole,
    Cut,
    EndOfTable,
}

/// Appends one row to `text`.
fn read_row(table: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<RowEnd> {
    let length = table.take(ROW_LONGEST as u64).read_until(b'\n', text)?;
    Ok(match length {
        0 => RowEnd::EndOfTable,
        _ if text.ends_with(b"\n") => RowEnd::Whole,
        _ => RowEnd::Cut,
    })
}

fn is_header(row: &[u8]) -> bool {
    let mut words = row.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next() == Some(b"sl") && words.next() == Some(b"local_address")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use proptest::prelude::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    const LISTEN: &str = "   0: 00000000:63DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 501 1 0000000000000000 100 0 0 10 0\n";
    const PLAYER: &str = "   1: 0100007F:63DD 0200007F:C001 01 00000000:00000000 02:0000048C 00000000  1000        0 502 2 0000000000000000 20 4 30 10 -1\n";
    const WAITING: &str = "   2: 0100007F:63DD 0200007F:C002 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1\n";
    const TIME_WAIT: &str = "   3: 0100007F:63DD 0200007F:C003 06 00000000:00000000 03:00000F5A 00000000     0        0 0 3 0000000000000000\n";
    const OUTGOING: &str = "   4: 0100007F:C004 0200007F:63DD 01 00000000:00000000 00:00000000 00000000  1000        0 503 1 0000000000000000 20 4 30 10 -1\n";
    const MAPPED: &str = "   0: 0000000000000000FFFF00000100007F:63DD 0000000000000000FFFF00000300007F:C005 01 00000000:00000000 00:00000000 00000000  1000        0 504 1 0000000000000000 20 4 30 10 -1\n";

    fn scope() -> Scope {
        Scope {
            ports: [25565].into(),
            ignore_peers: vec!["127.0.0.9/32".parse().unwrap()],
            ..Settings::default().scope
        }
    }

    fn seen(text: &[u8]) -> Result<Seen, TableError> {
        let (mut tables, scope) = (Tables::default(), scope());
        parse(text, Path::new("tcp"), |row| tables.take_in(row, true, &scope))?;
        assert_eq!(tables.listeners.is_empty(), !tables.seen.listener);
        Ok(tables.seen)
    }

    #[test]
    fn takes_what_is_ours_and_nothing_else() {
        let text = [HEADER, LISTEN, PLAYER, WAITING, TIME_WAIT, OUTGOING, MAPPED].concat();
        let seen = seen(text.as_bytes()).unwrap();
        let local = "127.0.0.1:25565".parse().unwrap();
        let socket = |peer: &str, inode| Socket { local, peer: peer.parse().unwrap(), inode: NonZeroU64::new(inode) };
        assert!(seen.listener);
        assert_eq!(
            seen.sockets,
            [socket("127.0.0.2:49153", 502), socket("127.0.0.2:49154", 0), socket("127.0.0.3:49157", 504)]
        );
    }

    #[test]
    fn leaves_out_ignored_peers() {
        let text = [HEADER, &PLAYER.replace("0200007F", "0900007F")].concat();
        assert_eq!(seen(text.as_bytes()).unwrap(), Seen::default());
    }

    #[test]
    fn an_empty_text_is_not_an_empty_table() {
        assert!(matches!(seen(b""), Err(TableError::Header { .. })));
        assert!(matches!(seen(LISTEN.as_bytes()), Err(TableError::Header { .. })));
        assert!(matches!(seen(b"  sl  local_address"), Err(TableError::Header { .. })));
        assert_eq!(seen(HEADER.as_bytes()).unwrap(), Seen::default());
    }

    #[test]
    fn a_wrong_row_spoils_the_table_even_when_it_is_not_ours() {
        for wrong in
            ["\n", "nonsense\n", &OUTGOING.replace(" 01 ", " 0F "), &OUTGOING.replace(" 503 ", " x "), "\u{e9}\n"]
        {
            let text = [HEADER, PLAYER, wrong, LISTEN].concat();
            assert!(matches!(seen(text.as_bytes()), Err(TableError::Row { .. })), "{wrong:?}");
        }
    }

    proptest! {
        /// A table cut anywhere but at the end of a row is unknown.
        #[test]
        fn a_cut_is_seen(rows in 0_usize..200, at in any::<prop::sample::Index>()) {
            let text = [HEADER.to_owned(), [LISTEN, PLAYER].concat().repeat(rows)].concat();
            let at = at.index(text.len());
            let whole = at != 0 && text.as_bytes()[at - 1] == b'\n';
            prop_assert_eq!(seen(&text.as_bytes()[..at]).is_ok(), whole);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = seen(&bytes);
            let _ = seen(&[HEADER.as_bytes(), &bytes].concat());
        }
    }
}
