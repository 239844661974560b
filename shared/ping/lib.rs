//! The status ping of Minecraft's Java edition as bytes. Pure: it opens no socket and reads no clock.
//!
//! * [`java`]: the question, and an answer put together from the pieces that it arrives in.
//! * [`answer`]: what is trusted of an answer.
//! * [`varint`]: the numbers of the protocol.

pub mod answer;
pub mod java;
pub mod varint;

/// How a question begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PingForm {
    /// With the status ping itself.
    #[default]
    Plain,
    /// With a PROXY protocol header, version 2, command LOCAL.
    Proxied,
}

impl PingForm {
    /// The other form.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            PingForm::Plain => PingForm::Proxied,
            PingForm::Proxied => PingForm::Plain,
        }
    }
}
