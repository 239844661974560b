//! What goes back to whoever has sent a request. Pure.

use serde_json::{Value, json};

use crate::server::status::Status;
use crate::web::access::COOKIE;
use crate::web::page::{self, Viewer};
use crate::web::request::Denied;

/// How long a browser keeps the cookie, in seconds: a year. It ends sooner with the key that it is made of.
const COOKIE_LIVES: u32 = 31_536_000;

/// An answer. Names of headers are in lower case.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Response {
    fn new(status: u16, kind: &str, body: String) -> Self {
        let mut headers = page::headers();
        headers.push(("content-type", kind.to_owned()));
        Response { status, headers, body }
    }

    /// One sentence, for a person.
    #[must_use]
    pub fn sentence(status: u16, sentence: &str) -> Self {
        Response::new(status, "text/html; charset=utf-8", page::sentence(sentence))
    }

    /// One sentence, for a program.
    #[must_use]
    pub fn why(status: u16, why: &str) -> Self {
        Response::new(status, "application/json", json!({ "why": why }).to_string())
    }

    /// The status, as far as `viewer` may see it.
    #[must_use]
    pub fn status(code: u16, status: Status, viewer: Viewer) -> Self {
        let status = seen_by(status, viewer);
        // Nothing in it can fail to be written.
        Response::new(code, "application/json", serde_json::to_string(&status).unwrap_or_default())
    }

    /// The page, as far as `viewer` may see it, with what became of a press of the button.
    #[must_use]
    pub fn page(code: u16, server: &str, status: Status, viewer: Viewer, notice: Option<&str>) -> Self {
        let page = page::page(server, &seen_by(status, viewer), viewer, notice);
        Response::new(code, "text/html; charset=utf-8", page)
    }

    /// To the page, by GET.
    #[must_use]
    pub fn to_page() -> Self {
        let mut response = Response::new(303, "text/plain; charset=utf-8", String::new());
        response.headers.push(("location", "/".to_owned()));
        response
    }

    /// To the page, with the cookie of somebody who has shown the key.
    #[must_use]
    pub fn welcome(cookie: &str) -> Self {
        let mut response = Response::to_page();
        let cookie = format!("{COOKIE}={cookie}; Path=/; Max-Age={COOKIE_LIVES}; Secure; HttpOnly; SameSite=Lax");
        response.headers.push(("set-cookie", cookie));
        response
    }

    /// What there is no way to, or no such way.
    #[must_use]
    pub fn refused(status: u16) -> Self {
        Response::sentence(
            status,
            match status {
                405 => "Not like this.",
                413 => "The request is too large.",
                414 => "The address is too long.",
                _ => "There is nothing here.",
            },
        )
    }

    /// A start that is refused before anything is looked at.
    #[must_use]
    pub fn denied(denied: Denied, is_form: bool) -> Self {
        let why = match denied {
            Denied::NoKey => "To start the server, open the invitation link that its owner sent you.",
            Denied::WrongKey => "This key is not valid any more. Ask the server's owner for a new invitation link.",
            Denied::WrongOrigin => "The server can be started from its own page only.",
            Denied::NoPlayer => "A broker has to say which player it asks for: by, and uuid.",
        };
        let answer = if is_form { Response::sentence } else { Response::why };
        answer(denied.status(), why)
    }

    /// The same without its body, for HEAD.
    #[must_use]
    pub fn without_body(self) -> Self {
        Response { body: String::new(), ..self }
    }

    /// The answer of a function to Lambda's HTTP payload 2.0 (AWS Lambda developer guide, invoking function URLs).
    #[must_use]
    pub fn for_lambda(&self) -> Value {
        let cookies: Vec<&str> = self.named("set-cookie").collect();
        let headers = self.headers.iter().filter(|(name, _)| *name != "set-cookie");
        let headers: serde_json::Map<String, Value> =
            headers.map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
        json!({
            "statusCode": self.status, "headers": headers, "cookies": cookies, "body": self.body, "isBase64Encoded": false,
        })
    }

    /// The values of a header.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

fn seen_by(status: Status, viewer: Viewer) -> Status {
    match viewer {
        Viewer::Friend => status,
        Viewer::Stranger => status.without_secrets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_goes_to_lambda_apart_from_the_headers() {
        let value = Response::welcome("0123").for_lambda();
        assert_eq!((&value["statusCode"], &value["headers"]["location"]), (&json!(303), &json!("/")));
        let cookie = value["cookies"][0].as_str().unwrap();
        assert!(
            cookie.starts_with("__Host-mc-launcher=0123; Path=/; ")
                && cookie.contains("; Secure; HttpOnly; SameSite=Lax")
        );
        assert!(value["headers"].get("set-cookie").is_none());
    }

    #[test]
    fn nothing_that_is_sent_is_kept_by_anybody_or_tells_where_it_came_from() {
        for response in [Response::refused(404), Response::why(503, ""), Response::to_page(), Response::welcome("")] {
            assert!(response.named("cache-control").eq(["no-store"]));
            assert!(response.named("referrer-policy").eq(["same-origin"]));
        }
    }
}
