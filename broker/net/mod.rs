//! Sockets.
//!
//! * [`listener`]: accepts connections, within limits. [`session`]: one connection, as the core wants it.
//! * [`relay`]: the bytes of a player who cannot be handed over. [`shared`]: what all connections have in common.

pub mod listener;
pub mod relay;
pub mod session;
pub mod shared;
