//! Writes an error and its causes on one line.

use std::error::Error;
use std::fmt::Write;

/// The error and everything that caused it, joined by colons. A cause whose text is already included is not repeated.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    // Some messages contain line breaks.
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn is_one_line_and_says_nothing_twice() {
        let error = io::Error::other(io::Error::other("first\n  second"));
        assert_eq!(chain(&error), "first second");
    }
}
