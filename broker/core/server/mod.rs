//! What is known of the server.
//!
//! * [`status`]: what the launcher says. [`sight`]: that and the answers to pings, with their age, and whether somebody can
//!   be handed over now.
//! * [`own_addresses`]: where nobody may be sent.

pub mod own_addresses;
pub mod sight;
pub mod status;
