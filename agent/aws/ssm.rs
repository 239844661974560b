//! Parameters: type String, tier Standard (or the account's own default would decide what a heartbeat costs).

use aws_config::SdkConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};

use super::clients;
use super::refusal::short;
use crate::error::chain;
use crate::heartbeat::{PutError, Store};

/// SSM in one region.
#[derive(Debug, Clone)]
pub struct Parameters {
    client: Client,
}

impl Parameters {
    /// SSM as configured.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Parameters { client: clients::ssm(config) }
    }
}

/// What comes of reading a parameter.
#[derive(Debug)]
pub enum Get {
    /// Its value.
    Value(String),
    /// There is no such parameter.
    Missing,
    /// It could not be read; the text says why and, if anything can be done, what to change.
    Failed(String),
}

impl Parameters {
    /// Reads the parameter `name`.
    pub async fn get(&self, name: &str) -> Get {
        match self.client.get_parameter().name(name).send().await {
            Ok(answer) => match answer.parameter.and_then(|parameter| parameter.value) {
                Some(value) => Get::Value(value),
                None => Get::Missing,
            },
            Err(error) => match error.code() {
                Some("ParameterNotFound") => Get::Missing,
                Some(code @ ("AccessDeniedException" | "AccessDenied")) => Get::Failed(format!(
                    "SSM answered {code}: allow ssm:GetParameter on {name} in the policy of this instance's role"
                )),
                Some(code) => {
                    Get::Failed(format!("SSM answered {code}: {}", short(error.message().unwrap_or_default())))
                }
                None => Get::Failed(format!("SSM did not answer: {}", short(&chain(&error)))),
            },
        }
    }
}

impl Store for Parameters {
    async fn put(&self, name: String, value: String) -> Result<(), PutError> {
        let call = self.client.put_parameter().name(&name).value(value).overwrite(true);
        let call = call.r#type(ParameterType::String).tier(ParameterTier::Standard);
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.code() {
                Some(code) => by_code(code, error.message(), &name),
                None => PutError { throttled: false, text: format!("SSM did not answer: {}", short(&chain(&error))) },
            }),
        }
    }
}

/// What SSM's error `code` means for a write to the parameter `name`.
fn by_code(code: &str, message: Option<&str>, name: &str) -> PutError {
    let throttled = matches!(
        code,
        "ThrottlingException" | "Throttling" | "TooManyUpdates" | "TooManyRequestsException" | "RequestLimitExceeded"
    );
    let advice = match code {
        _ if throttled => "too many writes; heartbeats slow down".to_owned(),
        "AccessDeniedException" | "AccessDenied" => {
            format!("allow ssm:PutParameter on {name} in the policy of this instance's role")
        }
        "ParameterMaxVersionLimitExceeded" => format!("the oldest version of {name} has a label; remove the label"),
        "HierarchyTypeMismatchException" | "UnsupportedParameterType" => {
            format!("{name} exists with another type; delete it")
        }
        _ => short(message.unwrap_or_default()),
    };
    PutError { throttled, text: format!("SSM answered {code}: {advice}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_throttling_from_the_rest() {
        for (code, throttled) in [
            ("ThrottlingException", true),
            ("TooManyUpdates", true),
            ("AccessDeniedException", false),
            ("Other", false),
        ] {
            assert_eq!(by_code(code, None, "/x").throttled, throttled, "{code}");
        }
    }
}
