//! The PROXY protocol, version 2 (haproxy, doc/proxy-protocol.txt, 2.2): who the client of a proxy is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and the length of what follows.
const HEAD: usize = 16;
/// The longest header that is taken, in bytes: addresses and some extensions.
pub const LONGEST: usize = 512;

/// Who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The proxy itself: LOCAL, a health check.
    Proxy,
    Client(SocketAddr),
}

/// What no proxy of this version sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no PROXY header of version 2 with a TCP client in it")]
pub struct NotAHeader;

/// The header at the beginning of `bytes`, and its length in bytes; `None`: it is not whole yet.
///
/// # Errors
/// It is none.
pub fn read(bytes: &[u8]) -> Result<Option<(Source, usize)>, NotAHeader> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(NotAHeader);
    }
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..HEAD) else { return Ok(None) };
    let length = HEAD + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(NotAHeader);
    }
    let Some(rest) = bytes.get(HEAD..length) else { return Ok(None) };
    let source = match (command, family) {
        (0x20, _) => Source::Proxy,
        (0x21, 0x11) => {
            let &[a, b, c, d, _, _, _, _, high, low, ..] = rest else { return Err(NotAHeader) };
            Source::Client((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
        }
        (0x21, 0x21) => {
            let (address, rest) = rest.split_first_chunk::<16>().ok_or(NotAHeader)?;
            let &[high, low, ..] = rest.get(16..).unwrap_or_default() else { return Err(NotAHeader) };
            Source::Client((Ipv6Addr::from(*address), u16::from_be_bytes([high, low])).into())
        }
        _ => return Err(NotAHeader),
    };
    Ok(Some((source, length)))
}

/// The header that says that a connection to `server` is `client`'s.
#[must_use]
pub fn written(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.push(0x21);
    match (client.ip().to_canonical(), server.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([0x11, 0, 12]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (from, to) => {
            let wide = |address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            bytes.extend([0x21, 0, 36]);
            bytes.extend(wide(from).octets());
            bytes.extend(wide(to).octets());
        }
    }
    bytes.extend(client.port().to_be_bytes());
    bytes.extend(server.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
        let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
        (prop_oneof![v4, v6], any::<u16>()).prop_map(SocketAddr::from)
    }

    #[test]
    fn a_health_check_of_the_proxy_has_no_client() {
        assert_eq!(read(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0rest"), Ok(Some((Source::Proxy, 16))));
        for none in
            [&b"\x10"[..], b"PROXY TCP4", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\0"]
        {
            assert_eq!(read(none), Err(NotAHeader), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(client in address(), server in address(), after in any::<[u8; 3]>()) {
            let header = written(client, server);
            let whole = read(&[&header[..], &after].concat()).unwrap().unwrap();
            let Source::Client(read_again) = whole.0 else { panic!("{whole:?}") };
            prop_assert_eq!((read_again.ip().to_canonical(), read_again.port()), (client.ip().to_canonical(), client.port()));
            prop_assert_eq!(whole.1, header.len());
            for cut in 0..header.len() {
                prop_assert_eq!(read(&header[..cut]), Ok(None));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(after in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&[&SIGNATURE[..], &after].concat());
            let _ = read(&after);
        }
    }
}
