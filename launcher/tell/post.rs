//! A message by HTTP: to a webhook of Discord, or as plain text. Without redirects, and only to addresses that are allowed:
//! what a name leads to is looked at before anything is sent there.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::deadline::Deadline;
use crate::tell::Message;
use mc_launcher_core::tell::address::Reach;
use mc_launcher_core::tell::refusal::Refusal;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 * 1024;
/// Discord takes no longer text, in characters.
const LONGEST_TEXT: usize = 2000;

/// What is sent.
#[derive(Debug)]
pub struct Body {
    kind: &'static str,
    bytes: Vec<u8>,
}

/// As Discord takes it: nobody is mentioned, whatever the text says.
#[must_use]
pub fn discord(message: Message<'_>) -> Body {
    let content: String = message.text.chars().take(LONGEST_TEXT).collect();
    let body = json!({"content": content, "allowed_mentions": {"parse": []}});
    Body { kind: "application/json", bytes: body.to_string().into_bytes() }
}

/// As plain text.
#[must_use]
pub fn plain(message: Message<'_>) -> Body {
    Body { kind: "text/plain; charset=utf-8", bytes: message.text.as_bytes().to_vec() }
}

/// The CA certificates of this machine (or those in `SSL_CERT_FILE`), read once.
static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth())
});

/// Sends `body` to `url`.
///
/// # Errors
/// It is not taken there.
pub async fn send(url: &Uri, body: &Body, reach: Reach, deadline: Deadline) -> Result<(), Refusal> {
    let answer = deadline.limit("it", exchange(url, body, reach)).await;
    let (status, retry_after, bytes) = answer.unwrap_or_else(Err).map_err(Refusal::passing)?;
    match Refusal::of_answer(status, retry_after.as_deref(), &bytes) {
        None => Ok(()),
        Some(refusal) => Err(refusal),
    }
}

/// What came back: the status, how long to wait, and the body.
type Answer = (u16, Option<String>, Bytes);

async fn exchange(url: &Uri, body: &Body, reach: Reach) -> Result<Answer, String> {
    let host = url.host().ok_or("its address has no host")?;
    let secure = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(host, port, reach).await?;
    if !secure {
        return over(stream, url, host, body).await;
    }
    let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned());
    let name = name.map_err(|_| "its address has no valid host")?;
    let stream = TlsConnector::from(Arc::clone(&TLS)).connect(name, stream).await;
    over(stream.map_err(|error| format!("no TLS with it: {error}"))?, url, host, body).await
}

/// A connection to `host`, at an address that `reach` permits.
pub(super) async fn connect(host: &str, port: u16, reach: Reach) -> Result<TcpStream, String> {
    let mut forbidden = false;
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((plain, port)).await.map_err(|error| format!("its name cannot be resolved: {error}"))?;
    let permitted: Vec<SocketAddr> = found
        .filter(|address| {
            let permits = reach.permits(address.ip());
            forbidden |= !permits;
            permits
        })
        .collect();
    if permitted.is_empty() && forbidden {
        return Err("its address is not a public one".to_owned());
    }
    TcpStream::connect(permitted.as_slice()).await.map_err(|error| format!("no connection to it: {error}"))
}

async fn over<S>(stream: S, url: &Uri, host: &str, body: &Body) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| format!("the exchange with it broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends when the connection is dropped or the other side closes it; errors are also returned to the sender.
    tokio::spawn(async move { drop(connection.await) });
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = Request::post(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("mc-launcher/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, body.kind)
        .body(Full::new(Bytes::from(body.bytes.clone())))
        .map_err(|error| format!("no request can be made of its address: {error}"))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // The status says it all, but for how long to wait.
    let bytes = Limited::new(answer.into_body(), LONGEST)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    Ok((status, retry_after, bytes))
}
