//! What the warden decides. Pure.
//!
//! * [`dead_man`]: what to do about an instance that nobody watches any more. [`alarm`]: the same in words.
//! * [`news`]: what to tell people about an evening.
//! * [`outbox`]: which messages are still to be sent, by which channels, and when.
//! * [`figures`]: how the server is in numbers, for graphs and alarms.
//! * [`record`]: the server's records in Route 53.
//! * [`memory`]: what is remembered of all this between two looks.

pub mod alarm;
pub mod dead_man;
pub mod figures;
pub mod memory;
pub mod news;
pub mod outbox;
pub mod record;
