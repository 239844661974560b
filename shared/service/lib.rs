//! What every service of mc-idle needs. Nothing here waits forever, and nothing needs a runtime.
//!
//! * [`config`]: TOML files in, valid settings out; an error names the file, the line, the key and what is allowed.
//! * [`journal`]: lines for systemd's journal, or for a terminal ([`terminal`]) where there is none.
//! * [`notify`]: messages to systemd.
//! * [`printable`]: makes text that somebody else wrote safe to show.
//! * [`error_chain`]: an error and its causes on one line. [`exit_code`]: the exit codes of all programs.
//! * [`process`]: panics, and the last words of a program.
//! * [`small_file`]: reads a file that others may have put there. [`whole_file`]: writes a file completely or not at
//!   all.
//! * [`worker`]: a thread for work that may hang.

pub mod config;
pub mod error_chain;
pub mod exit_code;
pub mod journal;
pub mod notify;
pub mod printable;
pub mod process;
pub mod small_file;
pub mod terminal;
pub mod whole_file;
pub mod worker;
