//! What a login is protected by.
//!
//! * [`cipher`]: the encryption of a connection. [`login_hash`]: what client and broker tell the session server.
//! * [`offline_uuid`]: the UUID of a player whom nobody vouches for.

pub mod cipher;
pub mod login_hash;
pub mod offline_uuid;
