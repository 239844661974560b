//! A launcher and a session server, over HTTP. Fakes: they can be put into every state at once. The real launcher is in
//! `join.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::support::http::serve;

pub(crate) const BROKER_KEY: &str = "broker-key-0123456789";

/// What the launcher answers to a start.
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// 202, and the server is in the state that follows.
    Accept(Value),
    /// This code and reason.
    Refuse(u16, String),
    /// 200 with this body.
    Garbage(String),
    /// This code and body, of something in front of the launcher.
    InFront(u16, &'static str),
}

#[derive(Debug)]
pub(crate) struct LauncherState {
    /// What `/status` says; `None`: nothing, ever.
    pub status: Option<Value>,
    pub start: Start,
    /// For whom a start was asked.
    pub starts: Vec<String>,
    /// How often the status was asked for.
    pub looks: usize,
    /// Who may start the server; `None`: everybody.
    pub list: Option<Vec<String>>,
}

/// A launcher.
#[derive(Clone)]
pub(crate) struct Launcher {
    pub port: u16,
    state: Arc<Mutex<LauncherState>>,
}

/// A status.
pub(crate) fn status(state: &str, host: Option<(&str, u16)>) -> Value {
    let (v4, port) = host.map_or((None, 25565), |(v4, port)| (Some(v4), port));
    let host = v4.map(|v4| json!({"v4": v4, "v6": null}));
    json!({
        "state": state, "address": null, "port": port, "host": host, "players": 0, "online": null, "names": null,
        "last_player_at": null, "stop_at": null, "why": format!("The server is {state}."), "since": null,
        "cost_usd": null, "at": "2026-11-30T06:00:00Z",
    })
}

impl Launcher {
    /// One whose server is in `state`; a start makes it `starting`.
    pub(crate) fn start(state: Value) -> Self {
        let state = LauncherState {
            status: Some(state),
            start: Start::Accept(status("starting", None)),
            starts: Vec::new(),
            looks: 0,
            list: None,
        };
        let state = Arc::new(Mutex::new(state));
        let launcher = Launcher { port: 0, state: Arc::clone(&state) };
        let serving = launcher.clone();
        let port = serve(move |head, body| serving.answer(head, body));
        Launcher { port, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, LauncherState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the server is like this.
    pub(crate) fn set(&self, status: Value) {
        self.state().status = Some(status);
    }

    /// From now on a start is answered like this.
    pub(crate) fn answer_starts(&self, start: Start) {
        self.state().start = start;
    }

    pub(crate) fn starts(&self) -> Vec<String> {
        self.state().starts.clone()
    }

    fn answer(&self, head: &str, body: &str) -> Option<(u16, String)> {
        let mut state = self.state();
        let has_key = head.to_ascii_lowercase().contains(&format!("authorization: bearer {BROKER_KEY}"));
        if head.starts_with("GET /status ") {
            state.looks += 1;
            let mut status = state.status.clone()?;
            if !has_key && let Some(status) = status.as_object_mut() {
                status.insert("host".to_owned(), Value::Null);
            }
            return Some((200, status.as_str().map_or_else(|| status.to_string(), str::to_owned)));
        }
        assert!(head.starts_with("POST /start "), "{head}");
        if !has_key {
            return Some((403, json!({"why": "This key is not valid any more."}).to_string()));
        }
        let body: Value = serde_json::from_str(body).unwrap();
        let Some((name, uuid)) = body["by"].as_str().zip(body["uuid"].as_str()) else {
            return Some((400, json!({"why": "A broker has to say which player it asks for."}).to_string()));
        };
        assert_eq!(uuid.len(), 32, "{uuid}");
        state.starts.push(name.to_owned());
        if state.list.as_ref().is_some_and(|list| !list.iter().any(|listed| listed == name)) {
            let why = format!("{name} is not on the list of players who may start this server.");
            return Some((403, json!({ "why": why }).to_string()));
        }
        match state.start.clone() {
            Start::Accept(next) => {
                if state.status.as_ref().is_some_and(|status| status["state"] == "asleep") {
                    state.status = Some(next);
                }
                Some((202, state.status.clone()?.to_string()))
            }
            Start::Refuse(code, why) => Some((code, json!({"state": "asleep", "why": why}).to_string())),
            Start::Garbage(text) => Some((200, text)),
            Start::InFront(code, body) => Some((code, body.to_owned())),
        }
    }
}

/// What the session server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    /// Accepts, and says nothing.
    Hangs,
    /// 503.
    Down,
}

/// A session server: whoever has joined by it is vouched for once.
#[derive(Clone)]
pub(crate) struct SessionServer {
    pub port: u16,
    joined: Arc<Mutex<BTreeMap<(String, String), String>>>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The UUID that a client of the tests says it has.
pub(crate) fn uuid_of(name: &str) -> String {
    name.bytes()
        .fold(String::new(), |uuid, byte| uuid + &format!("{byte:02x}"))
        .chars()
        .chain("0".repeat(32).chars())
        .take(32)
        .collect()
}

impl SessionServer {
    pub(crate) fn start() -> Self {
        let server = SessionServer {
            port: 0,
            joined: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Fine)),
            asked: Arc::default(),
        };
        let serving = server.clone();
        let port = serve(move |head, body| serving.answer(head, body));
        SessionServer { port, ..server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    /// How often it was asked about somebody.
    pub(crate) fn asked(&self) -> usize {
        *lock(&self.asked)
    }

    /// `name` has logged in with this hash.
    pub(crate) fn joined(&self, name: &str, hash: &str) {
        lock(&self.joined).insert((name.to_owned(), hash.to_owned()), uuid_of(name));
    }

    fn answer(&self, head: &str, body: &str) -> Option<(u16, String)> {
        let path = head.split(' ').nth(1).unwrap();
        if path == "/session/minecraft/join" {
            let body: Value = serde_json::from_str(body).unwrap();
            // The name is known by the token, as the lab's clients have it.
            let hash = body["serverId"].as_str().unwrap().to_owned();
            let profile = body["selectedProfile"].as_str().unwrap().to_owned();
            lock(&self.joined).insert((String::new(), hash), profile);
            return Some((204, String::new()));
        }
        *lock(&self.asked) += 1;
        match *lock(&self.mood) {
            Mood::Fine => {}
            Mood::Hangs => return None,
            Mood::Down => return Some((503, String::new())),
        }
        let query = path.strip_prefix("/session/minecraft/hasJoined?").unwrap();
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap().to_owned();
        let (name, hash) = (value("username="), value("serverId="));
        let mut joined = lock(&self.joined);
        let id = joined.remove(&(name.clone(), hash.clone())).or_else(|| joined.remove(&(String::new(), hash)));
        Some(match id {
            Some(id) => (200, json!({"id": id, "name": name, "properties": []}).to_string()),
            None => (204, String::new()),
        })
    }
}
