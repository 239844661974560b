//! One exchange over HTTP/1.1: no redirects, no connection that is kept, and only to addresses that are permitted: what a
//! name leads to is looked at before anything is sent there. It sets no time limit; whoever calls it does.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// The CA certificates of this machine (or those in `SSL_CERT_FILE`), read once.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth())
});

/// What is asked for.
#[derive(Debug)]
pub struct Question<'a> {
    pub method: Method,
    /// `https` or `http`.
    pub url: &'a Uri,
    /// All headers but `Host`.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The longest answer that is read, in bytes. Of a longer one, the body is left out.
    pub longest: usize,
}

/// Asks `question` at an address for which `permits` is true.
///
/// # Errors
/// There is no answer; why, as the rest of a sentence that speaks of the other side as "it".
pub async fn ask(question: Question<'_>, permits: impl Fn(IpAddr) -> bool) -> Result<Response<Vec<u8>>, String> {
    let host = question.url.host().ok_or("its address has no host")?;
    let secure = question.url.scheme_str() == Some("https");
    let port = question.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(host, port, permits).await?;
    if !secure {
        return over(stream, question).await;
    }
    let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let name = name.map_err(|_| "its address has no valid host")?;
    let stream = TlsConnector::from(Arc::clone(&TLS)).connect(name, stream).await;
    over(stream.map_err(|error| format!("no TLS with it: {error}"))?, question).await
}

/// A connection to `host`, a name or an address, at one of its addresses for which `permits` is true.
///
/// # Errors
/// There is none; why, as the rest of a sentence that speaks of the other side as "it".
pub async fn connect(host: &str, port: u16, permits: impl Fn(IpAddr) -> bool) -> Result<TcpStream, String> {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((plain, port)).await.map_err(|error| format!("its name cannot be resolved: {error}"))?;
    let (permitted, forbidden): (Vec<SocketAddr>, Vec<_>) = found.partition(|address| permits(address.ip()));
    if permitted.is_empty() && !forbidden.is_empty() {
        return Err("its address is not a public one".to_owned());
    }
    TcpStream::connect(permitted.as_slice()).await.map_err(|error| format!("no connection to it: {error}"))
}

async fn over<S>(stream: S, question: Question<'_>) -> Result<Response<Vec<u8>>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| format!("the exchange with it broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends when the connection is dropped or the other side closes it; errors are also returned to the sender.
    tokio::spawn(async move { drop(connection.await) });
    let Question { method, url, headers, body, longest } = question;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let invalid = |error: &dyn std::fmt::Display| format!("no request can be made of its address: {error}");
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|error| invalid(&error))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority).map_err(|error| invalid(&error))?);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, longest).collect().await.map(http_body_util::Collected::to_bytes);
    Ok(Response::from_parts(head, body.map(|body| body.to_vec()).unwrap_or_default()))
}
