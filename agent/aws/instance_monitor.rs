//! AWS as the agent's cloud; and a task that finds out which instance this is, where it runs, and whether it may be
//! stopped.

use std::time::Duration;

use aws_credential_types::Credentials;
use mc_aws::connection::Connection;
use mc_idle::cloud::metadata::StopCaveat;
use mc_idle::cloud::{Cloud, CloudEvent, StopAction};
use mc_idle::config::settings::{AwsSettings, HoldSettings};
use mc_idle::holds::HoldSources;
use mc_idle::jitter::jitter;
use mc_idle::report::heartbeat::Writer;
use mc_idle::report::heartbeat::writer::Link;
use mc_idle_rule::rule::StopError;
use mc_idle_rule::{StopPermit, backoff};
use tokio::sync::{mpsc, watch};
use tokio::time;

use super::ec2::{Ec2, Elsewhere};
use super::ssm::Parameters;
use super::{imds, placement, remote_hold, sdk_config, stop_error};

/// Time limit for getting the credentials for a stop.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// Time limit for preparing the connection for a stop: EC2's answer to a dry run, and perhaps a second connection.
const CONNECTION: Duration = Duration::from_secs(15);
/// The shortest and the longest wait between attempts to read instance metadata.
const IDENTITY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Everything a request would otherwise have to wait for.
#[derive(Debug)]
pub struct Provision {
    credentials: Credentials,
    connection: Connection,
}

/// AWS, usable once it is known which instance this is.
#[derive(Debug, Clone)]
pub struct Aws {
    ec2: watch::Receiver<Option<Ec2>>,
}

impl Cloud for Aws {
    type Provision = Provision;

    async fn prepare(&self, action: StopAction) -> Result<Provision, StopError> {
        let ec2 = self.ec2.borrow().clone();
        let Some(ec2) = ec2 else {
            let text = "instance metadata has not identified this instance yet".to_owned();
            return Err(StopError { permanent: false, text });
        };
        let credentials = time::timeout(CREDENTIALS, ec2.credentials())
            .await
            .unwrap_or_else(|_| Err(stop_error::no_credentials("their provider did not answer")))?;
        let connection = time::timeout(CONNECTION, ec2.prepare(action, credentials.clone()))
            .await
            .unwrap_or_else(|_| Err(stop_error::no_answer("timed out")))?;
        Ok(Provision { credentials, connection })
    }

    async fn request(&self, leave: StopPermit, action: StopAction, provision: Provision) -> Result<(), StopError> {
        let ec2 = self.ec2.borrow().clone();
        let Provision { credentials, connection } = provision;
        match ec2 {
            Some(ec2) => ec2.request(leave, action, credentials, connection).await,
            // Not reachable: a request has been prepared, and an identity once found is never lost.
            None => Err(stop_error::no_answer("the instance id is unknown")),
        }
    }
}

/// Finds out which instance this is, retrying forever, then whether the action would be allowed.
#[derive(Debug)]
pub struct InstanceMonitor {
    settings: AwsSettings,
    boot_id: String,
    ec2: watch::Sender<Option<Ec2>>,
    link: watch::Sender<Option<Link<Parameters>>>,
}

impl InstanceMonitor {
    /// The monitor, the cloud that it makes usable, and the link that heartbeats need.
    #[must_use]
    pub fn new(settings: AwsSettings, boot_id: String) -> (Self, Aws, watch::Receiver<Option<Link<Parameters>>>) {
        let (ec2, ec2_receiver) = watch::channel(None);
        let (link, link_receiver) = watch::channel(None);
        (InstanceMonitor { settings, boot_id, ec2, link }, Aws { ec2: ec2_receiver }, link_receiver)
    }

    /// Runs until the receiver of `news` is dropped. `action` is the action to check the permission for; `hold` names
    /// the parameter of a remote hold, whose value goes to `sources`.
    pub async fn run(
        self,
        action: watch::Receiver<StopAction>,
        hold: watch::Receiver<HoldSettings>,
        sources: HoldSources,
        news: mpsc::UnboundedSender<CloudEvent>,
    ) {
        let mut failures = 0;
        let identity = loop {
            match imds::identity(&self.settings).await {
                Ok(identity) => break identity,
                Err(error) => {
                    failures += 1;
                    if news.send(CloudEvent::Identity(Err(error.in_words()))).is_err() {
                        return;
                    }
                    let (shortest, longest) = IDENTITY_WAIT;
                    time::sleep(backoff::wait_between(shortest, longest, failures, jitter())).await;
                }
            }
        };
        let (config, connector) = sdk_config::load(&identity.region);
        let ec2 = Ec2::new(&config, connector, &identity);
        let instance_id = identity.instance_id.clone();
        let author = Writer { instance_id: identity.instance_id.clone(), boot_id: self.boot_id };
        self.ec2.send_replace(Some(ec2.clone()));
        self.link.send_replace(Some(Link { store: Parameters::new(&config), author }));
        if news.send(CloudEvent::Identity(Ok(identity))).is_err() {
            return;
        }
        let off_ec2 = imds::is_off_ec2(&self.settings);
        let place = async {
            if !off_ec2 {
                placement::watch(news.clone()).await;
            }
        };
        let remote = remote_hold::watch(Parameters::new(&config), instance_id, hold, sources);
        tokio::join!(place, remote, watch_permission(&ec2, action, &news));
    }
}

/// Checks the permission at once and whenever the action changes, until the receiver of `news` is dropped. A pending
/// check or retry for the previous action is dropped.
async fn watch_permission(
    ec2: &Ec2,
    mut action: watch::Receiver<StopAction>,
    news: &mpsc::UnboundedSender<CloudEvent>,
) {
    loop {
        let wanted = *action.borrow_and_update();
        let answered = async {
            ask_permission(ec2, wanted, news).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = answered => {}
            changed = action.changed() => if changed.is_err() { return },
        }
    }
}

async fn ask_permission(ec2: &Ec2, action: StopAction, news: &mpsc::UnboundedSender<CloudEvent>) {
    let mut failures = 0;
    loop {
        let credentials = time::timeout(CREDENTIALS, ec2.credentials())
            .await
            .unwrap_or_else(|_| Err(stop_error::no_credentials("their provider did not answer")));
        let (answer, others) = match credentials {
            Ok(credentials) => match ec2.dry_run(action, credentials.clone()).await {
                Ok(()) => (Ok(()), ec2.dry_run_on_another(action, credentials).await == Elsewhere::Allowed),
                refused => (refused, false),
            },
            Err(stop_error) => (Err(stop_error), false),
        };
        let wait = match &answer {
            Ok(()) => None,
            Err(StopError { permanent: true, .. }) => Some(backoff::LONGEST),
            Err(_) => {
                failures += 1;
                Some(backoff::wait(failures, jitter()))
            }
        };
        let unheard = news.send(CloudEvent::Permission(answer)).is_err();
        if others {
            // Fails only together with the send above.
            let _ = news.send(CloudEvent::StopCaveat(StopCaveat::MayStopOthers));
        }
        match wait {
            Some(wait) if !unheard => time::sleep(wait).await,
            _ => return,
        }
    }
}
