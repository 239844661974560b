//! The UUID of a player whom nobody vouches for: version 3, of his name (RFC 9562, 5.3, without a namespace), as the
//! original game makes it for a server with `online-mode=false`.

use md5::{Digest, Md5};

/// The UUID of `name`.
#[must_use]
pub fn offline_uuid(name: &str) -> u128 {
    let hash: [u8; 16] = Md5::new().chain_update(b"OfflinePlayer:").chain_update(name).finalize().into();
    let version = u128::from_be_bytes(hash) & !(0xf << 76) | (3 << 76);
    version & !(0b11 << 62) | (0b10 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_one_that_a_server_gives() {
        // By java.util.UUID.nameUUIDFromBytes, as npm's minecraft-protocol has it too.
        assert_eq!(format!("{:032x}", offline_uuid("Notch")), "b50ad385829d3141a2167e7d7539ba7f");
    }
}
