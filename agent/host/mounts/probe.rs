//! Probes whether the mounts respond, each in a helper process, so that only the helper can hang.
//!
//! A hard NFS mount whose server is gone blocks every caller (nfs(5), `hard`). A helper is killed at its deadline, and
//! nothing else ever waits for it. Until the kernel lets go of it, no second helper probes the same mount, and there
//! are never more than [`HELPERS_MOST`] in total.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::host::mounts::mountinfo::NfsMount;

/// The hidden subcommand that starts the helper.
pub const HELPER: &str = "probe-mount";

/// The maximum number of helpers at a time, including stuck ones.
pub const HELPERS_MOST: usize = 8;

/// The time between the end of one probe of a mount and the start of the next.
const PAUSE: Duration = Duration::from_secs(30);

/// A mount to probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    pub mount: NfsMount,
    /// How long it may take to respond.
    pub deadline: Duration,
}

/// The outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HelperAnswer {
    /// The mount responded.
    Came,
    /// The probing user may not access the mount, so it was not probed; the text includes the system's error.
    Barred(String),
    /// Something other than an answer came in time, or nothing.
    Failed(String),
}

/// The outcome of the last probe of each mount; mounts that have not been probed yet are missing.
pub type ProbeResults = BTreeMap<NfsMount, HelperAnswer>;

/// Probes all `targets`, each mount independently, until their sender is dropped.
pub async fn run(
    helper: PathBuf,
    mut targets: watch::Receiver<Vec<ProbeTarget>>,
    probe_results: watch::Sender<ProbeResults>,
) {
    let shared = Arc::new(Prober { helper, probe_results, slots: Semaphore::new(HELPERS_MOST) });
    // One task per mount. It stays while its helper is stuck, even if the mount is no longer a target.
    let mut deadlines = BTreeMap::<NfsMount, watch::Sender<Option<Duration>>>::new();
    let mut tasks = JoinSet::new();
    loop {
        let mut named: BTreeMap<NfsMount, Duration> =
            targets.borrow_and_update().iter().map(|target| (target.mount.clone(), target.deadline)).collect();
        shared.probe_results.send_if_modified(|probe_results| {
            let before = probe_results.len();
            probe_results.retain(|mount, _| named.contains_key(mount));
            probe_results.len() != before
        });
        for (mount, deadline) in &deadlines {
            let new = named.remove(mount);
            deadline.send_if_modified(|deadline| std::mem::replace(deadline, new) != new);
        }
        for (mount, deadline) in named {
            let (sender, receiver) = watch::channel(Some(deadline));
            let prober = Arc::clone(&shared);
            deadlines.insert(mount.clone(), sender);
            tasks.spawn(async move {
                prober.probe(&mount, receiver).await;
                mount
            });
        }
        tokio::select! {
            changed = targets.changed() => if changed.is_err() { return },
            Some(Ok(mount)) = tasks.join_next() => {
                deadlines.remove(&mount);
            }
        }
    }
}

/// What the probes of all mounts share.
struct Prober {
    helper: PathBuf,
    probe_results: watch::Sender<ProbeResults>,
    /// One for each helper that may exist.
    slots: Semaphore,
}

impl Prober {
    /// Probes `mount` repeatedly, until it is no longer a target and so has no deadline.
    #[expect(clippy::disallowed_methods, reason = "one deadline for the wait for a helper and for its answer")]
    async fn probe(&self, mount: &NfsMount, mut deadline: watch::Receiver<Option<Duration>>) {
        loop {
            let Some(patience) = *deadline.borrow_and_update() else { return };
            let end = Instant::now() + patience;
            match time::timeout_at(end, self.slots.acquire()).await {
                Err(_) => {
                    let stuck = HelperAnswer::Failed("all helpers are stuck on other mounts".to_owned());
                    self.report(mount, &deadline, stuck);
                }
                // It is never closed.
                Ok(Err(_)) => return,
                Ok(Ok(_slot)) => match start(&self.helper, &mount.at) {
                    Err(error) => self.report(mount, &deadline, no_helper(&error)),
                    Ok(mut child) => {
                        if let Ok(ended) = time::timeout_at(end, child.wait()).await {
                            self.report(mount, &deadline, answer(ended));
                        } else {
                            self.report(mount, &deadline, silence(patience));
                            self.outlast(child, mount, &mut deadline).await;
                            continue;
                        }
                    }
                },
            }
            tokio::select! {
                () = time::sleep(PAUSE) => {}
                changed = deadline.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Kills a hung helper and waits for its end: in uninterruptible sleep it ends only when the kernel lets it.
    async fn outlast(&self, mut child: Child, mount: &NfsMount, deadline: &mut watch::Receiver<Option<Duration>>) {
        // Fails only if it has just exited by itself.
        let _ = child.start_kill();
        loop {
            tokio::select! {
                _ = child.wait() => return,
                changed = deadline.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    deadline.mark_unchanged();
                    self.report(mount, deadline, HelperAnswer::Failed("the previous helper is still stuck".to_owned()));
                }
            }
        }
    }

    /// Reports the outcome for a mount that is still a target. The kernel gives the id of one that is gone to another.
    fn report(&self, mount: &NfsMount, deadline: &watch::Receiver<Option<Duration>>, answer: HelperAnswer) {
        if deadline.borrow().is_some() {
            self.probe_results.send_modify(|probe_results| drop(probe_results.insert(mount.clone(), answer)));
        }
    }
}

/// Probes `mount_point` once.
pub async fn ask(helper: &Path, mount_point: &Path, deadline: Duration) -> HelperAnswer {
    match start(helper, mount_point) {
        Err(error) => no_helper(&error),
        Ok(mut child) => time::timeout(deadline, child.wait()).await.map_or_else(|_| silence(deadline), answer),
    }
}

fn silence(deadline: Duration) -> HelperAnswer {
    HelperAnswer::Failed(format!("no answer within {:.1} s", deadline.as_secs_f64()))
}

fn no_helper(error: &io::Error) -> HelperAnswer {
    HelperAnswer::Failed(format!("cannot start the probe helper: {error}"))
}

fn answer(ended: io::Result<ExitStatus>) -> HelperAnswer {
    match ended {
        Ok(status) if status.success() => HelperAnswer::Came,
        Ok(status) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) => {
                let error = io::Error::from_raw_os_error(code.into());
                if i32::from(code) == Errno::ACCESS.raw_os_error() {
                    HelperAnswer::Barred(format!("the user of the probe has no access to it: {error}"))
                } else {
                    HelperAnswer::Failed(format!("it returned an error: {error}"))
                }
            }
            None => HelperAnswer::Failed(format!("the probe helper ended with {status}")),
        },
        Err(error) => HelperAnswer::Failed(format!("cannot wait for the probe helper: {error}")),
    }
}

fn start(helper: &Path, mount_point: &Path) -> io::Result<Child> {
    Command::new(helper)
        .arg(HELPER)
        .arg(mount_point)
        .env_clear()
        // A working directory on the mount would keep it busy.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
}

/// The helper itself: asks for the statistics of the file system at `mount_point` (statfs(2)), which NFS answers only
/// after asking its server. Exits with 0, or with the error number.
#[must_use]
pub fn helper(mount_point: &Path) -> ExitCode {
    match rustix::fs::statfs(mount_point) {
        Ok(_) => ExitCode::SUCCESS,
        Err(errno) => u8::try_from(errno.raw_os_error()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}
