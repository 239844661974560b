//! The SDK's configuration of the agent: the instance's role, and the environment.
//!
//! Profiles in `~/.aws` have no say. The agent's user has none, and those of root would let `mc-idle check` pass where
//! the agent then fails.

use std::env;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use mc_aws::clients;
use mc_aws::connector::Connector;
use mc_aws::http;

/// The SDK's configuration for `region`, and the connector that it uses.
#[must_use]
pub fn load(region: &str) -> (SdkConfig, Connector) {
    let (http_client, connector) = clients::http();
    let role = ImdsCredentialsProvider::builder().configure(&http::of_this_host()).build();
    let credentials = CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("instance metadata", role);
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(clients::usual_timeouts())
        .service_config(Environment);
    config.set_endpoint_url(variable("AWS_ENDPOINT_URL"));
    config.set_use_dual_stack(switch("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_use_fips(switch("AWS_USE_FIPS_ENDPOINT"));
    (config.build(), connector)
}

/// Settings of single services, such as `AWS_ENDPOINT_URL_EC2` (AWS SDKs and tools reference guide, "Service-specific
/// endpoints").
#[derive(Debug)]
struct Environment;

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        variable(&format!("{}_{}", key.env(), key.service_id().to_uppercase().replace(' ', "_")))
    }
}

/// A variable; empty counts as not set.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn switch(name: &str) -> Option<bool> {
    variable(name).map(|value| value.eq_ignore_ascii_case("true"))
}
