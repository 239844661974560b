//! Why a configuration is refused.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file, or the folder of drop-ins.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}:{line}: not valid TOML: {message}, in: {found}", path.display())]
    Syntax {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's.
        message: String,
        /// The line.
        found: String,
    },
    #[error("{}:{line}: unknown key {key} = {found}; known keys: {known}", path.display())]
    UnknownKey {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Dotted.
        key: String,
        /// The value.
        found: String,
        /// All keys, separated by commas.
        known: String,
    },
    #[error(
        "{}:{line}: {key} = {found} is not allowed{}; allowed: {allowed}",
        path.display(),
        why.map_or_else(String::new, |why| format!(", since {why}"))
    )]
    Value {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Dotted.
        key: &'static str,
        /// The value.
        found: String,
        /// What is wrong with it, unless `allowed` makes that obvious.
        why: Option<&'static str>,
        allowed: &'static str,
    },
    #[error("{}: {key} is not set, and there is no default; allowed: {allowed}", path.display())]
    Missing {
        /// The first file that it may be in.
        path: PathBuf,
        /// Dotted.
        key: &'static str,
        allowed: &'static str,
    },
    /// A value is not allowed together with that of another key, which may be in another file.
    #[error("{place}: {key} = {found} is not allowed; allowed: {allowed}, which is {limit}")]
    Conflict {
        place: Place,
        /// Dotted.
        key: &'static str,
        /// The value.
        found: String,
        allowed: &'static str,
        /// The value of the other key, and where it comes from.
        limit: String,
    },
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}
