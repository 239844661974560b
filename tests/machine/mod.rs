//! What the tests on a real systemd (`tests/systemd/`, `tests/screens.rs`), with real engines (`tests/docker.rs`,
//! `tests/podman.rs`) and on a real NFS (`tests/nfs.rs`) share: where the trees of `setup.sh` are, and when a test may be skipped.

#[allow(dead_code, reason = "each test file uses a part of it, and the one without a container none")]
pub(crate) mod container;
#[allow(dead_code, reason = "each test file uses a part of it, and the ones without an engine none")]
pub(crate) mod engines;
#[allow(dead_code, reason = "each test file uses a part of it, and the ones without an AWS none")]
pub(crate) mod peers;
#[allow(dead_code, reason = "not each test file logs in")]
pub(crate) mod ssh;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// The agent under test.
pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_mc-idle");

pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file that `setup.sh` has built.
pub(crate) fn built(name: &str) -> PathBuf {
    checkout().join("target/machine").join(name)
}

/// Prints past the test harness, which keeps the output of tests that pass to itself.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// True when everything is here. Without root, a tool or a tree the test is skipped with one line; in CI that is a failure.
pub(crate) fn ready(tools: &[&str], files: &[&str]) -> bool {
    static ONCE: Once = Once::new();
    let Some(missing) = missing(tools, files) else {
        return true;
    };
    let line = format!("skipped: {missing}");
    assert!(std::env::var_os("CI").is_none(), "{line} (CI is set, so nothing may be skipped)");
    ONCE.call_once(|| say(&line));
    false
}

fn missing(tools: &[&str], files: &[&str]) -> Option<String> {
    // The owner of /proc/self is the effective user.
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").ok()?);
    if user != 0 {
        return Some("needs root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for tool in tools {
        if !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()) {
            return Some(format!("needs {tool} (make test installs it)"));
        }
    }
    for file in files {
        if !built(file).is_file() {
            return Some(format!("needs target/machine/{file} (tests/machine/setup.sh builds it)"));
        }
    }
    None
}
