//! The configuration: TOML files in, validated settings out.
//!
//! * [`key`]: keys. A program has one table of them, from which its man page and its shipped file are generated too.
//! * [`files`]: which files are read, and in which order.
//! * [`values`], [`paths`]: parsers for common kinds of values.
//! * [`error`]: why a configuration is refused: file, line, key, value, and what is allowed.

pub mod error;
pub mod files;
pub mod key;
pub mod paths;
pub mod values;

pub use error::{ConfigError, Place};
pub use files::Loaded;
pub use key::{Key, Refused};
