//! Values that are paths.

use std::path::{Path, PathBuf};

use super::key::Refused;

/// The absolute path of a file; empty: none.
///
/// # Errors
/// It is something else; with the reason.
pub fn file(text: &str) -> Result<Option<PathBuf>, Refused> {
    match text {
        "" => Ok(None),
        path if path.ends_with('/') => Err(Refused { why: Some("it ends with /, so it is a folder") }),
        path => absolute(path).map(Some),
    }
}

/// An absolute path without `.`, `..` and NUL.
///
/// # Errors
/// It is something else; with the reason.
pub fn absolute(text: &str) -> Result<PathBuf, Refused> {
    let has = |part| text.split('/').any(|other| other == part);
    let why = if text.contains('\0') {
        // path_resolution(7)
        "a path cannot contain NUL"
    } else if has("..") {
        "it contains .."
    } else if !text.starts_with('/') {
        "it does not start with /"
    } else if has(".") {
        "it contains a . component"
    } else {
        // Collecting the components drops trailing and doubled slashes, which the kernel's table of mounts does not
        // have.
        return Ok(Path::new(text).components().collect());
    };
    Err(Refused { why: Some(why) })
}
