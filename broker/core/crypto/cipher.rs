//! The encryption of a connection: AES-128 in CFB-8, whose key is also the first vector (minecraft.wiki, "Java Edition
//! protocol/Encryption").

use aes::Aes128Enc;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};

/// What both sides have agreed on, in bytes.
pub const SECRET: usize = 16;

/// One direction of a connection: what the broker sends.
pub struct Encryptor(cfb8::Encryptor<Aes128Enc>);

/// The other one: what it receives.
pub struct Decryptor(cfb8::Decryptor<Aes128Enc>);

impl Encryptor {
    #[must_use]
    pub fn new(secret: [u8; SECRET]) -> Self {
        Encryptor(cfb8::Encryptor::new(&secret.into(), &secret.into()))
    }

    /// Encrypts the next bytes in place.
    pub fn encrypt(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0.encrypt_block(std::array::from_mut(byte).into());
        }
    }
}

impl Decryptor {
    #[must_use]
    pub fn new(secret: [u8; SECRET]) -> Self {
        Decryptor(cfb8::Decryptor::new(&secret.into(), &secret.into()))
    }

    /// Decrypts the next bytes in place.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0.decrypt_block(std::array::from_mut(byte).into());
        }
    }
}

/// Without the key.
impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encryptor")
    }
}

/// Without the key.
impl std::fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decryptor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_the_standards() {
        // By `openssl enc -aes-128-cfb8` (NIST SP 800-38A, 6.3).
        let secret = *b"0123456789abcdef";
        let mut bytes = *b"hello, broker";
        Encryptor::new(secret).encrypt(&mut bytes);
        assert_eq!(bytes, CIPHERTEXT);
    }

    const CIPHERTEXT: [u8; 13] = [0x1a, 0xc6, 0x44, 0xb7, 0x31, 0xe0, 0x65, 0xf8, 0xca, 0xdc, 0x0a, 0x5c, 0x5f];

    proptest! {
        #[test]
        fn what_is_encrypted_in_pieces_is_decrypted_in_other_pieces(
            secret in any::<[u8; 16]>(), text in prop::collection::vec(any::<u8>(), 0..200), one in 1_usize..50, other in 1_usize..50,
        ) {
            let mut bytes = text.clone();
            let (mut encryptor, mut decryptor) = (Encryptor::new(secret), Decryptor::new(secret));
            bytes.chunks_mut(one).for_each(|piece| encryptor.encrypt(piece));
            bytes.chunks_mut(other).for_each(|piece| decryptor.decrypt(piece));
            prop_assert_eq!(bytes, text);
        }
    }
}
