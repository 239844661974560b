//! Does the mount answer? A helper process asks it, so that only the helper can hang.
//!
//! A hard NFS mount whose server is gone blocks every caller (nfs(5), `hard`). The helper is killed at its deadline and
//! never waited for by anything else; until the kernel lets go of it, no second one is started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time;

/// The hidden subcommand that the helper is started with.
pub const HELPER: &str = "probe-mount";

/// The time between the end of one probe and the start of the next.
const PAUSE: Duration = Duration::from_secs(30);

/// The mount to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kernel's number of the mount.
    pub mount_id: i32,
    /// Where it is.
    pub mount_point: PathBuf,
    /// How long it may take to answer.
    pub deadline: Duration,
}

/// What the last probe of a mount has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The mount that was probed.
    pub mount_id: i32,
    /// `Ok` if it answered; otherwise what happened instead.
    pub answer: Result<(), String>,
}

/// Probes whatever `target` names, until nobody names one any more.
pub async fn run(
    helper: PathBuf,
    mut target: watch::Receiver<Option<Target>>,
    verdict: watch::Sender<Option<Verdict>>,
) {
    loop {
        let Some(current) = target.borrow_and_update().clone() else {
            // The kernel gives the number of a mount that is gone to another.
            verdict.send_replace(None);
            if target.changed().await.is_err() {
                return;
            }
            continue;
        };
        let report = |mount_id, answer| {
            verdict.send_replace(Some(Verdict { mount_id, answer }));
        };
        match start(&helper, &current.mount_point) {
            Err(error) => report(current.mount_id, Err(no_helper(&error))),
            Ok(mut child) => {
                if let Ok(ended) = time::timeout(current.deadline, child.wait()).await {
                    report(current.mount_id, answer(ended));
                } else {
                    report(current.mount_id, Err(silence(current.deadline)));
                    match outlast(child, &mut target, report).await {
                        Outlasted::Helper => continue,
                        Outlasted::Agent => return,
                    }
                }
            }
        }
        tokio::select! {
            () = time::sleep(PAUSE) => {}
            changed = target.changed() => if changed.is_err() { return },
        }
    }
}

enum Outlasted {
    Helper,
    Agent,
}

/// Kills a helper that hangs and stays with it: in uninterruptible sleep it ends only when the kernel lets it, and until
/// then no second one is started. A mount that comes meanwhile cannot be probed, and is told to be so.
async fn outlast(
    mut child: Child,
    target: &mut watch::Receiver<Option<Target>>,
    report: impl Fn(i32, Result<(), String>),
) -> Outlasted {
    // Fails only if it has ended by itself just now.
    let _ = child.start_kill();
    loop {
        tokio::select! {
            _ = child.wait() => return Outlasted::Helper,
            changed = target.changed() => {
                if changed.is_err() {
                    return Outlasted::Agent;
                }
                if let Some(next) = target.borrow_and_update().as_ref() {
                    report(next.mount_id, Err("the helper that asked the mount before it is still stuck".to_owned()));
                }
            }
        }
    }
}

/// Probes `mount_point` once.
///
/// # Errors
/// What came instead of an answer within `deadline`.
pub async fn ask(helper: &Path, mount_point: &Path, deadline: Duration) -> Result<(), String> {
    let mut child = start(helper, mount_point).map_err(|error| no_helper(&error))?;
    time::timeout(deadline, child.wait()).await.map_or_else(|_| Err(silence(deadline)), answer)
}

fn silence(deadline: Duration) -> String {
    format!("no answer within {:.1} s", deadline.as_secs_f64())
}

fn no_helper(error: &io::Error) -> String {
    format!("cannot start the helper that asks it: {error}")
}

fn answer(ended: io::Result<ExitStatus>) -> Result<(), String> {
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(errno) => format!("it answers with an error: {}", io::Error::from_raw_os_error(errno.into())),
            None => format!("the helper that asks it ended with {status}"),
        }),
        Err(error) => Err(format!("cannot wait for the helper that asks it: {error}")),
    }
}

fn start(helper: &Path, mount_point: &Path) -> io::Result<Child> {
    Command::new(helper)
        .arg(HELPER)
        .arg(mount_point)
        .env_clear()
        // Not the mount itself: a working folder there would keep it busy.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// The helper itself: asks the file system at `mount_point` for its figures (statfs(2)), which NFS answers only after
/// asking its server. Exits with 0, or with the error number.
#[must_use]
pub fn helper(mount_point: &Path) -> ExitCode {
    match rustix::fs::statfs(mount_point) {
        Ok(_) => ExitCode::SUCCESS,
        Err(errno) => u8::try_from(errno.raw_os_error()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}
