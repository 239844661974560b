//! Which instance is this? Asked of instance metadata (IMDSv2) by the SDK's own client.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::{BuildError, ImdsError};

use crate::config::keys::is_instance_id;
use crate::config::settings::AwsSettings;
use crate::error::chain;

const CONNECT: Duration = Duration::from_secs(1);
const READ: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(5);

/// An instance and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The instance id.
    pub instance_id: String,
    /// The code of the region.
    pub region: String,
}

/// Why it is not known which instance this is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The address of the metadata service is no address.
    #[error("the metadata service cannot be asked")]
    Endpoint(#[source] Box<BuildError>),
    /// It did not answer, or with an error.
    #[error("{path}")]
    Metadata {
        /// What was asked for.
        path: &'static str,
        /// What came instead.
        source: Box<ImdsError>,
    },
    /// It answered with something else.
    #[error("{path} is {answer:?}, which is no {expected}")]
    Nonsense {
        /// What was asked for.
        path: &'static str,
        /// What came.
        answer: String,
        /// What should have come.
        expected: &'static str,
    },
}

impl IdentityError {
    /// What to do about it, where that is not plain from the error itself.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            IdentityError::Metadata { path, source } => format!("{path}: {}", imds_in_words(source)),
            _ => chain(self),
        }
    }
}

fn imds_in_words(error: &ImdsError) -> String {
    match error {
        ImdsError::ErrorResponse(response) => format!("HTTP status {}", response.response().status()),
        _ => chain(error),
    }
}

/// Asks once. What the settings name is not asked for.
///
/// # Errors
/// Whatever keeps the answer away; ask again later.
pub async fn ask(settings: &AwsSettings) -> Result<Identity, IdentityError> {
    if let AwsSettings { region: Some(region), instance_id: Some(instance_id) } = settings {
        return Ok(Identity { instance_id: instance_id.clone(), region: region.clone() });
    }
    // Built anew each time: the client keeps a token, and a metadata service that comes back may not know it.
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .operation_attempt_timeout(CONNECT + READ)
        .operation_timeout(OPERATION)
        .max_attempts(1)
        .build();
    let instance_id = match &settings.instance_id {
        Some(instance_id) => instance_id.clone(),
        None => get(&client, "/latest/meta-data/instance-id", "instance id", is_instance_id).await?,
    };
    let region = match &settings.region {
        Some(region) => region.clone(),
        None => get(&client, "/latest/meta-data/placement/region", "region", is_region).await?,
    };
    Ok(Identity { instance_id, region })
}

async fn get(
    client: &Client,
    path: &'static str,
    expected: &'static str,
    is_expected: fn(&str) -> bool,
) -> Result<String, IdentityError> {
    let answer: String =
        client.get(path).await.map_err(|source| IdentityError::Metadata { path, source: Box::new(source) })?.into();
    if is_expected(&answer) {
        Ok(answer)
    } else {
        Err(IdentityError::Nonsense { path, answer: short(&answer), expected })
    }
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() < 64 && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '-')
}

fn short(answer: &str) -> String {
    answer.chars().take(60).collect()
}
