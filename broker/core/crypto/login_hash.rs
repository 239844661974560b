//! What client and broker each tell the session server about a login, so that it can bring them together: a hash of the
//! secret and of the broker's public key (minecraft.wiki, "Java Edition protocol/Encryption").

use sha1::{Digest, Sha1};

/// The hash of a login with `secret` at a server with this public key (DER). The id of the server is empty, as the
/// original game has it.
#[must_use]
pub fn login_hash(secret: &[u8], public_key: &[u8]) -> String {
    signed_hexadecimal(Sha1::new().chain_update(secret).chain_update(public_key).finalize().into())
}

/// As Java writes a number of 160 bits: with a minus sign, and without zeros in front.
fn signed_hexadecimal(mut digest: [u8; 20]) -> String {
    let negative = digest[0] & 0x80 != 0;
    if negative {
        // Two's complement: all bits the other way round, plus one.
        let mut carry = true;
        for byte in digest.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let digits: String = digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|four| char::from_digit(four.into(), 16))
        .collect();
    let digits = digits.trim_start_matches('0');
    format!("{}{}", if negative { "-" } else { "" }, if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_the_documentation_gives() {
        // minecraft.wiki, "Java Edition protocol/Encryption", the names hashed alone.
        for (name, hash) in [
            ("Notch", "4ed1f46bbe04bc756bcb17c0c7ce3e4632f06a48"),
            ("jeb_", "-7c9d5b0044c130109a5d7b5fb5c317c02b4e28c1"),
            ("simon", "88e16a1019277b15d58faf0541e11910eb756f6"),
        ] {
            assert_eq!(login_hash(name.as_bytes(), b""), hash);
        }
    }

    #[test]
    fn the_edges_are_written_as_java_writes_them() {
        assert_eq!(signed_hexadecimal([0; 20]), "0");
        assert_eq!(signed_hexadecimal([0xff; 20]), "-1");
        let mut least = [0; 20];
        least[0] = 0x80;
        assert_eq!(signed_hexadecimal(least), format!("-8{}", "0".repeat(39)));
    }
}
