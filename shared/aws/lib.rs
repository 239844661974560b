//! Clients of EC2 and SSM with a limit on every wait, and the meaning of their errors.
//!
//! * [`clients`]: the SDK's clients with their timeouts.
//! * [`http`]: their HTTP clients, over a kept connection or over an open one and no other.
//! * [`connection`]: an open connection. [`connector`]: opens connections.
//! * [`error_code`]: classes of error codes.
//! * [`skew`]: how far AWS's clock is from this machine's.

pub mod clients;
pub mod connection;
pub mod connector;
pub mod error_code;
pub mod http;
pub mod skew;
