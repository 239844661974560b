//! `mc-idle check`: does everything work that a stop needs? One finding per check.
//!
//! * [`environment`]: the service's settings for AWS, which the checks use.
//! * [`finding`]: findings, as lines and as JSON.
//! * [`printer`]: prints findings.
//! * [`host`]: the checks on the host.
//! * [`mounts`]: what is on EFS, and whether it answers.
//! * [`sight`]: the server, the networks, the second witness, and the server's answer.
//! * [`properties`]: the port in the server's own configuration.
//! * [`system`]: the service and the power button.
//!
//! Every wait has a time limit: AWS, EFS, systemd and logind may all hang.

pub mod environment;
pub mod finding;
pub mod host;
pub mod mounts;
pub mod printer;
pub mod properties;
pub mod sight;
pub mod system;

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::config::Settings;
use crate::host::Host;
use printer::Printer;

/// What the checks work with.
#[derive(Debug)]
pub struct CheckContext<'a, H> {
    pub settings: &'a Settings,
    pub host: &'a mut H,
    /// The host's `/proc`.
    pub proc: &'a Path,
    /// This program, started as the helper process that may hang.
    pub helper: &'a Path,
    pub boot_id: String,
    /// Monotonic, for ages.
    pub clock: Clock,
    /// Wall-clock time, for the test heartbeat.
    pub wall: Timestamp,
}

/// Runs the checks on the host and prints each finding. The caller checks the configuration, and the crate of the cloud
/// checks the cloud.
///
/// # Errors
/// A finding cannot be written.
pub async fn run(mut subject: CheckContext<'_, impl Host>, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let containers = subject.settings.scope.containers;
    host::run(&mut subject, printer).await?;
    system::run(containers, printer).await
}
