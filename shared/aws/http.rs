//! HTTP clients for the SDK: one that keeps its connection between calls, and one that uses an open connection and no
//! other, for a request that must not wait for a connection.
//!
//! The SDK's own client would open a connection whenever it has none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::{Request, Uri};
use tokio::time;

use crate::connection::{Connection, Unsent};
use crate::connector::Connector;

const METADATA_CONNECT: Duration = Duration::from_secs(1);
const METADATA_READ: Duration = Duration::from_secs(1);

/// The provider configuration for the metadata service.
#[must_use]
pub fn of_this_host() -> ProviderConfig {
    let kept = KeepAlive::new(Connector::to_metadata(METADATA_CONNECT), METADATA_READ);
    ProviderConfig::default().with_http_client(kept.client())
}

/// Keeps the connection of the last call for the next one, and opens another if it has closed or leads elsewhere.
#[derive(Debug, Clone)]
pub struct KeepAlive {
    connector: Connector,
    patience: Duration,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl KeepAlive {
    /// With connections from `connector`. `patience` is the time limit for the head of an answer.
    #[must_use]
    pub fn new(connector: Connector, patience: Duration) -> Self {
        KeepAlive { connector, patience, connection: Arc::default() }
    }

    /// A client for the SDK.
    #[must_use]
    pub fn client(&self) -> SharedHttpClient {
        always(self.clone())
    }

    /// The connection of the last call that was answered.
    #[must_use]
    pub fn take(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn connection_to(&self, to: &Uri) -> Result<Connection, BoxError> {
        if let Some(mut connection) = self.take()
            && connection.leads_to(to)
            && connection.is_open().await
        {
            return Ok(connection);
        }
        self.connector.open(to).await
    }

    async fn carry(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = readable(request)?;
        let mut connection = self.connection_to(request.uri()).await.map_err(ConnectorError::io)?;
        let answer = exchange(&mut connection, request, self.patience).await?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(answer)
    }
}

impl HttpConnector for KeepAlive {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let kept = self.clone();
        HttpConnectorFuture::new(async move { kept.carry(request).await })
    }
}

/// Carries one call over a connection that is already open. If it has closed, the call fails at once.
#[derive(Debug, Clone)]
pub struct SingleConnection {
    patience: Duration,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl SingleConnection {
    /// Over `connection`. `patience` is the time limit for the head of the answer.
    #[must_use]
    pub fn new(connection: Connection, patience: Duration) -> Self {
        SingleConnection { patience, connection: Arc::new(Mutex::new(Some(connection))) }
    }

    /// A client for the SDK.
    #[must_use]
    pub fn client(&self) -> SharedHttpClient {
        always(self.clone())
    }
}

impl HttpConnector for SingleConnection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (patience, connection) =
            (self.patience, self.connection.lock().unwrap_or_else(PoisonError::into_inner).take());
        HttpConnectorFuture::new(async move {
            let mut connection = connection.ok_or_else(|| ConnectorError::io(Unsent.into()))?;
            exchange(&mut connection, readable(request)?, patience).await
        })
    }
}

fn readable(request: HttpRequest) -> Result<Request<SdkBody>, ConnectorError> {
    request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))
}

async fn exchange(
    connection: &mut Connection,
    request: Request<SdkBody>,
    patience: Duration,
) -> Result<HttpResponse, ConnectorError> {
    let answer = match time::timeout(patience, connection.send(request)).await {
        Ok(answer) => answer.map_err(ConnectorError::io)?,
        Err(_) => return Err(ConnectorError::timeout(format!("no answer within {patience:?}").into())),
    };
    HttpResponse::try_from(answer.map(SdkBody::from_body_1_x)).map_err(|error| ConnectorError::io(error.into()))
}

/// Uses `connector` whatever timeouts a service asks for: the SDK itself enforces those for whole calls.
fn always(connector: impl HttpConnector + 'static) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(connector);
    http_client_fn(move |_, _| connector.clone())
}
