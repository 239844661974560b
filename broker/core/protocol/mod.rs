//! The packets of a login and of a status ping (minecraft.wiki, "Java Edition protocol/Packets").
//!
//! * [`versions`]: what differs between protocols, as data.
//! * [`handshake`]: the first packet. [`login`]: a login's. [`configuration`]: those of the state after it.
//! * [`status`]: what the server list shows. [`legacy_ping`]: the same for clients before 1.7.
//! * [`component`]: text as the game has it.

pub mod component;
pub mod configuration;
pub mod handshake;
pub mod legacy_ping;
pub mod login;
pub mod status;
pub mod versions;
