//! A message by HTTP: to a webhook of Discord, or as plain text, and only to addresses that are allowed.

use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Uri};
use mc_http::Question;
use serde_json::json;

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

/// Sends `body` to `url`.
///
/// # Errors
/// It is not taken there.
pub async fn send(url: &Uri, body: &Body, reach: Reach, deadline: Deadline) -> Result<(), Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("mc-launcher/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(body.kind));
    let question = Question { method: Method::POST, url, headers, body: body.bytes.clone(), longest: LONGEST };
    let answer = deadline.limit("it", mc_http::ask(question, |address| reach.permits(address))).await;
    let answer = answer.unwrap_or_else(Err).map_err(Refusal::passing)?;
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    // The status says it all, but for how long to wait.
    match Refusal::of_answer(answer.status().as_u16(), retry_after, answer.body()) {
        None => Ok(()),
        Some(refusal) => Err(refusal),
    }
}
