//! Opens connections: TCP, through a proxy if the environment names one, and TLS for https.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use http::Uri;
use http::uri::Scheme;
use hyper::client::conn::http1;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time;
use tower_service::Service;

use crate::connection::{Connection, Route};

/// Plain or TLS to the server, perhaps inside plain or TLS to a proxy.
type Stream = MaybeHttpsStream<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// Opens connections. Clones share the many CA certificates.
#[derive(Debug, Clone)]
pub struct Connector {
    patience: Duration,
    nearest: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    proxies: Option<Arc<Matcher>>,
}

impl Connector {
    /// To AWS: trusts this machine's CA certificates (or those in `SSL_CERT_FILE`), and uses the proxies in the
    /// environment (`HTTPS_PROXY`, `NO_PROXY`...). `patience` is the time limit for opening a connection.
    #[must_use]
    pub fn to_aws(patience: Duration) -> Self {
        let mut authorities = RootCertStore::empty();
        // Without any certificates, a stand-in for AWS that speaks plain HTTP still works.
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Connector::new(patience, authorities, Some(Arc::new(Matcher::from_env())))
    }

    /// To the metadata service, which speaks plain HTTP at a link-local address.
    #[must_use]
    pub fn to_metadata(patience: Duration) -> Self {
        Connector::new(patience, RootCertStore::empty(), None)
    }

    fn new(patience: Duration, authorities: RootCertStore, proxies: Option<Arc<Matcher>>) -> Self {
        let mut tls = ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Otherwise the kernel keeps retransmitting a request that this program has given up (tcp(7),
        // TCP_USER_TIMEOUT): a stop could arrive minutes after the last look.
        tcp.set_tcp_user_timeout(Some(patience));
        Connector { patience, nearest: HttpsConnector::from((tcp, Arc::clone(&tls))), tls, proxies }
    }

    /// A connection to the server of `to`, with every handshake finished.
    ///
    /// # Errors
    /// It cannot be opened in time.
    pub async fn open(&self, to: &Uri) -> Result<Connection, BoxError> {
        let opened = time::timeout(self.patience, self.connect(to)).await;
        opened.unwrap_or_else(|_| Err(format!("no connection within {:?}", self.patience).into()))
    }

    async fn connect(&self, to: &Uri) -> Result<Connection, BoxError> {
        let proxy = self.proxies.as_ref().and_then(|proxies| proxies.intercept(to));
        let nearest = self.nearest.clone();
        let (stream, route): (Stream, Route) = match proxy {
            None => (call(nearest, to).await?.into(), Route::Straight),
            Some(proxy) if to.scheme() == Some(&Scheme::HTTPS) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), nearest);
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                (call(HttpsConnector::from((tunnel, Arc::clone(&self.tls))), to).await?, Route::Straight)
            }
            Some(proxy) => {
                let authorization = proxy.basic_auth().cloned();
                (call(nearest, proxy.uri()).await?.into(), Route::Forwarded { authorization })
            }
        };
        let (sender, connection) = http1::handshake(stream).await?;
        // Ends when the connection is dropped or the other side closes it; errors are also returned to the sender.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection::new(sender, to.clone(), route))
    }
}

async fn call<S>(mut connector: S, to: &Uri) -> Result<S::Response, BoxError>
where
    S: Service<Uri>,
    S::Error: Into<BoxError>,
{
    poll_fn(|context| connector.poll_ready(context)).await.map_err(Into::into)?;
    connector.call(to.clone()).await.map_err(Into::into)
}
