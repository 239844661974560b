//! The SDK's configuration of the launcher: credentials from wherever the SDK looks for them, since it may run anywhere.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, imds};
use mc_aws::{clients, http};

/// The SDK's configuration for `region`. The SDK's environment variables and profiles apply.
pub async fn load(region: &str) -> SdkConfig {
    let region = Region::new(region.to_owned());
    let (http_client, _) = clients::http();
    let timeouts = clients::usual_timeouts();
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
