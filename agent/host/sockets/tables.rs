//! The kernel's TCP tables, `/proc/self/net/tcp` and `tcp6` (proc(5), proc_net_tcp).
//!
//! They are read row by row, so memory use does not grow with the sockets that are not ours. An empty text, a missing
//! header line, any malformed row and a last row that was cut off are all refused.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use mc_idle_rule::facts::{ConnectionRow, FarEnd, Listening, Sockets};
use mc_idle_rule::{NetworkId, Socket};
use procfs::net::TcpNetEntry;

use crate::config::settings::Scope;
use crate::host::sockets::row::Row;
use crate::host::sockets::seq_file::{ROW_LONGEST, SeqFile, TableEnd};

/// Why a table is unknown.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is empty, or does not begin with the header line.
    #[error("{} lacks its header line", path.display())]
    Header { path: PathBuf },
    #[error("{} is cut off in row {row}", path.display())]
    Cut {
        path: PathBuf,
        /// From 1.
        row: usize,
    },
    #[error("malformed row {row} in {}: {problem}", path.display())]
    Row {
        path: PathBuf,
        /// From 1.
        row: usize,
        /// What procfs says about it.
        problem: String,
    },
}

/// Which rows are taken.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub ports: &'a BTreeSet<u16>,
    /// The operator's settings.
    pub scope: &'a Scope,
    /// The agent's own ends of the connections on which it asks servers; these are left out.
    pub own: &'a BTreeSet<SocketAddr>,
}

/// What the tables of one network show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// Everything that concerns a wanted port.
    pub sockets: Sockets,
    /// Connections on a wanted port whose peers are ignored.
    pub ignored: Vec<Socket>,
}

impl Tables {
    fn take_in(&mut self, row: &Row<'_>, network: NetworkId, wanted: &Wanted<'_>) -> Result<(), String> {
        let (ours, theirs) = (wanted.ports.contains(&row.port), wanted.ports.contains(&row.peer_port));
        if row.is_listening() && ours {
            let TcpNetEntry { local_address, uid, .. } = row.entry()?;
            let listening = Listening { address: canonical(local_address), uid: known_user(uid), control_group: None };
            self.sockets.listening.push(listening);
        } else if row.is_established() && (ours || theirs) {
            let TcpNetEntry { local_address, remote_address, inode, .. } = row.entry()?;
            let socket = socket(network, local_address, remote_address, inode);
            if ours {
                self.connection(socket, wanted);
            }
            if theirs && !wanted.own.contains(&socket.local) {
                self.sockets.far_ends.push(FarEnd { local: socket.local, peer: socket.peer });
            }
        }
        Ok(())
    }

    /// Adds a connection on a wanted port.
    pub(super) fn connection(&mut self, socket: Socket, wanted: &Wanted<'_>) {
        if wanted.own.contains(&socket.peer) {
            // The agent's own question.
        } else if wanted.scope.ignores(socket.peer.ip()) {
            self.ignored.push(socket);
        } else {
            self.sockets.connections.push(ConnectionRow { socket, received: None });
        }
    }
}

/// Reads both tables in `net`, the folder `/proc/PID/net` of a process in `network`.
///
/// # Errors
/// Why either table is unknown.
pub fn read(net: &Path, network: NetworkId, end: TableEnd, wanted: &Wanted<'_>) -> Result<Tables, TableError> {
    let mut tables = Tables::default();
    both(net, end, |row, _| tables.take_in(row, network, wanted))?;
    Ok(tables)
}

/// Passes every LISTEN and ESTABLISHED row of both tables in the folder `net` to `each`. A missing `tcp6` means that
/// IPv6 is turned off.
///
/// # Errors
/// Why either table is unknown; `each` may then have been given some of the rows.
pub fn read_rows(net: &Path, mut each: impl FnMut(&TcpNetEntry)) -> Result<(), TableError> {
    both(net, TableEnd::Told, |row, _| {
        if row.is_listening() || row.is_established() {
            each(&row.entry()?);
        }
        Ok(())
    })
}

/// Passes every row of both tables to `each`, and whether it is from `tcp`.
pub(super) fn both(
    net: &Path,
    end: TableEnd,
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

/// Passes every row of one table to `each`, which may find it malformed.
///
/// # Errors
/// Why the table is unknown; `path` is only used in the text. `each` may then have been given some of the rows.
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
pub(super) fn socket(network: NetworkId, local: SocketAddr, peer: SocketAddr, inode: u64) -> Socket {
    Socket { network, local: canonical(local), peer: canonical(peer), inode: NonZeroU64::new(inode) }
}

pub(in crate::host) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(IpAddr::to_canonical(&address.ip()), address.port())
}

/// The user `uid`; `None` for the number that stands for all users without one (`/proc/sys/kernel/overflowuid`,
/// proc_sys(5)).
pub(in crate::host) fn known_user(uid: u32) -> Option<u32> {
    const OVERFLOW: u32 = 65534;
    (uid != OVERFLOW).then_some(uid)
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

    fn seen(text: &[u8]) -> Result<Sockets, TableError> {
        let (mut tables, scope) = (Tables::default(), scope());
        let own = BTreeSet::from(["127.0.0.77:50000".parse().unwrap()]);
        let wanted = Wanted { ports: &scope.ports, scope: &scope, own: &own };
        parse(text, Path::new("tcp"), |row| tables.take_in(row, NetworkId::HOST, &wanted))?;
        Ok(tables.sockets)
    }

    #[test]
    fn takes_what_is_ours_and_nothing_else() {
        let text = [HEADER, LISTEN, PLAYER, WAITING, TIME_WAIT, OUTGOING, MAPPED].concat();
        let seen = seen(text.as_bytes()).unwrap();
        let local = "127.0.0.1:25565".parse().unwrap();
        let connection = |peer: &str, inode| {
            let (network, inode) = (NetworkId::HOST, NonZeroU64::new(inode));
            ConnectionRow { socket: Socket { network, local, peer: peer.parse().unwrap(), inode }, received: None }
        };
        let address = "0.0.0.0:25565".parse().unwrap();
        assert_eq!(seen.listening, [Listening { address, uid: Some(1000), control_group: None }]);
        assert_eq!(
            seen.connections,
            [connection("127.0.0.2:49153", 502), connection("127.0.0.2:49154", 0), connection("127.0.0.3:49157", 504)]
        );
        let (local, peer) = ("127.0.0.1:49156".parse().unwrap(), "127.0.0.2:25565".parse().unwrap());
        assert_eq!(seen.far_ends, [FarEnd { local, peer }]);
    }

    #[test]
    fn leaves_out_ignored_peers() {
        let text = [HEADER, &PLAYER.replace("0200007F", "0900007F")].concat();
        assert_eq!(seen(text.as_bytes()).unwrap(), Sockets::default());
    }

    #[test]
    fn leaves_out_the_agents_own_questions() {
        let asked = PLAYER.replace("0200007F:C001", "4D00007F:C350");
        let asks = OUTGOING.replace("0100007F:C004", "4D00007F:C350");
        assert_eq!(seen([HEADER, &asked, &asks].concat().as_bytes()).unwrap(), Sockets::default());
    }

    #[test]
    fn an_empty_text_is_not_an_empty_table() {
        assert!(matches!(seen(b""), Err(TableError::Header { .. })));
        assert!(matches!(seen(LISTEN.as_bytes()), Err(TableError::Header { .. })));
        assert!(matches!(seen(b"  sl  local_address"), Err(TableError::Header { .. })));
        assert_eq!(seen(HEADER.as_bytes()).unwrap(), Sockets::default());
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
