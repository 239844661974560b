//! Everything that the broker decides. Pure: bytes, answers and the time go in, bytes and actions come out. A time is a
//! [`Duration`](std::time::Duration) since the broker started, by a clock that nobody sets back.
//!
//! ```text
//!   bytes ──► connection ──► questions, bytes       one player's connection, from the first byte to the last
//!                 │  ▲
//!                 ▼  │ orders
//!               lobby ──► errands                   all who wait: whether the server is up, who asks for a start,
//!                 ▲                                 who is handed over
//!                 └── launcher's status, pings
//! ```
//!
//! * [`connection`]: **start there.** A login, from the handshake to the hand-over.
//! * [`lobby`]: everybody who waits, and what has to be asked on their behalf. [`server`]: what is known of the server.
//! * [`gate`]: who is kept out, and how fast somebody may come back.
//! * [`protocol`]: the packets, and their ids by version. [`wire`]: what packets are made of. [`crypto`]: encryption.
//! * [`texts`]: everything that a player reads.

pub mod connection;
pub mod crypto;
pub mod gate;
pub mod lobby;
pub mod protocol;
pub mod server;
pub mod texts;
pub mod wire;
