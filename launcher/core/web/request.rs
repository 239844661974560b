//! What a request asks for, and whether whoever sends it may. Pure. Only POST changes anything.

use std::borrow::Cow;
use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use mc_players::{Name, Uuid};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::web::access::{COOKIE, Keys};

/// The longest body that is read.
pub const LONGEST_BODY: usize = 4096;
/// The longest path that is looked at.
const LONGEST_PATH: usize = 1024;

/// A request, as far as anybody needs to know it. Names of headers are in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// As it was sent, without the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether a browser sends it for a form, and shows what comes back.
    #[must_use]
    pub fn is_form(&self) -> bool {
        // What a form can be encoded as (HTML standard, form submission).
        let kinds = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
        self.header("content-type").is_some_and(|kind| kinds.iter().any(|form| kind.starts_with(form)))
    }

    /// The values of a cookie: a browser may send two of one name.
    fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let headers = self.headers.iter().filter(|(other, _)| other == "cookie");
        let pairs = headers.flat_map(|(_, value)| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The page.
    Page,
    /// The invitation: the key is to become a cookie.
    Invitation(String),
    /// The state as JSON.
    Status,
    /// A start.
    Start,
    /// The status code of an answer to something else.
    Refused(u16),
}

/// What `request` asks for.
#[must_use]
pub fn route(request: &Request) -> Route {
    if request.path.len() > LONGEST_PATH {
        return Route::Refused(414);
    }
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    match request.path.as_str() {
        "/" if reads => Route::Page,
        "/status" if reads => Route::Status,
        "/start" if request.method == "POST" => {
            if request.body.len() > LONGEST_BODY {
                Route::Refused(413)
            } else {
                Route::Start
            }
        }
        "/" | "/status" | "/start" => Route::Refused(405),
        path => match path.strip_prefix("/i/").and_then(decoded) {
            Some(_) if !reads => Route::Refused(405),
            Some(key) => Route::Invitation(key.into_owned()),
            None => Route::Refused(404),
        },
    }
}

/// A segment of a path without its percent signs; `None`: it holds something that no key has.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let plain = percent_decode_str(segment).decode_utf8().ok()?;
    let is_key = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    is_key.then_some(plain)
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a key: may look at what is no secret.
    Nobody,
    /// Somebody with a key, by cookie or header.
    Friend,
    /// The broker, for a player.
    Broker { by: Name, uuid: Uuid },
}

/// Why a start is refused before anything is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no key in the request.
    NoKey,
    /// The key is wrong.
    WrongKey,
    /// A form of another site.
    WrongOrigin,
    /// The broker does not say for whom.
    NoPlayer,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Denied::NoKey => "no key",
            Denied::WrongKey => "wrong key",
            Denied::WrongOrigin => "another origin",
            Denied::NoPlayer => "no player named",
        })
    }
}

impl Denied {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Denied::NoKey => 401,
            Denied::WrongKey | Denied::WrongOrigin => 403,
            Denied::NoPlayer => 400,
        }
    }
}

/// The keys that are valid now; `None`: the parameter is absent, and nobody has one.
#[derive(Debug, Clone)]
pub struct KeyRing {
    pub key: Option<Keys>,
    pub broker_key: Option<Keys>,
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Whether whoever sends `request` may see names and addresses.
#[must_use]
pub fn may_see(request: &Request, ring: &KeyRing) -> bool {
    let by_header = bearer(request).is_some_and(|token| {
        [&ring.key, &ring.broker_key].into_iter().flatten().filter(|keys| keys.has(token)).count() > 0
    });
    by_header || has_cookie(request, ring)
}

fn has_cookie(request: &Request, ring: &KeyRing) -> bool {
    ring.key.as_ref().is_some_and(|keys| request.cookies(COOKIE).any(|cookie| keys.has_made(cookie)))
}

/// Who wants to start the server. `own` is the origin of the page itself, `https://` and its host.
///
/// # Errors
/// It is refused.
pub fn starter(request: &Request, ring: &KeyRing, own: &str) -> Result<Caller, Denied> {
    if let Some(token) = bearer(request) {
        if ring.broker_key.as_ref().is_some_and(|keys| keys.has(token)) {
            return player(&request.body).map(|(by, uuid)| Caller::Broker { by, uuid }).ok_or(Denied::NoPlayer);
        }
        let is_friend = ring.key.as_ref().is_some_and(|keys| keys.has(token));
        return if is_friend { Ok(Caller::Friend) } else { Err(Denied::WrongKey) };
    }
    if request.cookies(COOKIE).next().is_none() {
        return Err(Denied::NoKey);
    }
    if !has_cookie(request, ring) {
        return Err(Denied::WrongKey);
    }
    // A browser says where a form comes from (Fetch standard, the Origin header); whoever leaves it out is no browser.
    let is_own = request.header("origin").is_some_and(|origin| origin.eq_ignore_ascii_case(own));
    if is_own { Ok(Caller::Friend) } else { Err(Denied::WrongOrigin) }
}

/// The player in the broker's body: `{"by": NAME, "uuid": UUID}`.
fn player(body: &[u8]) -> Option<(Name, Uuid)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some((Name::parse(body.get("by")?.as_str()?)?, Uuid::parse(body.get("uuid")?.as_str()?)?))
}

/// The request in an event of Lambda's HTTP payload 2.0 (AWS Lambda developer guide); `None`: it is no such event.
#[must_use]
pub fn of_event(event: &Value) -> Option<Request> {
    let http = event.get("requestContext")?.get("http")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut headers: Vec<(String, String)> = event
        .get("headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), text(value)?)))
        .collect();
    let cookies = event.get("cookies").and_then(Value::as_array).into_iter().flatten();
    headers.extend(cookies.filter_map(|cookie| Some(("cookie".to_owned(), text(cookie)?))));
    let body = event.get("body").and_then(Value::as_str).unwrap_or_default();
    let is_base64 = event.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
    Some(Request {
        method: text(http.get("method")?)?,
        path: text(event.get("rawPath").or_else(|| http.get("path"))?)?,
        headers,
        // Nothing that this launcher takes is binary: a body in base64 that is none is an empty one.
        body: if is_base64 { BASE64_STANDARD.decode(body).unwrap_or_default() } else { body.as_bytes().to_vec() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "correct-horse-battery";
    const BROKER: &str = "broker-key-0123456789";
    const OWN: &str = "https://mc.example.org";

    fn ring() -> KeyRing {
        KeyRing { key: Keys::parse(KEY), broker_key: Keys::parse(BROKER) }
    }

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { method: method.to_owned(), path: path.to_owned(), headers, body: Vec::new() }
    }

    fn start(headers: &[(&str, &str)]) -> Result<Caller, Denied> {
        starter(&request("POST", "/start", headers), &ring(), OWN)
    }

    #[test]
    fn only_a_post_starts_anything() {
        let route = |method, path| route(&request(method, path, &[]));
        assert_eq!([route("GET", "/"), route("HEAD", "/")], [Route::Page, Route::Page]);
        assert_eq!(route("GET", "/status"), Route::Status);
        assert_eq!(route("POST", "/start"), Route::Start);
        for method in ["GET", "HEAD", "PUT", "OPTIONS", "post", ""] {
            assert_eq!(route(method, "/start"), Route::Refused(405), "{method}");
        }
        assert_eq!(route("POST", "/"), Route::Refused(405));
        for path in ["", "/start/", "//start", "/../start", "/Start", "/start%20", "/i", "/i/", "/favicon.ico"] {
            assert_eq!(route("POST", path), Route::Refused(404), "{path}");
        }
    }

    #[test]
    fn an_invitation_carries_a_key_and_nothing_else() {
        let route = |path| route(&request("GET", path, &[]));
        assert_eq!(route("/i/correct-horse"), Route::Invitation("correct-horse".to_owned()));
        assert_eq!(route("/i/a%2Bb"), Route::Invitation("a+b".to_owned()));
        for path in ["/i/a/b", "/i/a%2Fb", "/i/a%0ab", "/i/a b", "/i/%ff", "/i/%00", "/i/\u{202e}"] {
            assert_eq!(route(path), Route::Refused(404), "{path}");
        }
        assert_eq!(super::route(&request("POST", "/i/key", &[])), Route::Refused(405));
        assert_eq!(route(&format!("/i/{}", "k".repeat(2000))), Route::Refused(414));
    }

    #[test]
    fn a_friend_has_the_key_or_a_cookie_and_a_form_of_this_page() {
        let cookie = format!("a=b; {COOKIE}={}; c=d", Keys::parse(KEY).unwrap().cookie());
        let bearer = format!("Bearer {KEY}");
        assert_eq!(start(&[("authorization", &bearer)]), Ok(Caller::Friend));
        assert_eq!(start(&[("cookie", &cookie), ("origin", OWN)]), Ok(Caller::Friend));
        for origin in
            ["https://evil.example", "https://mc.example.org.evil.example", "null", "http://mc.example.org", ""]
        {
            assert_eq!(start(&[("cookie", &cookie), ("origin", origin)]), Err(Denied::WrongOrigin), "{origin}");
        }
        assert_eq!(start(&[("cookie", &cookie)]), Err(Denied::WrongOrigin));
        assert_eq!(start(&[("origin", OWN)]), Err(Denied::NoKey));
        assert_eq!(start(&[("cookie", "a=b"), ("origin", OWN)]), Err(Denied::NoKey));
        let wrong = format!("{COOKIE}={}", "0".repeat(64));
        assert_eq!(start(&[("cookie", &wrong), ("origin", OWN)]), Err(Denied::WrongKey));
        for token in ["Bearer wrong", "Bearer ", "bearer correct-horse-batter"] {
            assert_eq!(start(&[("authorization", token)]), Err(Denied::WrongKey), "{token}");
        }
        assert_eq!(start(&[("authorization", &format!("Basic {KEY}"))]), Err(Denied::NoKey));
        assert_eq!([Denied::NoKey, Denied::WrongKey, Denied::WrongOrigin].map(Denied::status), [401, 403, 403]);
    }

    #[test]
    fn the_broker_says_for_whom() {
        let bearer = format!("Bearer {BROKER}");
        let with = |body: &str| {
            let request =
                Request { body: body.as_bytes().to_vec(), ..request("POST", "/start", &[("authorization", &bearer)]) };
            starter(&request, &ring(), OWN)
        };
        let body = json!({"by": "Alex", "uuid": "ec561538-f3fd-461d-aff5-086b22154bce"}).to_string();
        assert!(matches!(with(&body), Ok(Caller::Broker { by, .. }) if by == Name::parse("alex").unwrap()));
        for body in ["", "{}", "[]", r#"{"by":"Alex"}"#, r#"{"by":"A lex","uuid":"0"}"#, r#"{"by":1,"uuid":2}"#] {
            assert_eq!(with(body), Err(Denied::NoPlayer), "{body}");
        }
        // Nobody else may speak for a player.
        let friend = format!("Bearer {KEY}");
        let request = Request { body: body.into_bytes(), ..request("POST", "/start", &[("authorization", &friend)]) };
        assert_eq!(starter(&request, &ring(), OWN), Ok(Caller::Friend));
    }

    #[test]
    fn without_a_key_in_ssm_nobody_has_one() {
        let empty = KeyRing { key: None, broker_key: None };
        let cookie = format!("{COOKIE}={}", Keys::parse(KEY).unwrap().cookie());
        for headers in [[("authorization", "Bearer "), ("origin", OWN)], [("cookie", cookie.as_str()), ("origin", OWN)]]
        {
            let request = request("POST", "/start", &headers);
            assert_eq!(starter(&request, &empty, OWN), Err(Denied::WrongKey));
            assert!(!may_see(&request, &empty));
        }
    }

    #[test]
    fn names_and_addresses_are_for_whoever_has_a_key() {
        let see = |name: &str, value: &str| may_see(&request("GET", "/status", &[(name, value)]), &ring());
        assert!(see("authorization", &format!("Bearer {KEY}")) && see("authorization", &format!("Bearer {BROKER}")));
        assert!(see("cookie", &format!("{COOKIE}={}", Keys::parse(KEY).unwrap().cookie())));
        assert!(!see("authorization", "Bearer wrong") && !see("cookie", COOKIE) && !see("x", "y"));
    }

    #[test]
    fn an_event_of_lambda_is_a_request() {
        let event = json!({
            "version": "2.0", "rawPath": "/start", "headers": {"Origin": OWN, "x-forwarded-for": "198.51.100.7"},
            "cookies": ["a=b", "c=d"], "body": "eyJieSI6IkFsZXgifQ==", "isBase64Encoded": true,
            "requestContext": {"http": {"method": "POST", "path": "/start"}},
        });
        let request = of_event(&event).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/start"));
        assert_eq!(request.header("origin"), Some(OWN));
        assert_eq!(request.cookies("c").collect::<Vec<_>>(), ["d"]);
        assert_eq!(request.body, br#"{"by":"Alex"}"#);
        for other in [json!({}), json!({"detail-type": "x"}), json!([]), json!({"requestContext": {"http": {}}})] {
            assert!(of_event(&other).is_none(), "{other}");
        }
    }
}
