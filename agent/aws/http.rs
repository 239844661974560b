//! How AWS is reached: hyper and rustls as the SDK has them, but with ring for the cryptography, which makes the program
//! smaller than the SDK's own choice, and with one connector for all services: each has the certificates of all authorities
//! in memory.

use std::time::Duration;

use aws_config::provider_config::ProviderConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};

const METADATA_CONNECT: Duration = Duration::from_secs(1);
const METADATA_READ: Duration = Duration::from_secs(1);

/// For the services: with TLS, through a proxy if the environment names one (`HTTPS_PROXY`, `NO_PROXY`), as the SDK's own.
#[must_use]
pub fn client(connect: Duration, read: Duration) -> SharedHttpClient {
    let proxy = ProxyConfig::from_env();
    let connector = builder(connect, read).proxy_config(proxy).tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    always(connector)
}

/// For the metadata service, which speaks plain HTTP on this host's own link.
#[must_use]
pub fn of_this_host() -> ProviderConfig {
    ProviderConfig::default().with_http_client(always(builder(METADATA_CONNECT, METADATA_READ).build_http()))
}

fn builder(connect: Duration, read: Duration) -> ConnectorBuilder {
    let settings = HttpConnectorSettings::builder().connect_timeout(connect).read_timeout(read).build();
    Connector::builder().connector_settings(settings)
}

/// Whatever timeouts a service asks for: the SDK itself ends what takes too long as a whole.
fn always(connector: Connector) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
