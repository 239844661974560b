//! Lines about what was done, on stderr: Lambda and systemd keep them with their time. None has a key, a path or a cookie.

use std::io::{Write, stderr};

use mc_service::printable::printable;

/// Writes one line.
pub fn log(line: &str) {
    // A log that cannot be written is no reason to do anything else.
    let _ = writeln!(stderr().lock(), "{}", printable(line));
}
