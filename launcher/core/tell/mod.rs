//! How people are told. Pure.
//!
//! * [`channel`]: the channels in the parameter `tell`. [`address`]: where messages may go: nowhere inside.
//! * [`refusal`]: what it means when a channel does not take a message.

pub mod address;
pub mod channel;
pub mod refusal;
