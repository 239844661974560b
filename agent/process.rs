//! The process: its exit codes, its paths and its runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mc_idle::host::ThisHost;
use mc_service::process;
use tokio::runtime::{Builder, Runtime};

/// Prints `error` and returns `code`.
pub(crate) fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    process::refuse("mc-idle", error, code)
}

/// `error` on one line.
pub(crate) fn complaint(error: &dyn std::error::Error) -> String {
    process::complaint("mc-idle", error)
}

/// One thread, since the agent sleeps most of the time. Only DNS lookups use further threads.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(4).build()
}

pub(crate) fn this_host() -> ThisHost {
    ThisHost::below(Path::new("/"))
}

/// The running program, even if an upgrade has replaced its file.
pub(crate) fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The kernel's id of this boot (random(4)).
pub(crate) fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// The boot id in heartbeats; "unknown" if there is none.
pub(crate) fn in_heartbeat(boot_id: Option<String>) -> String {
    boot_id.unwrap_or_else(|| "unknown".to_owned())
}

/// The folder for the state, created by `RuntimeDirectory=` of the unit (systemd.exec(5)).
pub(crate) fn runtime_directory() -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| PathBuf::from("/run/mc-idle"), PathBuf::from)
}
