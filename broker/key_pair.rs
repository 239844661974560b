//! The key of all logins: RSA with 2048 bits, made at each start and never stored. The library is aws-lc-rs, which is
//! maintained by AWS and has no open advisory; the crate `rsa` has one (RUSTSEC-2023-0071), and ring cannot decrypt.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{KeySize, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};

/// Both halves.
pub struct KeyPair {
    private: Pkcs1PrivateDecryptingKey,
    public: Vec<u8>,
}

impl KeyPair {
    /// A new one. Takes some tenths of a second.
    ///
    /// # Errors
    /// The library cannot make one.
    pub fn generate() -> Result<Self, Unspecified> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let public: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        Ok(KeyPair { public: public.as_ref().to_vec(), private: Pkcs1PrivateDecryptingKey::new(private)? })
    }

    /// The public half: X.509 SubjectPublicKeyInfo, DER (RFC 5280, 4.1.2.7).
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// What was encrypted with the public half (PKCS #1 v1.5, RFC 8017, 7.2); `None`: nothing was.
    #[must_use]
    pub fn decrypt(&self, secret: &[u8]) -> Option<Vec<u8>> {
        let mut plain = vec![0; self.private.min_output_size()];
        self.private.decrypt(secret, &mut plain).ok().map(|plain| plain.to_vec())
    }
}

/// Without the private half.
impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}
