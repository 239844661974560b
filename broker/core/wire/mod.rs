//! What packets are made of.
//!
//! * [`frame`]: a stream of bytes, cut into packets. [`fields`]: the fields of a packet. [`writer`]: packets to send.
//! * [`proxy_header`]: who the client is, as a proxy in front says it.

pub mod fields;
pub mod frame;
pub mod proxy_header;
pub mod writer;
