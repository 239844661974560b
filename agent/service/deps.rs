//! What the service works with: its access to the outside, the tasks that it hands work to, and what comes back from
//! them.

use std::time::Duration;

use mc_idle_rule::{ListenerId, Memory, Moment};
use tokio::sync::{mpsc, watch};

use crate::ask::{AskOutcome, Asker};
use crate::clock::Clock;
use crate::cloud::{CloudEvent, StopAction};
use crate::config::settings::HoldSettings;
use crate::config::{ConfigError, Settings};
use crate::holds::KnownHolds;
use crate::host::mounts::probe::{ProbeResults, ProbeTarget};
use crate::journal::Journal;
use crate::report::heartbeat::{HeartbeatHandle, PutError};
use crate::report::metrics::textfile::Textfile;
use crate::signals::Signal;
use crate::state::runtime_files::RuntimeFiles;

/// Everything outside the service.
pub struct Deps<H, S> {
    pub host: H,
    pub supervisor: S,
    pub journal: Journal,
    pub clock: Clock,
    /// How long the machine has been suspended since boot.
    pub slept: fn() -> Duration,
    /// What an earlier agent knew.
    pub memory: Option<Memory>,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The holds in force, and what is not known about them.
    pub holds: Box<dyn Fn(Moment) -> KnownHolds + Send>,
    pub load: Box<dyn Fn() -> Result<Settings, ConfigError> + Send>,
    /// Nothing is requested from AWS.
    pub dry_run: bool,
    pub tasks: Tasks,
    pub inputs: Inputs,
}

/// Work done outside the service's loop, so that it waits for nothing.
pub struct Tasks {
    pub asker: Asker<ListenerId>,
    pub heartbeat: HeartbeatHandle,
    /// Writes what the next agent has to know, and the status for `mc-idle status`.
    pub runtime_files: RuntimeFiles,
    pub metrics: Textfile,
    /// For the tasks that ask the sources of holds.
    pub hold: watch::Sender<HoldSettings>,
    /// For the task that checks the permission.
    pub action: watch::Sender<StopAction>,
    /// For the task that probes the mounts.
    pub targets: watch::Sender<Vec<ProbeTarget>>,
}

impl Tasks {
    /// Applies `settings` to all tasks. What they do not change goes on as before.
    pub fn reload(&self, settings: &Settings) {
        self.heartbeat.set(&settings.heartbeat);
        renew(&self.action, &settings.action);
        renew(&self.hold, &settings.hold);
    }
}

/// Sends `value`, unless it is what was sent last.
pub fn renew<T: Clone + PartialEq>(sender: &watch::Sender<T>, value: &T) {
    sender.send_if_modified(|current| {
        let changed = current != value;
        if changed {
            current.clone_from(value);
        }
        changed
    });
}

/// What the service listens to.
pub struct Inputs {
    pub answers: mpsc::UnboundedReceiver<AskOutcome<ListenerId>>,
    pub cloud: mpsc::UnboundedReceiver<CloudEvent>,
    /// Whether heartbeats could be written.
    pub health: mpsc::UnboundedReceiver<Result<(), PutError>>,
    pub probe_results: watch::Receiver<ProbeResults>,
    pub signals: mpsc::Receiver<Signal>,
}
