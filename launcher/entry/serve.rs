//! A server of its own: both roles in one process, HTTP/1.1 without TLS, which something in front has to add.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time;

use crate::entry::log::log;
use crate::roles::page::PageRole;
use crate::roles::warden::{Wake, WardenRole};
use mc_launcher_core::web::request::{LONGEST_BODY, Request};
use mc_launcher_core::web::response::Response;

/// Connections at once; more have to wait.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may take for the head of a request, and for its body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection lasts at most: two patiences, and what the page takes to answer. Whoever does not read his answer gives
/// his place back.
const LONGEST_CONNECTION: Duration = Duration::from_secs(30);
/// The longest head of a request, in bytes; hyper's least.
const LONGEST_HEAD: usize = 16 * 1024;
/// After a failure of accept(2), which passes: too many open files.
const BREATH: Duration = Duration::from_millis(100);

/// Answers requests on `listener` and looks every `every`, forever.
pub async fn run(page: Arc<PageRole>, warden: WardenRole, listener: TcpListener, every: Duration) {
    tokio::join!(accept(page, listener), watch(warden, every));
}

/// Listens at `address`.
///
/// # Errors
/// It cannot, for example because somebody else does.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Whether `host` is reached without TLS: this machine itself. Everything else has something in front that adds it.
#[must_use]
pub fn is_plain(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || literal.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn watch(warden: WardenRole, every: Duration) {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(why) = warden.look(&Wake::Schedule, &log).await.outcome {
            log(&format!("the warden could not look: {why}"));
        }
    }
}

async fn accept(page: Arc<PageRole>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = Arc::clone(&page);
                tokio::spawn(async move {
                    connection(&page, stream).await;
                    drop(place);
                });
            }
            Err(error) => {
                log(&format!("cannot accept a connection: {error}"));
                time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(page: &PageRole, stream: TcpStream) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(page, request).await));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        // One request for each: a connection that is kept would be closed under somebody's next one.
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // A client that breaks off, is slow, or does not speak HTTP, is no news.
    let _ = time::timeout(LONGEST_CONNECTION, served).await;
}

async fn answer(page: &PageRole, request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    // What claims to be too long is not waited for.
    if body.size_hint().lower() > LONGEST_BODY as u64 {
        return sent(&Response::refused(413));
    }
    let body = time::timeout(PATIENCE, Limited::new(body, LONGEST_BODY).collect()).await;
    let response = match body {
        Err(_) => Response::sentence(408, "The request took too long."),
        Ok(Err(_)) => Response::refused(413),
        Ok(Ok(body)) => {
            let headers = head.headers.iter();
            let request = Request {
                method: head.method.as_str().to_owned(),
                path: head.uri.path().to_owned(),
                // What is not text is no header that this program knows.
                headers: headers
                    .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
                    .collect(),
                body: body.to_bytes().to_vec(),
            };
            page.answer(&request, &log).await
        }
    };
    sent(&response)
}

fn sent(response: &Response) -> http::Response<Full<Bytes>> {
    let mut answer = http::Response::new(Full::new(Bytes::from(response.body.clone())));
    *answer.status_mut() =
        http::StatusCode::from_u16(response.status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &response.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_itself_is_reached_without_tls() {
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "127.0.0.2", "LOCALHOST:1"] {
            assert!(is_plain(host), "{host}");
        }
        for host in
            ["mc.example.org", "192.0.2.1:8080", "", "localhost.example.org", "[::2]:80", "127.0.0.1.example.org"]
        {
            assert!(!is_plain(host), "{host}");
        }
    }
}
