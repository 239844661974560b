//! A message by mail.

use std::net::IpAddr;

use http::Uri;
use lettre::message::Mailbox as Person;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use percent_encoding::percent_decode_str;

use crate::deadline::Deadline;
use crate::tell::{Message, PATIENCE};
use mc_launcher_core::tell::address::Reach;
use mc_launcher_core::tell::channel::Mailbox;
use mc_launcher_core::tell::refusal::Refusal;

/// Sends `message` to everybody in `mailbox`.
///
/// # Errors
/// The server does not take it.
pub async fn send(mailbox: &Mailbox, message: Message<'_>, reach: Reach, deadline: Deadline) -> Result<(), Refusal> {
    let mail = mail(mailbox, message).map_err(Refusal::lasting)?;
    let server = Server::parse(&mailbox.url, reach).map_err(Refusal::lasting)?;
    // What its name leads to is looked at before the mail goes there, and to nothing else.
    let reached =
        deadline.limit("it", mc_http::connect(&server.host, server.port, |address| reach.permits(address))).await;
    let address = reached.unwrap_or_else(Err).and_then(|stream| stream.peer_addr().map_err(|error| error.to_string()));
    let transport = server.transport(address.map_err(Refusal::passing)?.ip()).map_err(Refusal::lasting)?;
    match deadline.limit("it", transport.send(mail)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            let why = error
                .status()
                .map_or_else(|| "no conversation with it".to_owned(), |code| format!("it answered {code}"));
            Err(Refusal { why, lasting: error.is_permanent(), retry_after: None })
        }
        Err(why) => Err(Refusal::passing(why)),
    }
}

fn mail(mailbox: &Mailbox, message: Message<'_>) -> Result<Mail, String> {
    let person = |text: &str| text.parse::<Person>().map_err(|_| "from or to is no mail address".to_owned());
    let mut mail = Mail::builder()
        .from(person(&mailbox.from)?)
        .subject(format!("Minecraft server {}", message.server))
        .header(ContentType::TEXT_PLAIN);
    for to in &mailbox.to {
        mail = mail.to(person(to)?);
    }
    mail.body(message.text.to_owned()).map_err(|_| "there is nobody to send it to".to_owned())
}

/// A mail server, and how to speak with it.
struct Server {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq)]
enum Security {
    /// TLS from the beginning (RFC 8314).
    Implicit,
    /// STARTTLS, and nothing without it.
    StartTls,
    None,
}

impl Server {
    fn parse(url: &str, reach: Reach) -> Result<Self, String> {
        let wrong = || "url of smtp is not smtps://USER:PASSWORD@HOST or smtp://USER:PASSWORD@HOST".to_owned();
        let url: Uri = url.parse().map_err(|_| wrong())?;
        let host = url.host().ok_or_else(wrong)?.to_owned();
        let (security, port) = match url.scheme_str() {
            Some("smtps") => (Security::Implicit, 465),
            Some("smtp") if reach.permits_plain(&host) => (Security::None, 25),
            Some("smtp") => (Security::StartTls, 587),
            _ => return Err(wrong()),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = url.authority().and_then(|authority| authority.as_str().rsplit_once('@')).map(|(user, _)| user);
        let credentials = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            Credentials::new(decoded(name), decoded(password))
        });
        Ok(Server { port: url.port_u16().unwrap_or(port), host, security, credentials })
    }

    fn transport(self, address: IpAddr) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let tls = TlsParameters::new(self.host).map_err(|_| "no TLS with a server of this name".to_owned())?;
        let tls = match self.security {
            Security::Implicit => Tls::Wrapper(tls),
            Security::StartTls => Tls::Required(tls),
            Security::None => Tls::None,
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string());
        let transport = transport.port(self.port).tls(tls).timeout(Some(PATIENCE));
        Ok(match self.credentials {
            Some(credentials) => transport.credentials(credentials).build(),
            None => transport.build(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_out_without_tls_but_to_this_machine() {
        let server =
            |url, reach| Server::parse(url, reach).map(|server| (server.security == Security::None, server.port));
        assert_eq!(server("smtps://u:p@mail.example.org", Reach::Public), Ok((false, 465)));
        assert_eq!(server("smtp://u:p@mail.example.org", Reach::PublicAndLoopback), Ok((false, 587)));
        assert_eq!(server("smtp://127.0.0.1:2525", Reach::PublicAndLoopback), Ok((true, 2525)));
        assert_eq!(server("smtp://127.0.0.1:2525", Reach::Public), Ok((false, 2525)));
        for wrong in ["", "mail.example.org", "http://mail.example.org", "smtp:///x"] {
            assert!(Server::parse(wrong, Reach::Public).is_err(), "{wrong}");
        }
    }

    #[test]
    fn user_and_password_may_have_any_letters() {
        let server = Server::parse("smtps://me%40example.org:p%3A%2Fw@mail.example.org", Reach::Public).unwrap();
        assert_eq!(server.credentials, Some(Credentials::new("me@example.org".to_owned(), "p:/w".to_owned())));
    }
}
