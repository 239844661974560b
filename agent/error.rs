//! How an error is written: itself and its causes, on one line.

use std::error::Error;
use std::fmt::Write;

/// The error and everything that caused it, joined by colons. A cause whose text is already there is not said twice.
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
    text
}
