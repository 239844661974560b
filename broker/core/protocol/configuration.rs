//! The packets of the configuration state, which follows a login from 1.20.2 on. It is used from 1.20.5 on, the first
//! version that can be transferred.

use std::net::SocketAddr;

use crate::protocol::component::nbt_text;
use crate::protocol::versions::ConfigurationIds;
use crate::wire::writer::Packet;

/// Keeps the connection from being given up: a client does so after 30 s of silence.
#[must_use]
pub fn keep_alive(ids: ConfigurationIds, number: u64) -> Vec<u8> {
    Packet::new(ids.keep_alive).u64(number).framed()
}

/// Sends the client to another server. The address is a literal: a name might lead back here.
#[must_use]
pub fn transfer(ids: ConfigurationIds, to: SocketAddr) -> Vec<u8> {
    Packet::new(ids.transfer).text(&to.ip().to_canonical().to_string()).varint(to.port().into()).framed()
}

/// Ends the connection with a text.
#[must_use]
pub fn disconnect(ids: ConfigurationIds, text: &str) -> Vec<u8> {
    Packet::new(ids.disconnect).raw(&nbt_text(text)).framed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::versions::ProtocolTable;

    /// Golden bytes of every protocol: what the tables of three sources say (see `versions`).
    #[test]
    fn the_bytes_of_each_protocol_are_the_documented_ones() {
        let table = ProtocolTable::default();
        let (to, to_v6) = ("203.0.113.5:25565".parse().unwrap(), "[2001:db8::5]:25566".parse().unwrap());
        for protocol in 766..=777_u32 {
            let ids = table.ids(protocol).unwrap();
            let id: u8 = if protocol == 777 { 0x0c } else { 0x0b };
            assert_eq!(transfer(ids, to), [&[0x10, id][..], b"\x0b203.0.113.5\xdd\xc7\x01"].concat(), "{protocol}");
            assert_eq!(transfer(ids, to_v6), [&[0x10, id][..], b"\x0b2001:db8::5\xde\xc7\x01"].concat(), "{protocol}");
            assert_eq!(keep_alive(ids, 258), b"\x09\x04\0\0\0\0\0\0\x01\x02", "{protocol}");
            assert_eq!(disconnect(ids, "no"), b"\x06\x02\x08\x00\x02no", "{protocol}");
        }
    }
}
