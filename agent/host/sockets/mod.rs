//! The kernel's socket tables.
//!
//! * [`tables`]: the TCP tables, `/proc/PID/net/tcp` and `tcp6`. [`seq_file`]: how such a table is read to its end.
//!   [`row`]: one row of it.
//! * [`udp`]: the same for UDP. [`counters`]: which sockets a network has in use, and how much it has received.
//! * [`sock_diag`]: what only netlink tells: who made a listening socket, and how much a connection has received.
//! * [`witness`]: reads the sockets of a last look a second time, over [`netlink`]. [`expected`]: how it is known that
//!   the witness has seen everything.

pub mod counters;
pub mod expected;
pub mod netlink;
pub mod row;
pub mod seq_file;
pub mod sock_diag;
pub mod tables;
pub mod udp;
pub mod witness;
