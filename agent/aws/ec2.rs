//! The stop and its dry run. Both act on this instance only; the one exception is a dry run on an id that no instance
//! has.
//!
//! Never `Force`, never `SkipOsShutdown`: the server must be able to save its world.

use std::error::Error;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::{Builder, SharedHttpClient};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use jiff::SignedDuration;
use mc_aws::clients;
use mc_aws::connection::{Connection, Unsent};
use mc_aws::connector::Connector;
use mc_aws::error_code::{ErrorClass, class};
use mc_aws::http::{KeepAlive, SingleConnection};
use mc_aws::skew::Skew;
use mc_idle::cloud::StopAction;
use mc_idle::cloud::metadata::Identity;
use mc_idle_rule::StopPermit;
use mc_idle_rule::rule::StopError;
use mc_service::error_chain::chain;

use crate::stop_error;

/// The answer to a dry run that is allowed (DryRun, EC2 API reference).
const WOULD_SUCCEED: &str = "DryRunOperation";
const NO_INSTANCE: &str = "i-00000000000000000";

/// EC2, for one instance.
#[derive(Debug, Clone)]
pub struct Ec2 {
    client: Client,
    connector: Connector,
    /// The last prepared connection closed before the request.
    short_lived: Arc<AtomicBool>,
    credentials: Option<SharedCredentialsProvider>,
    instance_id: String,
    skew: Skew,
}

/// EC2's answer to a dry run on another instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    Refused,
    /// The role is too wide.
    Allowed,
    /// Neither, with the reason.
    Open(String),
}

impl Ec2 {
    /// A client for the instance `identity`.
    #[must_use]
    pub fn new(config: &SdkConfig, connector: Connector, identity: &Identity) -> Self {
        Ec2 {
            client: clients::ec2(config),
            connector,
            short_lived: Arc::default(),
            credentials: config.credentials_provider(),
            instance_id: identity.instance_id.clone(),
            skew: Skew::default(),
        }
    }

    /// Gets credentials for the next request ahead of time, so that the request does not wait for them.
    ///
    /// # Errors
    /// No credentials can be obtained.
    pub async fn credentials(&self) -> Result<Credentials, StopError> {
        let Some(provider) = &self.credentials else { return Err(stop_error::no_credentials("none configured")) };
        provider.provide_credentials().await.map_err(|error| stop_error::no_credentials(&chain(&error)))
    }

    /// Asks EC2 whether `action` would be allowed.
    ///
    /// # Errors
    /// It would not be, or EC2 gave no usable answer.
    pub async fn dry_run(&self, action: StopAction, credentials: Credentials) -> Result<(), StopError> {
        let asked = self.ask(&self.instance_id, action, credentials, &self.connections()).await;
        asked.map(drop).map_err(|failure| failure.stop_error(action, &self.instance_id))
    }

    /// A connection for the request: the one over which EC2 has just answered a dry run or, where connections are
    /// closed after each answer, a new one with every handshake finished.
    ///
    /// # Errors
    /// EC2 does not answer, or refuses the dry run permanently. Other error codes are ignored: the request itself shows
    /// whether they have passed.
    pub async fn prepare(&self, action: StopAction, credentials: Credentials) -> Result<Connection, StopError> {
        let connections = self.connections();
        if let Err(failure) = self.ask(&self.instance_id, action, credentials, &connections).await {
            let answered = matches!(failure, Failure::Code { .. });
            let stop_error = failure.stop_error(action, &self.instance_id);
            if stop_error.permanent || !answered {
                return Err(stop_error);
            }
        }
        let Some(mut connection) = connections.take() else { return Err(stop_error::not_sent()) };
        if connection.is_open().await && !self.short_lived.load(Ordering::Relaxed) {
            return Ok(connection);
        }
        self.connector.open(connection.to()).await.map_err(|error| stop_error::no_answer(&chain(&*error)))
    }

    /// How far EC2's clock is ahead of this machine's; `None` until an answer has had a `date`.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.skew.ahead()
    }

    /// Asks EC2 whether `action` would be allowed on other instances too. An answer that the instance does not exist
    /// proves nothing: it is not documented whether EC2 checks the permission first.
    pub async fn dry_run_on_another(&self, action: StopAction, credentials: Credentials) -> Elsewhere {
        match self.ask(NO_INSTANCE, action, credentials, &self.connections()).await {
            Ok(Granted::Would) => Elsewhere::Allowed,
            Ok(Granted::Done) => Elsewhere::Open("the endpoint, which is not EC2, ignores dry runs".to_owned()),
            Err(Failure::Code { code, .. }) if class(&code) == ErrorClass::NotAllowed => Elsewhere::Refused,
            Err(Failure::Code { code, .. }) if class(&code) == ErrorClass::NoSuchInstance => {
                Elsewhere::Open(format!("EC2 answered {code} for {NO_INSTANCE}, which does not show the permission"))
            }
            Err(failure) => Elsewhere::Open(failure.stop_error(action, NO_INSTANCE).text),
        }
    }

    /// Requests `action`, once, over `connection` and no other connection.
    ///
    /// # Errors
    /// EC2 refuses, does not answer, or the connection has closed.
    pub async fn request(
        &self,
        _leave: StopPermit,
        action: StopAction,
        credentials: Credentials,
        connection: Connection,
    ) -> Result<(), StopError> {
        let http = SingleConnection::new(connection, clients::EC2_ATTEMPT).client();
        let answer = self.send(&self.instance_id, action, false, credentials, http).await;
        let unsent = matches!(answer, Err(Failure::Unsent));
        self.short_lived.store(unsent, Ordering::Relaxed);
        answer.map_err(
            |failure| if unsent { stop_error::not_sent() } else { failure.stop_error(action, &self.instance_id) },
        )
    }

    /// For one dry run: a connection kept since the last one may have died.
    fn connections(&self) -> KeepAlive {
        KeepAlive::new(self.connector.clone(), clients::EC2_ATTEMPT)
    }

    async fn ask(
        &self,
        instance_id: &str,
        action: StopAction,
        credentials: Credentials,
        connections: &KeepAlive,
    ) -> Result<Granted, Failure> {
        match self.send(instance_id, action, true, credentials, connections.client()).await {
            Err(Failure::Code { code, .. }) if code == WOULD_SUCCEED => Ok(Granted::Would),
            Ok(()) => Ok(Granted::Done),
            Err(failure) => Err(failure),
        }
    }

    async fn send(
        &self,
        instance_id: &str,
        action: StopAction,
        dry_run: bool,
        credentials: Credentials,
        http: SharedHttpClient,
    ) -> Result<(), Failure> {
        let with = Builder::new().credentials_provider(credentials).http_client(http);
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

/// The answer to a dry run that is not refused.
enum Granted {
    Would,
    /// A stand-in for EC2 that does not know DryRun has done it.
    Done,
}

enum Failure {
    Unsent,
    Code { code: String, message: Option<String> },
    NoAnswer(String),
    NoSense(String),
}

impl Failure {
    fn stop_error(self, action: StopAction, instance_id: &str) -> StopError {
        match self {
            Failure::Unsent => stop_error::no_answer(&chain(&Unsent)),
            Failure::Code { code, message } => stop_error::by_code(&code, message.as_deref(), action, instance_id),
            Failure::NoAnswer(error) => stop_error::no_answer(&error),
            Failure::NoSense(error) => stop_error::no_sense(&error),
        }
    }
}

impl<E, R> From<SdkError<E, R>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        // The crate models no exceptions for these calls, so there is only the code.
        match error.code() {
            Some(code) => Failure::Code { code: code.to_owned(), message: error.message().map(str::to_owned) },
            None if error.raw_response().is_some() => Failure::NoSense(chain(&error)),
            None if causes(&error).any(<dyn std::error::Error>::is::<Unsent>) => Failure::Unsent,
            None => Failure::NoAnswer(chain(&error)),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
