//! The SDK's clients, each with a connect, read, attempt and operation timeout. By default only the first is set, and a
//! call to a silent endpoint would wait forever.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::connector::Connector;
use crate::http::KeepAlive;

const CONNECT: Duration = Duration::from_secs(3);
/// How long EC2 may take to answer.
pub const EC2_ATTEMPT: Duration = Duration::from_secs(10);
const SSM_ATTEMPT: Duration = Duration::from_secs(5);
const SSM_OPERATION: Duration = Duration::from_secs(15);

/// The HTTP client for calls to AWS, and the connector that it uses.
#[must_use]
pub fn http() -> (SharedHttpClient, Connector) {
    let connector = Connector::to_aws(CONNECT);
    (KeepAlive::new(connector.clone(), SSM_ATTEMPT).client(), connector)
}

/// The timeouts of a service for which nothing else is said here.
#[must_use]
pub fn usual_timeouts() -> TimeoutConfig {
    timeouts(SSM_ATTEMPT, SSM_OPERATION)
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
    let config = aws_sdk_ssm::config::Builder::from(config).timeout_config(usual_timeouts()).build();
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
