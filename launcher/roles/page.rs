//! The page's role: requests in, responses out. It answers within [`ANSWERS_WITHIN`], whatever EC2 and SSM do.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::aws::Aws;
use crate::aws::parameters::Parameters;
use crate::clock;
use crate::deadline::Deadline;
use crate::roles::look::{Look, look};
use crate::roles::press::Press;
use mc_launcher_core::server::status::Status;
use mc_launcher_core::server::usage::{Asked, Usage};
use mc_launcher_core::settings::Settings;
use mc_launcher_core::start::outcome::Outcome;
use mc_launcher_core::start::wish::Player;
use mc_launcher_core::web::access::Keys;
use mc_launcher_core::web::page::Viewer;
use mc_launcher_core::web::request::{Caller, KeyRing, Request, Route, may_see, route, starter};
use mc_launcher_core::web::response::Response;
use mc_players::Allow;

/// A browser, a chat program or a broker gets its answer within this time.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// What is left of it for everything but EC2 and SSM.
const SPARE: Duration = Duration::from_millis(400);
/// What a look may take, so that something is left for the start itself.
const LOOKS: Duration = Duration::from_millis(1300);
/// Keys are kept for this long, and not read again.
const KEYS_LIVE: Duration = Duration::from_mins(5);
/// A look is shared by everybody who asks within this time after it.
const SHARED_BY_STRANGERS: Duration = Duration::from_secs(5);
const SHARED_BY_FRIENDS: Duration = Duration::from_secs(1);

/// The page's role.
#[derive(Debug)]
pub struct PageRole {
    settings: Settings,
    aws: Aws,
    /// Whether a host is reached without TLS.
    plain_hosts: fn(&str) -> bool,
    keys: Mutex<Option<(Instant, KeyRing)>>,
    last: Mutex<Option<Shared>>,
    /// When a start was last asked for: what was seen before is out of date.
    started: std::sync::Mutex<Option<Instant>>,
}

/// A look that several may share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    ended: Instant,
    look: Look,
}

impl PageRole {
    /// For the server in `settings`. `plain_hosts` says which hosts are reached without TLS.
    #[must_use]
    pub fn new(settings: Settings, aws: Aws, plain_hosts: fn(&str) -> bool) -> Self {
        PageRole {
            settings,
            aws,
            plain_hosts,
            keys: Mutex::default(),
            last: Mutex::default(),
            started: std::sync::Mutex::default(),
        }
    }

    /// Before the first request, whose time is short.
    pub async fn prepare(&self) {
        self.aws.prepare().await;
    }

    /// The answer to `request`. `log` takes a line about what was done, without any key, path or cookie.
    pub async fn answer(&self, request: &Request, log: &(dyn Fn(&str) + Sync)) -> Response {
        let deadline = Deadline::after(ANSWERS_WITHIN.saturating_sub(SPARE));
        let response = match route(request) {
            Route::Refused(status) => Response::refused(status),
            Route::Invitation(key) => self.invitation(&key, deadline).await,
            Route::Page => {
                let (status, viewer) = self.status_for(request, deadline).await;
                Response::page(200, &self.settings.server, status, viewer, None)
            }
            Route::Status => {
                let (status, viewer) = self.status_for(request, deadline).await;
                Response::status(200, status, viewer)
            }
            Route::Start => self.start(request, deadline, log).await,
        };
        if request.method == "HEAD" { response.without_body() } else { response }
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters::new(&self.aws, &self.settings)
    }

    /// The keys that are valid now, or were at most [`KEYS_LIVE`] ago.
    async fn keys(&self, deadline: Deadline) -> Result<KeyRing, String> {
        let mut kept = deadline.limit("SSM", self.keys.lock()).await?;
        if let Some((_, ring)) = kept.as_ref().filter(|(read, _)| read.elapsed() < KEYS_LIVE) {
            return Ok(ring.clone());
        }
        let deadline = deadline.at_most(LOOKS);
        let parameters = self.parameters();
        let (key, broker_key) = tokio::join!(parameters.get("key", deadline), parameters.get("broker-key", deadline));
        let parsed = |name: &str, found: Option<_>| {
            let parse = |parameter: crate::aws::parameters::Parameter| {
                let keys = Keys::parse(&parameter.value);
                keys.ok_or_else(|| format!("the parameter {name} is not one or two lines of 16 to 256 characters each"))
            };
            found.map(parse).transpose()
        };
        let ring = KeyRing { key: parsed("key", key?)?, broker_key: parsed("broker-key", broker_key?)? };
        *kept = Some((clock::instant(), ring.clone()));
        Ok(ring)
    }

    async fn invitation(&self, key: &str, deadline: Deadline) -> Response {
        match self.keys(deadline).await {
            Err(why) => Response::sentence(503, &format!("The key cannot be checked: {why}.")),
            Ok(KeyRing { key: Some(keys), .. }) if keys.has(key) => Response::welcome(&keys.cookie()),
            Ok(_) => {
                Response::sentence(403, "This invitation is not valid any more. Ask the server's owner for a new link.")
            }
        }
    }

    /// The status, and as what `request` may see it.
    async fn status_for(&self, request: &Request, deadline: Deadline) -> (Status, Viewer) {
        // Whoever brings nothing is a stranger, and costs SSM nothing.
        let brings = request.header("authorization").is_some() || request.header("cookie").is_some();
        let sees = brings && self.keys(deadline).await.is_ok_and(|ring| may_see(request, &ring));
        let (viewer, shared) =
            if sees { (Viewer::Friend, SHARED_BY_FRIENDS) } else { (Viewer::Stranger, SHARED_BY_STRANGERS) };
        (self.shared_look(shared, deadline).await.status(&self.settings), viewer)
    }

    /// A look that is at most `shared` old, or that somebody else has ended while this one waited.
    async fn shared_look(&self, shared: Duration, deadline: Deadline) -> Look {
        let arrived = clock::instant();
        let mut last = match deadline.limit("AWS", self.last.lock()).await {
            Ok(last) => last,
            Err(why) => return Look::blind(&why),
        };
        let started = *self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |last: &&Shared| {
            let is_young = last.began.elapsed() < shared || last.ended >= arrived;
            is_young && started.is_none_or(|started| last.began >= started)
        };
        if let Some(fresh) = last.as_ref().filter(is_fresh) {
            return fresh.look.clone();
        }
        let look = look(&self.aws, &self.settings, deadline).await;
        *last = Some(Shared { began: arrived, ended: clock::instant(), look: look.clone() });
        look
    }

    async fn start(&self, request: &Request, deadline: Deadline, log: &(dyn Fn(&str) + Sync)) -> Response {
        let refuse = |status, why: &str| {
            if request.is_form() { Response::sentence(status, why) } else { Response::why(status, why) }
        };
        let ring = match self.keys(deadline).await {
            Ok(ring) => ring,
            Err(why) => {
                log(&format!("start refused, keys cannot be read: {why}"));
                return refuse(503, &format!("The server was not started, because the key cannot be checked: {why}."));
            }
        };
        let caller = match starter(request, &ring, &self.own_origin(request)) {
            Ok(caller) => caller,
            Err(denied) => {
                log(&format!("start denied: {denied}"));
                return Response::denied(denied, request.is_form());
            }
        };
        let player = match &caller {
            Caller::Broker { by, uuid } => match self.allow(deadline).await {
                Err(why) => {
                    log(&format!("start refused, the list of players cannot be read: {why}"));
                    return refuse(503, &format!("The server was not started: {why}."));
                }
                Ok(allow) if !allow.permits(by, uuid) => {
                    log(&format!("start denied: {by} is not on the list"));
                    return refuse(403, &format!("{by} is not on the list of players who may start this server."));
                }
                Ok(_) => Some(Player { name: by.to_string(), uuid: uuid.to_string() }),
            },
            Caller::Nobody | Caller::Friend => None,
        };
        let who = player.as_ref().map_or("somebody with the key", |player| &player.name);
        let seen = look(&self.aws, &self.settings, deadline.at_most(LOOKS)).await;
        let press = Press { aws: &self.aws, settings: &self.settings, by: player.as_ref(), deadline };
        let outcome = press.start(&seen).await;
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::instant());
        log(&format!("start asked for by {who}: {}", outcome.in_words()));
        self.note(&outcome, &seen, player.as_ref(), deadline).await;
        self.respond(request, &outcome, seen)
    }

    /// The origin of the page itself.
    fn own_origin(&self, request: &Request) -> String {
        let host = request.header("host").unwrap_or_default();
        let scheme = if (self.plain_hosts)(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// Whom the broker may start the server for.
    async fn allow(&self, deadline: Deadline) -> Result<Allow, String> {
        match self.parameters().get("allow", deadline.at_most(LOOKS)).await? {
            None => Ok(Allow::Everybody),
            Some(list) => Allow::parse(&list.value)
                .map_err(|entry| format!("{entry:?} in the parameter allow is neither a player's name nor a UUID")),
        }
    }

    /// Notes who has asked for the start, for the message to everybody. What comes of it is not waited for for long: the
    /// server has been started.
    async fn note(&self, outcome: &Outcome, seen: &Look, player: Option<&Player>, deadline: Deadline) {
        if let (Outcome::Started(_) | Outcome::Kept(_), Ok(usage)) = (outcome, &seen.usage) {
            let asked = Some(Asked { by: player.map(|player| player.name.clone()), at: seen.at });
            let noted = Usage { asked, ..usage.clone() };
            // Only the name in a message would be missing.
            let _ = self.parameters().put("starts", noted.text(), deadline).await;
        }
    }

    fn respond(&self, request: &Request, outcome: &Outcome, mut seen: Look) -> Response {
        seen.seen.instances = seen.seen.instances.map(|instances| outcome.applied(instances));
        if let Outcome::Kept(wish) = outcome {
            seen.wanted = Ok(Some(wish.clone()));
        }
        let (code, notice) = (outcome.status(&seen.state(&self.settings)), outcome.notice());
        let status = seen.status(&self.settings);
        match (request.is_form(), notice) {
            (true, None) => Response::to_page(),
            (true, notice) => Response::page(code, &self.settings.server, status, Viewer::Friend, notice.as_deref()),
            (false, None) => Response::status(code, status, Viewer::Friend),
            (false, Some(why)) => Response::status(code, Status { why, ..status }, Viewer::Friend),
        }
    }
}
