//! The exit codes of all programs.

/// A check failed, or something that is needed does not run.
pub const FAILED: u8 = 1;
/// Wrong arguments.
pub const USAGE: u8 = 2;
/// An internal error (sysexits.h, EX_SOFTWARE).
pub const INTERNAL: u8 = 70;
/// The configuration is refused (sysexits.h, EX_CONFIG).
pub const CONFIG: u8 = 78;
