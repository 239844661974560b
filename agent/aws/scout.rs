//! AWS as the agent's cloud, and finding out which instance this is, what may be done with it and where it runs.

use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::sync::{mpsc, watch};
use tokio::time;

use super::ec2::{Ec2, Elsewhere};
use super::ssm::Parameters;
use super::{clients, imds, place, refusal, remote_hold};
use crate::cloud::{Cloud, News};
use crate::config::settings::{AwsSettings, HoldSettings, StopAction};
use crate::heartbeat::record::Author;
use crate::heartbeat::writer::Link;
use crate::hold::RemoteKnown;
use crate::idle::Clearance;
use crate::idle::backoff;
use crate::idle::rule::Refusal;
use crate::jitter::jitter;
use crate::metadata::Caution;

/// How long credentials for a stop may take.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// How long the connection for a stop may take to come up; without it the request makes its own.
const CONNECTION: Duration = Duration::from_secs(3);
/// The limits of the wait before instance metadata is asked again.
const IDENTITY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// AWS, as soon as it is known which instance this is.
#[derive(Debug, Clone)]
pub struct Aws {
    ec2: watch::Receiver<Option<Ec2>>,
}

impl Cloud for Aws {
    type Provision = Credentials;

    async fn prepare(&self, action: StopAction) -> Result<Credentials, Refusal> {
        let ec2 = self.ec2.borrow().clone();
        let Some(ec2) = ec2 else {
            let text = "instance metadata has not told which instance this is".to_owned();
            return Err(Refusal { lasting: false, text });
        };
        let credentials = time::timeout(CREDENTIALS, ec2.credentials())
            .await
            .unwrap_or_else(|_| Err(refusal::no_credentials("their source does not answer")))?;
        // Only for the connection that it leaves open: what EC2 says of the action itself is asked again for real.
        let _ = time::timeout(CONNECTION, ec2.dry_run(action, credentials.clone())).await;
        Ok(credentials)
    }

    async fn request(&self, leave: Clearance, action: StopAction, credentials: Credentials) -> Result<(), Refusal> {
        let ec2 = self.ec2.borrow().clone();
        match ec2 {
            Some(ec2) => ec2.request(leave, action, credentials).await,
            // An identity once found is never lost.
            None => Err(refusal::no_answer("no instance is known")),
        }
    }
}

/// Finds out which instance this is, asking for ever, then whether the action would be allowed.
#[derive(Debug)]
pub struct Scout {
    settings: AwsSettings,
    boot_id: String,
    ec2: watch::Sender<Option<Ec2>>,
    link: watch::Sender<Option<Link<Parameters>>>,
}

impl Scout {
    /// The scout, the cloud that it opens, and the link that heartbeats need.
    #[must_use]
    pub fn new(settings: AwsSettings, boot_id: String) -> (Self, Aws, watch::Receiver<Option<Link<Parameters>>>) {
        let (ec2, ec2_receiver) = watch::channel(None);
        let (link, link_receiver) = watch::channel(None);
        (Scout { settings, boot_id, ec2, link }, Aws { ec2: ec2_receiver }, link_receiver)
    }

    /// Works until nobody listens to `news` any more. `action` is what permission is asked for.
    /// `hold` names the parameter of a remote hold, and `remote` is told what it says.
    pub async fn run(
        self,
        action: watch::Receiver<StopAction>,
        hold: watch::Receiver<HoldSettings>,
        remote: watch::Sender<RemoteKnown>,
        news: mpsc::UnboundedSender<News>,
    ) {
        let mut failures = 0;
        let identity = loop {
            match imds::identity(&self.settings).await {
                Ok(identity) => break identity,
                Err(error) => {
                    failures += 1;
                    if news.send(News::Identity(Err(error.in_words()))).is_err() {
                        return;
                    }
                    let (shortest, longest) = IDENTITY_WAIT;
                    time::sleep(backoff::wait_between(shortest, longest, failures, jitter())).await;
                }
            }
        };
        let config = clients::configure(&identity).await;
        let ec2 = Ec2::new(&config, &identity);
        let instance_id = identity.instance_id.clone();
        let author = Author { instance_id: identity.instance_id.clone(), boot_id: self.boot_id };
        self.ec2.send_replace(Some(ec2.clone()));
        self.link.send_replace(Some(Link { store: Parameters::new(&config), author }));
        if news.send(News::Identity(Ok(identity))).is_err() {
            return;
        }
        let off_ec2 = self.settings.instance_id.is_some() && self.settings.region.is_some();
        let place = async {
            if !off_ec2 {
                place::watch(news.clone()).await;
            }
        };
        let remote = remote_hold::watch(Parameters::new(&config), instance_id, hold, remote);
        tokio::join!(place, remote, watch_permission(&ec2, action, &news));
    }
}

/// Asks at once and whenever another action is wanted, until nobody listens to `news` any more.
async fn watch_permission(ec2: &Ec2, mut action: watch::Receiver<StopAction>, news: &mpsc::UnboundedSender<News>) {
    loop {
        let wanted = *action.borrow_and_update();
        ask_permission(ec2, wanted, news).await;
        if action.changed().await.is_err() {
            return;
        }
    }
}

async fn ask_permission(ec2: &Ec2, action: StopAction, news: &mpsc::UnboundedSender<News>) {
    let mut failures = 0;
    loop {
        let credentials = time::timeout(CREDENTIALS, ec2.credentials())
            .await
            .unwrap_or_else(|_| Err(refusal::no_credentials("their source does not answer")));
        let (answer, others) = match credentials {
            Ok(credentials) => match ec2.dry_run(action, credentials.clone()).await {
                Ok(()) => (Ok(()), ec2.dry_run_on_another(action, credentials).await == Elsewhere::Allowed),
                refused => (refused, false),
            },
            Err(refusal) => (Err(refusal), false),
        };
        let wait = match &answer {
            Ok(()) => None,
            Err(Refusal { lasting: true, .. }) => Some(backoff::LONGEST),
            Err(_) => {
                failures += 1;
                Some(backoff::wait(failures, jitter()))
            }
        };
        let unheard = news.send(News::Permission(answer)).is_err();
        if others {
            // Unheard like the answer, if at all.
            let _ = news.send(News::Caution(Caution::MayStopOthers));
        }
        match wait {
            Some(wait) if !unheard => time::sleep(wait).await,
            _ => return,
        }
    }
}
