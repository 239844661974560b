//! The checks that need AWS: instance metadata, credentials, the clock and permissions.

use std::io::{self, Write};
use std::time::Duration;

use aws_config::SdkConfig;
use jiff::SignedDuration;
use mc_idle::check::CheckContext;
use mc_idle::check::finding::{Check, Finding};
use mc_idle::check::printer::Printer;
use mc_idle::cloud::metadata::Identity;
use mc_idle::config::Settings;
use mc_idle::host::Host;
use mc_idle::host::mounts::efs;
use mc_idle::host::mounts::probe::ProbeResults;
use mc_idle::report::heartbeat::{Report, Store, Writer, report};
use mc_idle::report::sentence::in_words;
use tokio::time;

use crate::ec2::{Ec2, Elsewhere};
use crate::imds;
use crate::sdk_config;
use crate::ssm::Parameters;

/// Attempts to read instance metadata before the check fails.
const IDENTITY_TRIES: u32 = 3;
/// Below this, a difference may come from whole seconds in `date` and the network's delay.
const SKEW_UNIMPORTANT: Duration = Duration::from_secs(5);
/// AWS refuses requests that are five minutes off or more (SigV4).
const SKEW_TOO_MUCH: Duration = Duration::from_mins(4);

/// Runs the checks that need AWS, and prints their findings.
///
/// # Errors
/// A finding cannot be written.
pub async fn run(subject: &mut CheckContext<'_, impl Host>, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let identity = match identify(subject.settings).await {
        Ok(identity) => identity,
        Err(trouble) => {
            printer.tell(Finding::failed(Check::Metadata, trouble))?;
            return skip(printer, &AFTER_METADATA, "the instance could not be identified");
        }
    };
    printer.tell(Finding::ok(Check::Metadata, format!("{} in {}", identity.instance_id, identity.region)))?;
    let (config, connector) = sdk_config::load(&identity.region);
    let ec2 = Ec2::new(&config, connector, &identity);
    match ec2.credentials().await {
        Err(stop_error) => {
            printer.tell(Finding::failed(Check::Credentials, stop_error.text))?;
            skip(printer, &AFTER_METADATA[1..], "no credentials")
        }
        Ok(credentials) => {
            let text = format!("access key {}", credentials.access_key_id());
            printer.tell(Finding::ok(Check::Credentials, text))?;
            permissions(&ec2, subject.settings, printer).await?;
            printer.tell(heartbeat(subject, &config, &identity).await)
        }
    }
}

const AFTER_METADATA: [Check; 5] =
    [Check::Credentials, Check::Clock, Check::Permission, Check::OtherInstances, Check::Heartbeat];

fn skip(printer: &mut Printer<impl Write>, checks: &[Check], why: &str) -> io::Result<()> {
    checks.iter().try_for_each(|check| printer.tell(Finding::not_run(*check, why)))
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

async fn permissions(ec2: &Ec2, settings: &Settings, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let mut permission = ask(ec2, settings).await;
    let skew = ec2.clock_ahead();
    if permission.is_err() && skew.is_some_and(|skew| skew.unsigned_abs() >= SKEW_TOO_MUCH) {
        // The clock may be the only reason. The SDK corrects for AWS's time once it has seen it, so ask again.
        permission = ask(ec2, settings).await;
    }
    printer.tell(clock(skew))?;
    let may = permission.is_ok();
    printer.tell(Finding::of(Check::Permission, permission))?;
    if !may {
        return skip(printer, &[Check::OtherInstances], "the permission check on this instance failed");
    }
    let (verb, permission) = (settings.action.verb(), settings.action.permission());
    let elsewhere = match ec2.credentials().await {
        Ok(credentials) => ec2.dry_run_on_another(settings.action, credentials).await,
        Err(stop_error) => Elsewhere::Open(stop_error.text),
    };
    printer.tell(match elsewhere {
        Elsewhere::Refused => Finding::ok(Check::OtherInstances, format!("{permission} on them is refused")),
        Elsewhere::Allowed => Finding::failed(
            Check::OtherInstances,
            format!(
                "the role of this instance may {verb} them too; limit {permission} to the instance itself with the \
                 condition key ec2:SourceInstanceARN"
            ),
        ),
        Elsewhere::Open(why) => {
            Finding::note(Check::OtherInstances, format!("cannot tell whether {permission} on them is refused: {why}"))
        }
    })
}

async fn ask(ec2: &Ec2, settings: &Settings) -> Result<String, String> {
    let asked = async {
        let credentials = ec2.credentials().await?;
        ec2.dry_run(settings.action, credentials).await
    };
    let granted = |()| format!("{} is allowed on this instance", settings.action.permission());
    asked.await.map(granted).map_err(|stop_error| stop_error.text)
}

fn clock(ahead: Option<SignedDuration>) -> Finding {
    const ADVICE: &str = "synchronise it with the Amazon Time Sync Service (169.254.169.123)";
    let Some(ahead) = ahead else {
        return Finding::not_run(Check::Clock, "EC2's time is unknown");
    };
    let (amount, side) = (ahead.unsigned_abs(), if ahead.is_positive() { "behind" } else { "ahead of" });
    let difference = format!("{} {side} AWS", in_words(amount));
    if amount < SKEW_UNIMPORTANT {
        Finding::ok(Check::Clock, "in sync with AWS")
    } else if amount < SKEW_TOO_MUCH {
        let what = "which shifts the times in heartbeats and the end of a remote hold";
        Finding::note(Check::Clock, format!("{difference}, {what}; {ADVICE}"))
    } else {
        let what = "which refuses requests that are 5 min off or more";
        Finding::failed(Check::Clock, format!("{difference}, {what}; {ADVICE}"))
    }
}

/// Writes a heartbeat, which a running agent replaces with its next one.
async fn heartbeat(subject: &mut CheckContext<'_, impl Host>, config: &SdkConfig, identity: &Identity) -> Finding {
    let Some(parameter) = &subject.settings.heartbeat.parameter else {
        return Finding::ok(Check::Heartbeat, "no heartbeat is configured");
    };
    let mount_point = &subject.settings.efs.mount_point;
    let mounts = efs::judge(subject.host.mounts(mount_point).watched, &ProbeResults::new(), mount_point);
    let efs = efs::worst(mounts.iter().map(|mount| mount.state));
    let author = Writer { instance_id: identity.instance_id.clone(), boot_id: subject.boot_id.clone() };
    let report = Report::starting(report::efs(efs), "Test heartbeat of mc-idle check.".to_owned());
    let next_by = subject.wall.checked_add(subject.settings.heartbeat.interval).unwrap_or(subject.wall);
    let text = report.heartbeat(&author, subject.wall, next_by).text();
    let name = parameter.of(&identity.instance_id);
    let written = Parameters::new(config).put(name.clone(), text).await;
    Finding::of(Check::Heartbeat, written.map(|()| format!("wrote {name}")).map_err(|error| error.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mc_idle::check::finding::CheckResult;

    #[test]
    fn a_clock_is_judged_by_its_distance_on_either_side() {
        let judged = |seconds| clock(Some(SignedDuration::from_secs(seconds)));
        for (seconds, outcome, text) in [
            (0, CheckResult::Ok, "in sync"),
            (4, CheckResult::Ok, "in sync"),
            (-4, CheckResult::Ok, "in sync"),
            (5, CheckResult::Note, "5 s behind AWS, "),
            (-239, CheckResult::Note, "4 min ahead of AWS, "),
            (240, CheckResult::Failed, "4 min behind AWS, "),
            (-86_400, CheckResult::Failed, "24 h ahead of AWS, "),
        ] {
            let finding = judged(seconds);
            assert!(finding.outcome == outcome && finding.text.starts_with(text), "{seconds}: {finding}");
        }
        assert_eq!(clock(None).outcome, CheckResult::NotRun);
    }
}
