//! The SDK's clients, each with a connect, read, attempt and operation timeout. By default only the first is set, and a
//! call to a silent endpoint would wait forever.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};

use crate::connector::Connector;
use crate::http::{self, KeepAlive};

const CONNECT: Duration = Duration::from_secs(3);
/// How long EC2 may take to answer.
pub const EC2_ATTEMPT: Duration = Duration::from_secs(10);
const SSM_ATTEMPT: Duration = Duration::from_secs(5);
const SSM_OPERATION: Duration = Duration::from_secs(15);

/// The SDK's configuration for this instance, and the connector that it uses. The SDK's environment variables apply.
pub async fn configure(region: &str) -> (SdkConfig, Connector) {
    let region = Region::new(region.to_owned());
    let connector = Connector::to_aws(CONNECT);
    let http_client = KeepAlive::new(connector.clone(), SSM_ATTEMPT).client();
    let timeouts = timeouts(SSM_ATTEMPT, SSM_OPERATION);
    let sources = ProviderConfig::default().with_http_client(http_client.clone()).with_timeout_config(timeouts.clone());
    let credentials = DefaultCredentialsChain::builder()
        .configure(sources)
        .region(region.clone())
        .imds_client(imds::Client::builder().configure(&http::of_this_host()).build())
        .build()
        .await;
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .region(region)
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .load()
        .await;
    (config, connector)
}

/// EC2, without retries: a stop that the SDK repeated by itself would go out without a last look.
#[must_use]
pub fn ec2(config: &SdkConfig) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(EC2_ATTEMPT, EC2_ATTEMPT))
        .build();
    aws_sdk_ec2::Client::from_conf(config)
}

/// SSM, with the SDK's usual retries.
#[must_use]
pub fn ssm(config: &SdkConfig) -> aws_sdk_ssm::Client {
    let config =
        aws_sdk_ssm::config::Builder::from(config).timeout_config(timeouts(SSM_ATTEMPT, SSM_OPERATION)).build();
    aws_sdk_ssm::Client::from_conf(config)
}

fn timeouts(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}
