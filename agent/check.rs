//! `mc-idle check`: does everything that a stop needs work? One line each.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time;

use crate::aws::ec2::Ec2;
use crate::aws::{clients, imds, ssm::Parameters};
use crate::config::Settings;
use crate::config::settings::EfsSettings;
use crate::heartbeat::record::{self, Author};
use crate::heartbeat::{Report, Store};
use crate::host::Host;
use crate::host::mountinfo::Mount;
use crate::host::probe;
use crate::idle::{Efs, Reading, Seen};
use crate::metadata::Identity;

/// How often instance metadata is asked before it counts as silent.
const IDENTITY_TRIES: u32 = 3;

/// Checks one thing after the other and writes a line for each.
///
/// Returns whether all is well.
///
/// # Errors
/// A line cannot be written.
pub async fn run(
    settings: &Settings,
    host: &mut impl Host,
    helper: &Path,
    boot_id: String,
    wall: Timestamp,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut report = Lines { out, well: true };
    match identify(settings).await {
        Err(trouble) => {
            report.line("instance metadata", Err(trouble))?;
            report.skipped(&["credentials", "permission to stop", "permission to write the heartbeat"])?;
        }
        Ok(identity) => {
            report.line("instance metadata", Ok(format!("{} in {}", identity.instance_id, identity.region)))?;
            let efs = match settings.efs().map(|efs| host.mount(efs)) {
                None => Efs::Off,
                Some(Mount::Nfs { .. }) => Efs::Mounted,
                Some(Mount::Missing(_)) => Efs::Missing,
            };
            let author = Author { instance_id: identity.instance_id.clone(), boot_id };
            let heartbeat = Report::starting(efs.word(), "mc-idle check tries to write a heartbeat.".to_owned());
            let next_by = wall.checked_add(settings.heartbeat.interval).unwrap_or(wall);
            let heartbeat = record::text(&heartbeat, &author, wall, next_by);
            check_aws(settings, &identity, heartbeat, &mut report).await?;
        }
    }
    let efs = match settings.efs() {
        None => Ok("nothing is on EFS".to_owned()),
        Some(efs) => check_efs(efs, host, helper).await,
    };
    report.line("EFS", efs)?;
    let ports = settings.scope.in_words();
    let listener = match host.sample(&settings.scope).reading {
        Reading::Unknown(why) => Err(why),
        Reading::Seen(seen) if seen.listener => Ok(format!("a server listens on {ports}; {}", connected(&seen))),
        Reading::Seen(_) => Err(format!("nothing listens on {ports}; start the server, or set minecraft.ports")),
    };
    report.line("listener", listener)?;
    Ok(report.well)
}

/// Whoever may run this on the host may also see the addresses.
fn connected(seen: &Seen) -> String {
    let peers: BTreeSet<String> = seen.sockets.iter().map(|socket| socket.peer.to_string()).collect();
    if peers.is_empty() {
        return "nobody is connected".to_owned();
    }
    format!("connected: {}", peers.into_iter().collect::<Vec<_>>().join(", "))
}

async fn identify(settings: &Settings) -> Result<Identity, String> {
    let mut last = String::new();
    for _ in 0..IDENTITY_TRIES {
        match imds::identity(&settings.aws).await {
            Ok(identity) => return Ok(identity),
            Err(error) => last = error.in_words(),
        }
        time::sleep(Duration::from_secs(1)).await;
    }
    Err(format!("{last}; off EC2, set aws.region and aws.instance_id"))
}

async fn check_aws(
    settings: &Settings,
    identity: &Identity,
    heartbeat: String,
    report: &mut Lines<'_, impl Write>,
) -> io::Result<()> {
    let config = clients::configure(identity).await;
    let ec2 = Ec2::new(&config, identity);
    match ec2.credentials().await {
        Err(refusal) => {
            report.line("credentials", Err(refusal.text))?;
            return report.skipped(&["permission to stop", "permission to write the heartbeat"]);
        }
        Ok(credentials) => {
            report.line("credentials", Ok(format!("access key {}", credentials.access_key_id())))?;
            let permission = ec2.dry_run(settings.action, credentials).await;
            let granted = |()| format!("{} is allowed on this instance", settings.action.permission());
            report.line("permission to stop", permission.map(granted).map_err(|refusal| refusal.text))?;
        }
    }
    let Some(parameter) = &settings.heartbeat.parameter else {
        return report.line("permission to write the heartbeat", Ok("no heartbeat is configured".to_owned()));
    };
    let name = parameter.of(&identity.instance_id);
    // A running agent writes over this at its next heartbeat.
    let written = Parameters::new(&config).put(name.clone(), heartbeat).await;
    let written = written.map(|()| format!("{name} was written")).map_err(|error| error.text);
    report.line("permission to write the heartbeat", written)
}

async fn check_efs(efs: &EfsSettings, host: &mut impl Host, helper: &Path) -> Result<String, String> {
    let mount_point = efs.mount_point.display();
    if let Mount::Missing(why) = host.mount(efs) {
        return Err(format!("{why}; mount it, or set efs.mount_point"));
    }
    match probe::ask(helper, &efs.mount_point, efs.probe).await {
        Ok(()) => Ok(format!("mounted at {mount_point}, and answers")),
        Err(why) => Err(format!("mounted at {mount_point}, but {why}")),
    }
}

struct Lines<'a, W> {
    out: &'a mut W,
    well: bool,
}

impl<W: Write> Lines<'_, W> {
    fn line(&mut self, name: &str, result: Result<String, String>) -> io::Result<()> {
        self.well &= result.is_ok();
        match result {
            Ok(text) => writeln!(self.out, "ok      {name}: {text}"),
            Err(text) => writeln!(self.out, "FAILED  {name}: {text}"),
        }
    }

    fn skipped(&mut self, names: &[&str]) -> io::Result<()> {
        names.iter().try_for_each(|name| writeln!(self.out, "not run {name}"))
    }
}
