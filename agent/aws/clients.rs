//! The SDK's clients. Every one has a connect, read, attempt and operation timeout: by default none but the first is set,
//! and a silent endpoint would be waited for without end.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};

use super::http;
use crate::metadata::Identity;

const CONNECT: Duration = Duration::from_secs(3);
const EC2_ATTEMPT: Duration = Duration::from_secs(10);
const SSM_ATTEMPT: Duration = Duration::from_secs(5);
const SSM_OPERATION: Duration = Duration::from_secs(15);

/// The SDK's configuration for this instance. Environment variables are honoured as the SDK does.
pub async fn configure(identity: &Identity) -> SdkConfig {
    let region = Region::new(identity.region.clone());
    let http_client = http::client(CONNECT, EC2_ATTEMPT);
    let timeouts = timeouts(SSM_ATTEMPT, SSM_OPERATION);
    let sources = ProviderConfig::default().with_http_client(http_client.clone()).with_timeout_config(timeouts.clone());
    let credentials = DefaultCredentialsChain::builder()
        .configure(sources)
        .region(region.clone())
        .imds_client(imds::Client::builder().configure(&http::of_this_host()).build())
        .build()
        .await;
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .region(region)
        .credentials_provider(credentials)
        .timeout_config(timeouts)
        .load()
        .await
}

/// EC2, asked once for each call: a stop that the SDK tried again by itself would come without a last look.
#[must_use]
pub fn ec2(config: &SdkConfig) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(EC2_ATTEMPT, EC2_ATTEMPT))
        .build();
    aws_sdk_ec2::Client::from_conf(config)
}

/// SSM, tried again by the SDK as usual.
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
