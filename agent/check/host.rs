//! Checks on the host: EFS, and what the agent sees of a server.

use std::io::{self, Write};

use mc_idle_rule::Efs;

use crate::check::printer::Printer;
use crate::check::{CheckContext, mounts, properties, sight};
use crate::host::Host;

/// Runs the checks on the host and prints their findings.
///
/// # Errors
/// A finding cannot be written.
pub async fn run(subject: &mut CheckContext<'_, impl Host>, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let mount_point = &subject.settings.efs.mount_point;
    let mounts = subject.host.mounts(mount_point);
    let judged = mounts::ask(&mounts.watched, subject).await;
    printer.tell(mounts::weigh(&judged, &mounts.later, mount_point))?;
    // One helper searches all folders, so a single hung mount would block it.
    let folders =
        if judged.iter().all(|mount| mount.state == Efs::Mounted) { mounts::folders(&judged) } else { Vec::new() };

    let listens = sight::run(subject, printer).await?;
    printer.tell(properties::check(subject, &folders, listens).await)
}
