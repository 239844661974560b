//! The UDP sockets that are bound to a Bedrock port, from `udp` and `udp6` in `/proc/PID/net`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use mc_idle_rule::facts::Listening;
use procfs::FromBufReadSI;
use procfs::net::{UdpNetEntries, UdpNetEntry, UdpState};

use crate::host::sockets::row::in_words;
use crate::host::sockets::tables::{canonical, known_user};

/// The longest row, in bytes; the kernel's have up to 190.
const ROW_LONGEST: u64 = 1024;

/// Reads both tables in `net`. A missing `udp6` means that IPv6 is turned off.
///
/// # Errors
/// A table cannot be read, has no header line, or has a malformed row.
pub fn read(net: &Path, ports: &BTreeSet<u16>) -> io::Result<Vec<Listening>> {
    let mut bound = Vec::new();
    for name in ["udp", "udp6"] {
        match File::open(net.join(name)) {
            Ok(file) => bound.extend(parse(BufReader::new(file), ports)?),
            Err(error) if name == "udp6" && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bound)
}

fn parse(mut table: impl BufRead, ports: &BTreeSet<u16>) -> io::Result<Vec<Listening>> {
    let mut bound = Vec::new();
    let mut row = Vec::new();
    for number in 0.. {
        row.clear();
        table.by_ref().take(ROW_LONGEST).read_until(b'\n', &mut row)?;
        match (number, row.is_empty(), row.ends_with(b"\n")) {
            (0, _, true) if row.trim_ascii_start().starts_with(b"sl ") => continue,
            (1.., true, _) => break,
            (1.., false, true) => {}
            _ => return Err(io::Error::other("header line missing, or cut off")),
        }
        let UdpNetEntry { local_address, state, uid, .. } = entry(&row)?;
        // Unconnected, so it takes datagrams from anybody.
        if state == UdpState::Close && ports.contains(&local_address.port()) {
            bound.push(Listening { address: canonical(local_address), uid: known_user(uid), control_group: None });
        }
    }
    Ok(bound)
}

fn entry(row: &[u8]) -> io::Result<UdpNetEntry> {
    // procfs skips the first line.
    let table = [b"\n", row].concat();
    let entries = UdpNetEntries::from_buf_read(table.as_slice(), procfs::current_system_info());
    let entries = entries.map_err(|error| io::Error::other(in_words(error)))?;
    entries.0.into_iter().next().ok_or_else(|| io::Error::other("empty row"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
    const BOUND: &str = " 1234: 00000000:4ABC 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 4711 2 0000000000000000 0\n";

    #[test]
    fn bound_sockets_are_found_and_connected_ones_are_not() {
        let connected = BOUND.replace(" 07 ", " 01 ");
        let other = BOUND.replace(":4ABC", ":0035");
        let text = [HEADER, BOUND, &connected, &other].concat();
        let bound = parse(text.as_bytes(), &[19132].into()).unwrap();
        let address = "0.0.0.0:19132".parse().unwrap();
        assert_eq!(bound, [Listening { address, uid: Some(1000), control_group: None }]);
    }

    #[test]
    fn a_table_that_is_cut_is_unknown() {
        for text in ["", BOUND, &[HEADER, &BOUND[..40]].concat(), &[HEADER, "nonsense\n"].concat()] {
            assert!(parse(text.as_bytes(), &[19132].into()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse([HEADER.as_bytes(), &bytes].concat().as_slice(), &[19132].into());
        }
    }
}
