//! Asks the session server whether somebody has logged in here (minecraft.wiki, "Java Edition protocol/Encryption",
//! authentication): a few at once, and each within bounds.

use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use mc_broker_core::connection::Vouched;
use mc_broker_core::lobby::guest::Account;
use mc_http::Question;
use mc_players::{Name, Uuid};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::launcher::{AGENT, below, permits};

/// How many are asked about at once.
const AT_ONCE: usize = 8;
/// How long one answer may take, and how long somebody waits for his turn.
const PATIENCE: Duration = Duration::from_secs(5);
const TURN: Duration = Duration::from_secs(15);
/// The longest answer, in bytes: it has pictures in it.
const LONGEST: usize = 64 * 1024;

/// What is encoded of a name: all but what nearly every name is made of.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_');

/// The session server.
#[derive(Debug)]
pub struct SessionServer {
    url: Uri,
    turns: Semaphore,
}

#[derive(Deserialize)]
struct Profile {
    id: String,
    name: String,
}

impl SessionServer {
    /// The one at `url`.
    #[must_use]
    pub fn new(url: Uri) -> Self {
        SessionServer { url, turns: Semaphore::new(AT_ONCE) }
    }

    /// Whether the account called `name` has logged in with this hash.
    pub async fn vouches_for(&self, name: &str, hash: &str) -> Vouched {
        let Ok(Ok(_turn)) = timeout(TURN, self.turns.acquire()).await else { return Vouched::Busy };
        match timeout(PATIENCE, Box::pin(self.ask(name, hash))).await {
            Err(_) => Vouched::Unknown("the session server does not answer in time".to_owned()),
            Ok(Err(why)) => Vouched::Unknown(format!("the session server cannot be reached: {why}")),
            Ok(Ok(vouched)) => vouched,
        }
    }

    async fn ask(&self, name: &str, hash: &str) -> Result<Vouched, String> {
        let text = self.url.to_string();
        let path = if text.ends_with("/hasJoined") { "" } else { "/session/minecraft/hasJoined" };
        let name_in_url = utf8_percent_encode(name, ENCODED);
        let url = below(&self.url, &format!("{path}?username={name_in_url}&serverId={hash}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let question = Question { method: Method::GET, url: &url, headers, body: Vec::new(), longest: LONGEST };
        let answer = mc_http::ask(question, permits(&url)).await?;
        Ok(vouched(answer.status(), answer.body(), name))
    }
}

/// What an answer about `name` means.
fn vouched(status: StatusCode, body: &[u8], name: &str) -> Vouched {
    match status {
        StatusCode::NO_CONTENT | StatusCode::FORBIDDEN => Vouched::ForNobody,
        StatusCode::OK if body.is_empty() => Vouched::ForNobody,
        StatusCode::OK => {
            let profile = serde_json::from_slice::<Profile>(body).ok();
            let account = profile.and_then(|profile| {
                let is_who = profile.name.eq_ignore_ascii_case(name);
                let known = Name::parse(&profile.name).zip(Uuid::parse(&profile.id)).filter(|_| is_who)?;
                Some(Account { name: known.0.to_string(), uuid: known.1.to_string() })
            });
            account
                .map_or_else(|| Vouched::Unknown("the session server's answer makes no sense".to_owned()), Vouched::For)
        }
        other => Vouched::Unknown(format!("the session server answers {}", other.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_about_this_player_vouches_for_him() {
        let of = |code, body: &str| vouched(StatusCode::from_u16(code).unwrap(), body.as_bytes(), "alex");
        let alex = r#"{"id":"ec561538f3fd461daff5086b22154bce","name":"Alex","properties":[{"name":"textures"}]}"#;
        assert!(matches!(of(200, alex), Vouched::For(account) if account.name == "Alex"));
        assert_eq!(
            (of(204, ""), of(200, ""), of(403, "{}")),
            (Vouched::ForNobody, Vouched::ForNobody, Vouched::ForNobody)
        );
        for garbage in
            ["{", "[]", r#"{"id":"x","name":"Alex"}"#, r#"{"id":"ec561538f3fd461daff5086b22154bce","name":"Steve"}"#]
        {
            assert!(matches!(of(200, garbage), Vouched::Unknown(_)), "{garbage}");
        }
        assert!(matches!(of(500, ""), Vouched::Unknown(_)) && matches!(of(429, alex), Vouched::Unknown(_)));
    }
}
