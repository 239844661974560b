//! How AWS is reached: hyper and rustls as the SDK has them, but with ring for the cryptography, which makes the program
//! half a megabyte smaller than the SDK's own choice.

use aws_config::provider_config::ProviderConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// For the services: with TLS, through a proxy if the environment names one (`HTTPS_PROXY`, `NO_PROXY`), as the SDK's own.
#[must_use]
pub fn client() -> SharedHttpClient {
    with(|connector| {
        connector.proxy_config(ProxyConfig::from_env()).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// For the metadata service, which is a plain one on this host's own link.
#[must_use]
pub fn of_this_host() -> ProviderConfig {
    ProviderConfig::default().with_http_client(with(ConnectorBuilder::build_http))
}

fn with(connector: impl Fn(ConnectorBuilder) -> Connector + Send + Sync + 'static) -> SharedHttpClient {
    let configured = move |settings: Option<&HttpConnectorSettings>, components: Option<&RuntimeComponents>| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector(builder)
    };
    Builder::new().build_with_connector_fn(configured)
}
