//! `mc-idle check`: does everything that a stop needs work? One finding for each thing that is checked.
//!
//! * [`finding`]: what a finding is, as a line and in JSON.
//! * [`teller`]: how findings are told.
//! * [`cloud`]: instance metadata, credentials, clock, permissions.
//! * [`host`]: EFS, the server and where it runs.
//! * [`properties`]: the port that the server's own configuration names.
//! * [`system`]: the service and the power button.
//!
//! Nothing waits without end: AWS, EFS, systemd and logind may all hang.

pub mod cloud;
pub mod finding;
pub mod host;
pub mod properties;
pub mod system;
pub mod teller;

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use crate::config::Settings;
use crate::host::Host;
use teller::Teller;

/// What is checked.
#[derive(Debug)]
pub struct Subject<'a, H> {
    /// The settings.
    pub settings: &'a Settings,
    /// The host as the agent sees it.
    pub host: &'a mut H,
    /// Its folder `/proc`.
    pub proc: &'a Path,
    /// The own program, which also is the helper that may hang in this one's place.
    pub helper: &'a Path,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The time, for the heartbeat that is written.
    pub wall: Timestamp,
}

/// Checks one thing after the other and tells of each. The configuration is checked by whoever has read it.
///
/// # Errors
/// A finding cannot be told.
pub async fn run(mut subject: Subject<'_, impl Host>, teller: &mut Teller<impl Write>) -> io::Result<()> {
    cloud::run(&mut subject, teller).await?;
    host::run(&mut subject, teller).await?;
    system::run(teller).await
}
