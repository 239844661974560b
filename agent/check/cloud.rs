//! What AWS says: which instance this is, whether it may do what it will have to, and what time it is.

use std::io::{self, Write};
use std::time::Duration;

use aws_config::SdkConfig;
use jiff::SignedDuration;
use tokio::time;

use super::Subject;
use super::finding::{Check, Finding};
use super::teller::Teller;
use crate::aws::ec2::{Ec2, Elsewhere};
use crate::aws::{clients, imds, ssm::Parameters};
use crate::config::Settings;
use crate::heartbeat::record::{self, Author};
use crate::heartbeat::{Report, Store};
use crate::host::Host;
use crate::host::mountinfo::Mount;
use crate::idle::Efs;
use crate::metadata::Identity;
use crate::sentence::in_words;

/// How often instance metadata is asked before it counts as silent.
const IDENTITY_TRIES: u32 = 3;
/// A difference that comes from whole seconds and the way of the answer.
const SKEW_UNIMPORTANT: Duration = Duration::from_secs(5);
/// From five minutes on AWS refuses requests (SigV4).
const SKEW_TOO_MUCH: Duration = Duration::from_mins(4);

/// Tells everything that AWS has to say.
///
/// # Errors
/// A finding cannot be told.
pub async fn run(subject: &mut Subject<'_, impl Host>, teller: &mut Teller<impl Write>) -> io::Result<()> {
    let identity = match identify(subject.settings).await {
        Ok(identity) => identity,
        Err(trouble) => {
            teller.tell(Finding::failed(Check::Metadata, trouble))?;
            return skip(teller, &AFTER_METADATA, "it is not known which instance this is");
        }
    };
    teller.tell(Finding::ok(Check::Metadata, format!("{} in {}", identity.instance_id, identity.region)))?;
    let config = clients::configure(&identity).await;
    let ec2 = Ec2::new(&config, &identity);
    match ec2.credentials().await {
        Err(refusal) => {
            teller.tell(Finding::failed(Check::Credentials, refusal.text))?;
            skip(teller, &AFTER_METADATA[1..], "there are no credentials")
        }
        Ok(credentials) => {
            let text = format!("access key {}", credentials.access_key_id());
            teller.tell(Finding::ok(Check::Credentials, text))?;
            permissions(&ec2, subject.settings, teller).await?;
            teller.tell(heartbeat(subject, &config, &identity).await)
        }
    }
}

const AFTER_METADATA: [Check; 5] =
    [Check::Credentials, Check::Clock, Check::Permission, Check::OtherInstances, Check::Heartbeat];

fn skip(teller: &mut Teller<impl Write>, checks: &[Check], why: &str) -> io::Result<()> {
    checks.iter().try_for_each(|check| teller.tell(Finding::not_run(*check, why)))
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

async fn permissions(ec2: &Ec2, settings: &Settings, teller: &mut Teller<impl Write>) -> io::Result<()> {
    let mut permission = ask(ec2, settings).await;
    let skew = ec2.clock_ahead();
    if permission.is_err() && skew.is_some_and(|skew| skew.unsigned_abs() >= SKEW_TOO_MUCH) {
        // Refused for that alone, perhaps: the SDK has learned AWS's time now.
        permission = ask(ec2, settings).await;
    }
    teller.tell(clock(skew))?;
    let may = permission.is_ok();
    teller.tell(Finding::of(Check::Permission, permission))?;
    if !may {
        return skip(teller, &[Check::OtherInstances], "not even the own one may be asked for");
    }
    let (verb, permission) = (settings.action.verb(), settings.action.permission());
    let elsewhere = match ec2.credentials().await {
        Ok(credentials) => ec2.dry_run_on_another(settings.action, credentials).await,
        Err(refusal) => Elsewhere::Open(refusal.text),
    };
    teller.tell(match elsewhere {
        Elsewhere::Refused => Finding::ok(Check::OtherInstances, format!("{permission} is refused on them")),
        Elsewhere::Allowed => Finding::failed(
            Check::OtherInstances,
            format!(
                "the role of this instance may {verb} them too: limit {permission} to the instance itself, by the \
                 condition ec2:SourceInstanceARN"
            ),
        ),
        Elsewhere::Open(why) => {
            Finding::note(Check::OtherInstances, format!("whether {permission} is refused on them stays open: {why}"))
        }
    })
}

async fn ask(ec2: &Ec2, settings: &Settings) -> Result<String, String> {
    let asked = async {
        let credentials = ec2.credentials().await?;
        ec2.dry_run(settings.action, credentials).await
    };
    let granted = |()| format!("{} is allowed on this instance", settings.action.permission());
    asked.await.map(granted).map_err(|refusal| refusal.text)
}

fn clock(ahead: Option<SignedDuration>) -> Finding {
    const ADVICE: &str = "synchronise it with the Amazon Time Sync Service, 169.254.169.123";
    let Some(ahead) = ahead else {
        return Finding::not_run(Check::Clock, "EC2 has not told its time");
    };
    let (amount, side) = (ahead.unsigned_abs(), if ahead.is_positive() { "behind" } else { "ahead of" });
    let difference = format!("{} {side} AWS's", in_words(amount));
    if amount < SKEW_UNIMPORTANT {
        Finding::ok(Check::Clock, "agrees with AWS's")
    } else if amount < SKEW_TOO_MUCH {
        let what = "and with it the times in heartbeats and the end of a remote hold";
        Finding::note(Check::Clock, format!("{difference}, {what}; {ADVICE}"))
    } else {
        Finding::failed(Check::Clock, format!("{difference}, which refuses requests from 5 min on; {ADVICE}"))
    }
}

/// Writes one. A running agent writes over it at its next heartbeat.
async fn heartbeat(subject: &mut Subject<'_, impl Host>, config: &SdkConfig, identity: &Identity) -> Finding {
    let Some(parameter) = &subject.settings.heartbeat.parameter else {
        return Finding::ok(Check::Heartbeat, "no heartbeat is configured");
    };
    let efs = match subject.settings.efs().map(|efs| subject.host.mount(efs)) {
        None => Efs::Off,
        Some(Mount::Nfs { .. }) => Efs::Mounted,
        Some(Mount::Missing(_)) => Efs::Missing,
    };
    let author = Author { instance_id: identity.instance_id.clone(), boot_id: subject.boot_id.clone() };
    let report = Report::starting(efs.word(), "mc-idle check tries to write a heartbeat.".to_owned());
    let next_by = subject.wall.checked_add(subject.settings.heartbeat.interval).unwrap_or(subject.wall);
    let text = record::text(&report, &author, subject.wall, next_by);
    let name = parameter.of(&identity.instance_id);
    let written = Parameters::new(config).put(name.clone(), text).await;
    Finding::of(Check::Heartbeat, written.map(|()| format!("{name} was written")).map_err(|error| error.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Outcome;

    #[test]
    fn a_clock_is_judged_by_its_distance_on_either_side() {
        let judged = |seconds| clock(Some(SignedDuration::from_secs(seconds)));
        for (seconds, outcome, text) in [
            (0, Outcome::Ok, "agrees"),
            (4, Outcome::Ok, "agrees"),
            (-4, Outcome::Ok, "agrees"),
            (5, Outcome::Note, "5 s behind AWS's"),
            (-239, Outcome::Note, "4 min ahead of AWS's"),
            (240, Outcome::Failed, "4 min behind AWS's"),
            (-86_400, Outcome::Failed, "24 h ahead of AWS's"),
        ] {
            let finding = judged(seconds);
            assert!(finding.outcome == outcome && finding.text.starts_with(text), "{seconds}: {finding}");
        }
        assert_eq!(clock(None).outcome, Outcome::NotRun);
    }
}
