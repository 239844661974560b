//! Asks the launcher: how the server is, and for a start.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use mc_broker_core::lobby::guest::Account;
use mc_broker_core::lobby::start::StartAnswer;
use mc_broker_core::server::status::{LONGEST, LauncherStatus};
use mc_http::Question;
use mc_service::small_file;
use rustix::fs::{Mode, stat};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::config::settings::KeyFile;

/// How long the launcher may take. It answers within 3 s, whatever AWS does.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest sentence of its that a player reads, in characters.
const LONGEST_WHY: usize = 300;
/// What this program calls itself.
pub const AGENT: &str = concat!("mc-broker/", env!("CARGO_PKG_VERSION"));

/// The launcher.
#[derive(Debug, Clone)]
pub struct Launcher {
    url: Uri,
    key: KeyFile,
}

impl Launcher {
    /// The one at `url`, with the key in a file that is read at each use: a new key needs no restart.
    #[must_use]
    pub fn new(url: Uri, key: KeyFile) -> Self {
        Launcher { url, key }
    }

    /// The key.
    ///
    /// # Errors
    /// It cannot be read, is empty, or others can read it as well.
    pub fn key(&self) -> Result<String, String> {
        let (path, is_credential) = match &self.key {
            KeyFile::Path(path) => (path.clone(), false),
            KeyFile::Credential(name) => credential(name),
        };
        let shown = path.display();
        let content = small_file::read(&path).map_err(|error| format!("the key in {shown} cannot be read: {error}"))?;
        if !is_credential {
            private(&path)?;
        }
        let key = String::from_utf8_lossy(&content).lines().next().unwrap_or_default().trim().to_owned();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("the first line of {shown} is no key"));
        }
        Ok(key)
    }

    /// How the server is.
    ///
    /// # Errors
    /// The launcher does not say; with the reason, as a sentence without its full stop.
    pub async fn status(&self) -> Result<LauncherStatus, String> {
        let answer = self.exchange(Method::GET, "/status", Vec::new()).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the launcher answers {}", answer.status().as_u16()));
        }
        LauncherStatus::parse(answer.body()).map_err(|_| "the launcher's answer makes no sense".to_owned())
    }

    /// Asks for a start in the name of `account`.
    pub async fn start(&self, account: &Account) -> StartAnswer {
        let body = json!({"by": account.name, "uuid": account.uuid}).to_string();
        match self.exchange(Method::POST, "/start", body.into_bytes()).await {
            Ok(answer) => start_answer(answer.status(), answer.body()),
            Err(why) => StartAnswer::NoAnswer(why),
        }
    }

    /// What it answers to a start in nobody's name, which starts nothing: whether it takes the key.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn try_key(&self) -> Result<StatusCode, String> {
        self.exchange(Method::POST, "/start", b"{}".to_vec()).await.map(|answer| answer.status())
    }

    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Response<Vec<u8>>, String> {
        let url = below(&self.url, path)?;
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.key()?)).map_err(|_| "the key is no text")?;
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let question = Question { method, url: &url, headers, body, longest: LONGEST };
        let permits = permits(&url);
        let answer = timeout(PATIENCE, Box::pin(mc_http::ask(question, permits))).await;
        answer
            .unwrap_or_else(|_| Err("does not answer in time".to_owned()))
            .map_err(|why| format!("the launcher cannot be reached: {why}"))
    }
}

/// `path` below `url`.
///
/// # Errors
/// That is no address.
pub fn below(url: &Uri, path: &str) -> Result<Uri, String> {
    format!("{}{path}", url.to_string().trim_end_matches('/')).parse().map_err(|_| format!("{url} is no address"))
}

/// Where a connection to `url` may lead: without TLS only to this machine.
pub fn permits(url: &Uri) -> impl Fn(IpAddr) -> bool + use<> {
    let secure = url.scheme_str() == Some("https");
    move |address| secure || address.is_loopback()
}

/// Where the unit finds a credential, and whether that is one: outside of the unit it is where the unit takes it from, so that
/// `mc-broker check` can be run by hand.
fn credential(name: &str) -> (PathBuf, bool) {
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(folder) => (Path::new(&folder).join(name), true),
        None => (Path::new("/etc/mc-broker").join(name), false),
    }
}

/// Refuses a file that others can read.
fn private(path: &Path) -> Result<(), String> {
    let stat = stat(path).map_err(|error| format!("the key in {} cannot be read: {error}", path.display()))?;
    let others = Mode::from_raw_mode(stat.st_mode) & (Mode::RWXG | Mode::RWXO);
    if others.is_empty() {
        Ok(())
    } else {
        Err(format!("others can read the key in {0}: chmod 600 {0}", path.display()))
    }
}

/// What the launcher's answer to a start means. The launcher gives a reason with each refusal; without one it is of something in
/// front of it, such as AWS throttling the function, and says nothing about the player or the server.
fn start_answer(status: StatusCode, body: &[u8]) -> StartAnswer {
    let why = serde_json::from_slice::<Value>(body).ok().and_then(|body| Some(body.get("why")?.as_str()?.to_owned()));
    let why: Option<String> = why.filter(|why| !why.is_empty()).map(|why| why.chars().take(LONGEST_WHY).collect());
    match (status.as_u16(), why) {
        (200 | 202, _) => StartAnswer::Accepted(LauncherStatus::parse(body).ok()),
        (401, Some(_)) => StartAnswer::KeyRefused,
        // The launcher has one code for both, and other words: a name, which can have these letters in it, has no spaces.
        (403, Some(why)) if why.contains(" key ") => StartAnswer::KeyRefused,
        (400 | 403, Some(_)) => StartAnswer::NotListed,
        (429, Some(why)) => StartAnswer::OverBudget(why),
        (503, Some(why)) => StartAnswer::NotStarted(why),
        (other, _) => StartAnswer::NoAnswer(format!("the launcher answers {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_answer_to_a_start_is_told_apart() {
        let of = |code, body: &str| start_answer(StatusCode::from_u16(code).unwrap(), body.as_bytes());
        assert!(matches!(of(202, r#"{"state":"starting"}"#), StartAnswer::Accepted(Some(_))));
        assert_eq!(of(200, "garbage"), StartAnswer::Accepted(None));
        assert_eq!(of(401, r#"{"why":"To start the server, open the invitation link."}"#), StartAnswer::KeyRefused);
        assert_eq!(of(403, r#"{"why":"This key is not valid any more."}"#), StartAnswer::KeyRefused);
        assert_eq!(
            of(403, r#"{"why":"Alex is not on the list of players who may start this server."}"#),
            StartAnswer::NotListed
        );
        let named = r#"{"why":"monkey is not on the list of players who may start this server."}"#;
        assert_eq!(of(403, named), StartAnswer::NotListed);
        assert_eq!(of(429, r#"{"why":"until Monday"}"#), StartAnswer::OverBudget("until Monday".to_owned()));
        assert_eq!(
            of(503, r#"{"why":"EC2 has no capacity"}"#),
            StartAnswer::NotStarted("EC2 has no capacity".to_owned())
        );
        for other in [301, 400, 401, 403, 404, 429, 500, 502, 503] {
            for body in ["", "<html>", r#"{"message":"Too Many Requests"}"#, r#"{"why":""}"#] {
                assert!(matches!(of(other, body), StartAnswer::NoAnswer(_)), "{other} {body}");
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker-key");
        fs::write(&path, "0123456789abcdef\n").unwrap();
        let launcher = Launcher::new(Uri::default(), KeyFile::Path(path.clone()));
        let chmod = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chmod(0o600);
        assert_eq!(launcher.key().as_deref(), Ok("0123456789abcdef"));
        for mode in [0o640, 0o604, 0o660] {
            chmod(mode);
            assert!(launcher.key().unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        chmod(0o600);
        for content in ["", "\n", "two words"] {
            fs::write(&path, content).unwrap();
            assert!(launcher.key().is_err(), "{content:?}");
        }
    }
}
