//! Instance metadata (IMDSv2), asked by the SDK's own client.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::{BuildError, ImdsError};

use super::http;
use crate::config::settings::AwsSettings;
use crate::error::chain;
use crate::metadata::{self, Identity};

const CONNECT: Duration = Duration::from_secs(1);
const READ: Duration = Duration::from_secs(1);
const OPERATION: Duration = Duration::from_secs(5);
/// "There is no such thing here."
const NOT_FOUND: u16 = 404;

/// Why metadata does not tell something.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
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

impl MetadataError {
    /// What to do about it, where that is not plain from the error itself.
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

/// A client that tries once. It keeps a token, and a metadata service that comes back may not know that one: so it is made
/// anew for each round of questions.
#[derive(Debug)]
pub struct Imds(Client);

impl Imds {
    /// A client with no token yet.
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

    /// Asks for `path` and has `meaning` made of the answer.
    ///
    /// # Errors
    /// Whatever keeps the answer away, or that it is no `expected`.
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

    /// The same for what is not there on every instance.
    ///
    /// # Errors
    /// As for [`Imds::get`], but for "not found".
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

/// Asks once which instance this is. What the settings name is not asked for.
///
/// # Errors
/// Whatever keeps the answer away; ask again later.
pub async fn identity(settings: &AwsSettings) -> Result<Identity, MetadataError> {
    let imds = Imds::new();
    let instance_id = match &settings.instance_id {
        Some(instance_id) => instance_id.clone(),
        None => imds.get("/latest/meta-data/instance-id", "instance id", metadata::instance_id).await?,
    };
    let region = match &settings.region {
        Some(region) => region.clone(),
        None => imds.get("/latest/meta-data/placement/region", "region", metadata::region).await?,
    };
    Ok(Identity { instance_id, region })
}

fn is_not_found(error: &ImdsError) -> bool {
    matches!(error, ImdsError::ErrorResponse(response) if response.response().status().as_u16() == NOT_FOUND)
}

fn short(answer: &str) -> String {
    answer.chars().take(60).collect()
}
