//! The stop and its dry run: on the own instance, and no other, but for one dry run on an id that no instance has.
//!
//! Never `Force`, never `SkipOsShutdown`: the server has to save its world.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::Builder;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use jiff::SignedDuration;

use super::clients;
use super::refusal;
use super::skew::Skew;
use crate::config::settings::StopAction;
use crate::error::chain;
use crate::idle::Clearance;
use crate::idle::rule::Refusal;
use crate::metadata::Identity;

/// The answer to a dry run that would have been allowed (DryRun, EC2 API reference).
const WOULD_SUCCEED: &str = "DryRunOperation";
/// An id that no instance has.
const NO_INSTANCE: &str = "i-00000000000000000";

/// EC2, for one instance.
#[derive(Debug, Clone)]
pub struct Ec2 {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    instance_id: String,
    skew: Skew,
}

/// What EC2 says of an action on an instance that is not the own one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// It is refused.
    Refused,
    /// It is allowed: the role is too wide.
    Allowed,
    /// Neither; the text says what came instead.
    Open(String),
}

impl Ec2 {
    /// EC2 for the instance `identity`.
    #[must_use]
    pub fn new(config: &SdkConfig, identity: &Identity) -> Self {
        Ec2 {
            client: clients::ec2(config),
            credentials: config.credentials_provider(),
            instance_id: identity.instance_id.clone(),
            skew: Skew::default(),
        }
    }

    /// Gets credentials for the next request, so that the request does not have to wait for them.
    ///
    /// # Errors
    /// There are none.
    pub async fn credentials(&self) -> Result<Credentials, Refusal> {
        let Some(provider) = &self.credentials else { return Err(refusal::no_credentials("no source of them")) };
        provider.provide_credentials().await.map_err(|error| refusal::no_credentials(&chain(&error)))
    }

    /// Asks whether `action` would be allowed. It also leaves a connection open, which the request itself then uses.
    ///
    /// # Errors
    /// Why it would not be, or why EC2 could not say.
    pub async fn dry_run(&self, action: StopAction, credentials: Credentials) -> Result<(), Refusal> {
        match self.send(&self.instance_id, action, true, credentials).await {
            Err(Failure::Code { code, .. }) if code == WOULD_SUCCEED => Ok(()),
            // A stand-in for EC2 may not know DryRun, and then has done it.
            Ok(()) => Ok(()),
            Err(failure) => Err(failure.refusal(action, &self.instance_id)),
        }
    }

    /// By how much EC2's clock is ahead of this machine's; `None` while no answer has told its time.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.skew.ahead()
    }

    /// Asks whether `action` would be allowed on other instances too. An answer that the instance does not exist leaves it
    /// open: it is not documented whether EC2 looks at the permission first.
    pub async fn dry_run_on_another(&self, action: StopAction, credentials: Credentials) -> Elsewhere {
        match self.send(NO_INSTANCE, action, true, credentials).await {
            Err(Failure::Code { code, .. }) if code == WOULD_SUCCEED => Elsewhere::Allowed,
            Err(Failure::Code { code, .. }) if refusal::is_no_permission(&code) => Elsewhere::Refused,
            Err(Failure::Code { code, .. }) if code.starts_with("InvalidInstanceID") => {
                Elsewhere::Open(format!("EC2 answered {code} for {NO_INSTANCE}, whether that would be allowed or not"))
            }
            Err(failure) => Elsewhere::Open(failure.refusal(action, NO_INSTANCE).text),
            Ok(()) => Elsewhere::Open("what answered in EC2's place does not know dry runs".to_owned()),
        }
    }

    /// Asks for `action`, once.
    ///
    /// # Errors
    /// What EC2 said, or that it did not.
    pub async fn request(
        &self,
        _leave: Clearance,
        action: StopAction,
        credentials: Credentials,
    ) -> Result<(), Refusal> {
        self.send(&self.instance_id, action, false, credentials)
            .await
            .map_err(|failure| failure.refusal(action, &self.instance_id))
    }

    async fn send(
        &self,
        instance_id: &str,
        action: StopAction,
        dry_run: bool,
        credentials: Credentials,
    ) -> Result<(), Failure> {
        let with = Builder::new().credentials_provider(credentials);
        let dry_run = dry_run.then_some(true);
        match action {
            StopAction::Terminate => {
                let call = self.client.terminate_instances().instance_ids(instance_id).set_dry_run(dry_run);
                let call = call.customize().config_override(with).interceptor(self.skew.clone());
                call.send().await.map(drop).map_err(Failure::from)
            }
            StopAction::Stop | StopAction::Hibernate => {
                let hibernate = (action == StopAction::Hibernate).then_some(true);
                let call = self.client.stop_instances().instance_ids(instance_id).set_dry_run(dry_run);
                let call = call.set_hibernate(hibernate);
                let call = call.customize().config_override(with).interceptor(self.skew.clone());
                call.send().await.map(drop).map_err(Failure::from)
            }
        }
    }
}

enum Failure {
    Code { code: String, message: Option<String> },
    NoAnswer(String),
    NoSense(String),
}

impl Failure {
    fn refusal(self, action: StopAction, instance_id: &str) -> Refusal {
        match self {
            Failure::Code { code, message } => refusal::by_code(&code, message.as_deref(), action, instance_id),
            Failure::NoAnswer(error) => refusal::no_answer(&error),
            Failure::NoSense(error) => refusal::no_sense(&error),
        }
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        // The crate models no exceptions of these calls, so the code is all there is.
        match error.code() {
            Some(code) => Failure::Code { code: code.to_owned(), message: error.message().map(str::to_owned) },
            None if error.raw_response().is_some() => Failure::NoSense(chain(&error)),
            None => Failure::NoAnswer(chain(&error)),
        }
    }
}
