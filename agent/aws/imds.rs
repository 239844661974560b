//! Instance metadata (IMDSv2), read with the SDK's own client.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::{BuildError, ImdsError};
use mc_aws::http;
use mc_idle::cloud::metadata::{self, Identity};
use mc_idle::config::settings::AwsSettings;
use mc_service::error_chain::chain;

const CONNECT: Duration = Duration::from_secs(1);
const READ: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(5);
/// As in every AWS SDK (AWS SDKs and tools reference guide).
const REGION_VARIABLE: &str = "AWS_REGION";
const NOT_FOUND: u16 = 404;

/// Why a value of instance metadata is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("invalid address of the metadata service")]
    Endpoint(#[source] Box<BuildError>),
    /// No answer, or an error.
    #[error("{path}")]
    Metadata { path: &'static str, source: Box<ImdsError> },
    /// An answer of another kind.
    #[error("{path} is {answer:?}, which is not a valid {expected}")]
    Nonsense {
        /// Or the name of an environment variable.
        path: &'static str,
        answer: String,
        expected: &'static str,
    },
}

impl MetadataError {
    /// The error on one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            MetadataError::Metadata { path, source } => match source.as_ref() {
                ImdsError::ErrorResponse(response) => format!("{path}: HTTP status {}", response.response().status()),
                error => format!("{path}: {}", chain(error)),
            },
            _ => chain(self),
        }
    }
}

/// A client without retries. It keeps a token, which a restarted metadata service may not know: make a new client for
/// each round of questions.
#[derive(Debug)]
pub struct Imds(Client);

impl Imds {
    /// A client without a token.
    #[must_use]
    pub fn new() -> Self {
        let client = Client::builder()
            .configure(&http::of_this_host())
            .connect_timeout(CONNECT)
            .read_timeout(READ)
            .operation_attempt_timeout(CONNECT + READ)
            .operation_timeout(OPERATION)
            .max_attempts(1)
            .build();
        Imds(client)
    }

    /// Reads `path` and parses the answer with `meaning`.
    ///
    /// # Errors
    /// There is no answer, or it is not a valid `expected`.
    pub async fn get<T>(
        &self,
        path: &'static str,
        expected: &'static str,
        meaning: fn(&str) -> Option<T>,
    ) -> Result<T, MetadataError> {
        let answer: String =
            self.0.get(path).await.map_err(|source| MetadataError::Metadata { path, source: Box::new(source) })?.into();
        meaning(&answer).ok_or_else(|| MetadataError::Nonsense { path, answer: short(&answer), expected })
    }

    /// Like [`Imds::get`], for values that not every instance has.
    ///
    /// # Errors
    /// As for [`Imds::get`], except "not found".
    pub async fn get_if_there<T>(
        &self,
        path: &'static str,
        expected: &'static str,
        meaning: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, MetadataError> {
        match self.get(path, expected, meaning).await {
            Ok(value) => Ok(Some(value)),
            Err(MetadataError::Metadata { source, .. }) if is_not_found(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Default for Imds {
    fn default() -> Self {
        Self::new()
    }
}

/// Finds out, in one attempt, which instance this is. Values in the settings come first, then `AWS_REGION`, then
/// metadata.
///
/// # Errors
/// Metadata gives no usable answer, which may pass; or `AWS_REGION` is not a valid region.
pub async fn identity(settings: &AwsSettings) -> Result<Identity, MetadataError> {
    let imds = Imds::new();
    let instance_id = match &settings.instance_id {
        Some(instance_id) => instance_id.clone(),
        None => imds.get("/latest/meta-data/instance-id", "instance id", metadata::instance_id).await?,
    };
    let told = match &settings.region {
        Some(region) => Some(region.clone()),
        None => region_of_environment()?,
    };
    let region = match told {
        Some(region) => region,
        None => imds.get("/latest/meta-data/placement/region", "region", metadata::region).await?,
    };
    Ok(Identity { instance_id, region })
}

/// Whether [`identity`] needs nothing from instance metadata, because the machine is not on EC2.
#[must_use]
pub fn is_off_ec2(settings: &AwsSettings) -> bool {
    let region = settings.region.is_some() || region_of_environment().is_ok_and(|region| region.is_some());
    settings.instance_id.is_some() && region
}

/// The region in `AWS_REGION`; empty counts as not set.
fn region_of_environment() -> Result<Option<String>, MetadataError> {
    let value = std::env::var_os(REGION_VARIABLE).unwrap_or_default();
    let value = value.to_string_lossy();
    if value.is_empty() {
        return Ok(None);
    }
    let nonsense = || MetadataError::Nonsense { path: REGION_VARIABLE, answer: short(&value), expected: "region" };
    metadata::region(&value).map(Some).ok_or_else(nonsense)
}

fn is_not_found(error: &ImdsError) -> bool {
    matches!(error, ImdsError::ErrorResponse(response) if response.response().status().as_u16() == NOT_FOUND)
}

fn short(answer: &str) -> String {
    answer.chars().take(60).collect()
}
