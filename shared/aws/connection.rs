//! One connection, usable for as long as it stays open. It cannot open another one.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::body::SdkBody;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

/// How a request gets to its server.
#[derive(Debug)]
pub enum Route {
    /// The server is at the other end.
    Straight,
    /// Through a proxy, which needs the whole URI (RFC 9112, absolute-form).
    Forwarded {
        /// For the proxy.
        authorization: Option<HeaderValue>,
    },
}

/// The connection was closed before the request, and nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before the request")]
pub struct Unsent;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<SdkBody>,
    to: Uri,
    route: Route,
}

impl Connection {
    /// A connection to the server of `to`, with its `sender`.
    #[must_use]
    pub fn new(sender: SendRequest<SdkBody>, to: Uri, route: Route) -> Self {
        Connection { sender, to, route }
    }

    /// The URI that the connection was opened for.
    #[must_use]
    pub fn to(&self) -> &Uri {
        &self.to
    }

    /// Whether it leads to the server of `uri`.
    #[must_use]
    pub fn leads_to(&self, uri: &Uri) -> bool {
        self.to.scheme() == uri.scheme() && self.to.authority() == uri.authority()
    }

    /// Waits until the previous answer is complete, and returns whether the connection can be used again.
    pub async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends `request` and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Unsent`], or an error after which the request may have arrived.
    pub async fn send(&mut self, mut request: Request<SdkBody>) -> Result<Response<Incoming>, BoxError> {
        if !self.leads_to(request.uri()) {
            return Err(Unsent.into());
        }
        let host = host(request.uri())?;
        request.headers_mut().entry(HOST).or_insert(host);
        match &self.route {
            Route::Straight => {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
            }
            Route::Forwarded { authorization: Some(authorization) } => {
                request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
            }
            Route::Forwarded { authorization: None } => {}
        }
        self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(_) => Unsent.into(),
            None => error.into_error().into(),
        })
    }
}

/// The host header, with a port unless it is the scheme's default: the form that is signed (SigV4, canonical headers).
fn host(uri: &Uri) -> Result<HeaderValue, BoxError> {
    let own = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let name = uri.host().ok_or("an address without a host")?;
    let host = match uri.port_u16().filter(|port| *port != own) {
        Some(port) => HeaderValue::try_from(format!("{name}:{port}")),
        None => HeaderValue::from_str(name),
    };
    Ok(host?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_the_port_that_is_not_the_schemes_own() {
        for (uri, expected) in [
            ("https://ec2.eu-west-1.amazonaws.com/", "ec2.eu-west-1.amazonaws.com"),
            ("https://localhost:443/", "localhost"),
            ("https://localhost:80/", "localhost:80"),
            ("http://127.0.0.1:80/?a=b", "127.0.0.1"),
            ("http://[::1]:4566/", "[::1]:4566"),
        ] {
            assert_eq!(host(&uri.parse().unwrap()).unwrap(), expected, "{uri}");
        }
    }
}
