//! SSM parameters: type String, tier Standard (otherwise the account's default tier would decide what a heartbeat
//! costs).

use aws_config::SdkConfig;
use aws_sdk_ssm::Client;
use aws_sdk_ssm::error::ProvideErrorMetadata;
use aws_sdk_ssm::types::{ParameterTier, ParameterType};
use mc_aws::clients;
use mc_aws::error_code::{ErrorClass, class, short};
use mc_idle::report::heartbeat::{PutError, Store};
use mc_service::error_chain::chain;

/// SSM parameters in one region.
#[derive(Debug, Clone)]
pub struct Parameters {
    client: Client,
}

impl Parameters {
    /// A client with `config`.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Parameters { client: clients::ssm(config) }
    }
}

/// The result of reading a parameter.
#[derive(Debug)]
pub enum Get {
    Value(String),
    Missing,
    /// The reason and, if anything can be done, what to change.
    Failed(String),
}

impl Parameters {
    /// Reads the parameter `name`.
    pub async fn get(&self, name: &str) -> Get {
        match self.client.get_parameter().name(name).send().await {
            Ok(answer) => match answer.parameter.and_then(|parameter| parameter.value) {
                Some(value) => Get::Value(value),
                None => Get::Failed(format!("SSM answered without a value for {name}")),
            },
            Err(error) => match error.code() {
                Some("ParameterNotFound") => Get::Missing,
                Some(code) if class(code) == ErrorClass::NotAllowed => Get::Failed(format!(
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

/// The meaning of SSM's error `code` for a write to the parameter `name`.
fn by_code(code: &str, message: Option<&str>, name: &str) -> PutError {
    let throttled = class(code) == ErrorClass::Throttled;
    let advice = match code {
        _ if throttled => "too many writes; heartbeats slow down".to_owned(),
        _ if class(code) == ErrorClass::NotAllowed => {
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
