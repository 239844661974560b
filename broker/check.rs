//! `mc-broker check`: one line for each thing that a join needs, and what to change where something is wrong. It starts
//! nothing.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http::StatusCode;
use mc_broker_core::connection::Vouched;
use mc_broker_core::connection::gate::Auth;
use mc_broker_core::protocol::status;
use mc_broker_core::protocol::versions::NEWEST;
use mc_broker_core::server::sight::PingResult;
use mc_broker_core::server::status::{Family, LauncherStatus};
use mc_broker_core::texts::in_words;
use mc_service::exit_code;
use mc_service::printable::printable;
use mc_service::process::refuse;
use tokio::net::lookup_host;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::cli::NAME;
use crate::config::{self, Settings};
use crate::game;
use crate::launcher::Launcher;
use crate::session_server::SessionServer;

/// How long a name may take to be resolved.
const RESOLVES: Duration = Duration::from_secs(5);

/// How a check went, with its explanation.
enum Finding {
    Ok(String),
    /// Nothing is wrong, but the operator should know.
    Note(String),
    /// Not applicable, or not possible now.
    NotRun(String),
    Failed(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Finding::Ok(text) | Finding::Note(text) | Finding::NotRun(text) | Finding::Failed(text)) = self;
        f.write_str(text)
    }
}

/// Prints findings as they come.
struct Report {
    failed: bool,
    unwritten: Option<io::Error>,
}

impl Report {
    fn tell(&mut self, name: &str, finding: &Finding) {
        let mark = match finding {
            Finding::Ok(_) => "ok",
            Finding::Note(_) => "note",
            Finding::NotRun(_) => "not run",
            Finding::Failed(_) => "FAILED",
        };
        self.failed |= matches!(finding, Finding::Failed(_));
        let text = finding.to_string();
        let colon = if text.is_empty() { "" } else { ": " };
        if let Err(error) = writeln!(io::stdout(), "{mark:7} {name}{colon}{}", printable(&text)) {
            self.unwritten = Some(error);
        }
    }
}

/// Checks the configuration and, unless `offline`, everything else.
#[must_use]
pub fn check(config: Option<&Path>, offline: bool) -> ExitCode {
    let settings = match config::load(config) {
        Ok(settings) => settings,
        Err(error) => return refuse(NAME, &error, exit_code::CONFIG),
    };
    let mut report = Report { failed: false, unwritten: None };
    report.tell("configuration", &Finding::Ok(String::new()));
    if !offline {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return refuse(NAME, &error, exit_code::INTERNAL),
        };
        runtime.block_on(online(&settings, &mut report));
        // A lookup may still hang.
        runtime.shutdown_background();
    }
    match report.unwritten {
        Some(error) => refuse(NAME, &error, exit_code::INTERNAL),
        None if report.failed => ExitCode::from(exit_code::FAILED),
        None => ExitCode::SUCCESS,
    }
}

async fn online(settings: &Settings, report: &mut Report) {
    let (Some(url), Some(key)) = (settings.launcher_url.clone(), settings.launcher_key.clone()) else { return };
    let launcher = Launcher::new(url, key);
    let key_is_there = launcher.key().map(drop);
    let status = match &key_is_there {
        Ok(()) => launcher.status().await,
        Err(why) => Err(why.clone()),
    };
    report.tell(
        "launcher",
        &match (&key_is_there, &status) {
            (Err(_), _) => Finding::NotRun("without a key".to_owned()),
            (_, Ok(status)) => Finding::Ok(format!("says: {}", status.why)),
            (_, Err(why)) => Finding::Failed(format!("{why}: see launcher.url")),
        },
    );
    report.tell(
        "key",
        &match key_is_there {
            Err(why) => Finding::Failed(why),
            Ok(()) => key_finding(launcher.try_key().await),
        },
    );
    let status = status.ok();
    let mark = listener(settings, report).await;
    report.tell("address", &address(status.as_ref(), mark.as_deref()).await);
    report.tell("versions", &Finding::Ok(versions(settings)));
    report.tell("session server", &session_server(settings).await);
    report.tell("transfers", &transfers(status.as_ref()).await);
}

/// What the launcher answers to a start in nobody's name.
fn key_finding(answer: Result<StatusCode, String>) -> Finding {
    match answer.map(|status| status.as_u16()) {
        Ok(400) => Finding::Ok("the launcher takes it".to_owned()),
        Ok(401 | 403) => Finding::Failed(
            "the launcher does not take it: it has to be a line of the launcher's parameter broker-key".to_owned(),
        ),
        Ok(503) => Finding::Failed("the launcher cannot check it now: it cannot read its own parameters".to_owned()),
        Ok(other) => Finding::Failed(format!("the launcher answers {other} to a start in nobody's name")),
        Err(why) => Finding::Failed(why),
    }
}

/// Whether a broker answers where it should listen; and the mark in its answers.
async fn listener(settings: &Settings, report: &mut Report) -> Option<String> {
    let mut mark = None;
    for address in &settings.listen {
        let here = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let found = marked(SocketAddr::new(here, address.port())).await;
        report.tell(
            "listener",
            &match &found {
                Ok(Some(_)) => Finding::Ok(format!("mc-broker answers at {address}")),
                Ok(None) => Finding::Failed(format!("another program answers at {address}")),
                Err(()) => match TcpListener::bind(address) {
                    Ok(_) => Finding::Note(format!("nothing answers at {address}: mc-broker does not run")),
                    Err(error) => Finding::Failed(format!("mc-broker cannot listen at {address}: {error}")),
                },
            },
        );
        mark = mark.or(found.ok().flatten());
    }
    mark
}

/// The mark in the answer of whatever is at `address`, if it is a broker's; or nothing answers there.
async fn marked(address: SocketAddr) -> Result<Option<String>, ()> {
    match game::ping(address, "", false).await {
        PingResult::Answered(words) | PingResult::AnsweredBehindHeader(words) => Ok(status::mark(&words)),
        PingResult::Ourselves => Ok(Some(String::new())),
        PingResult::Silent => Err(()),
    }
}

/// Whether the name that players type leads to this broker, and its port is open.
async fn address(status: Option<&LauncherStatus>, own: Option<&str>) -> Finding {
    let Some(status) = status else { return Finding::NotRun("the launcher does not say what players type".to_owned()) };
    let Some(name) = &status.address else {
        return Finding::Note(
            "the launcher does not know what players type: set its MC_ADDRESS to the broker's name".to_owned(),
        );
    };
    let Some(own) = own else { return Finding::NotRun(format!("{name} may lead here or not: no broker runs here")) };
    let found = match timeout(RESOLVES, lookup_host((name.as_str(), status.port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Finding::Failed(format!("{name} cannot be resolved: {error}")),
        Err(_) => return Finding::Failed(format!("{name} cannot be resolved in time")),
    };
    for address in found {
        match marked(address).await {
            Ok(Some(mark)) if mark == own => {}
            Ok(_) => return Finding::Failed(format!("{name} leads to {address}, and that is not this broker")),
            Err(()) => {
                let text = format!(
                    "{name} leads to {address}, and nothing answers there: open the port in the firewall or the security \
                     group (or this machine cannot reach its own public address)"
                );
                return Finding::Failed(text);
            }
        }
    }
    Finding::Ok(format!("{name} leads here"))
}

fn versions(settings: &Settings) -> String {
    let (newest, name) = NEWEST;
    let set = settings.protocols.newest();
    let more = if set > newest { format!(", and of protocols up to {set} as configured") } else { String::new() };
    let relay = if settings.relay { "relayed" } else { "told where to join" };
    format!("players of 1.20.5 to {name} (protocol {newest}) are handed over{more}; others are {relay}")
}

async fn session_server(settings: &Settings) -> Finding {
    if settings.auth == Auth::None {
        return Finding::Note("nobody vouches for a name (auth = \"none\"); allow_networks alone decides".to_owned());
    }
    // Nobody has this hash.
    match SessionServer::new(settings.session_server.clone()).vouches_for("mc_broker_check", "0").await {
        Vouched::ForNobody => Finding::Ok("answers".to_owned()),
        Vouched::For(_) => Finding::Failed("it vouches for everybody: see auth_url".to_owned()),
        Vouched::Unknown(why) => Finding::Failed(format!("{why}: nobody can start the server; see auth_url")),
        Vouched::Busy => Finding::Failed("too busy".to_owned()),
    }
}

/// Whether the server takes players who are handed over.
async fn transfers(status: Option<&LauncherStatus>) -> Finding {
    let target = status.and_then(|status| status.target(Family::V4).or_else(|| status.target(Family::V6)));
    let Some(target) = target else { return Finding::NotRun("the server does not run now".to_owned()) };
    let at = in_words(target);
    match game::ping(target, "", false).await {
        PingResult::Answered(words) => match game::takes_transfers(target, &words).await {
            Some(true) => Finding::Ok(format!("the server at {at} takes players who are handed over")),
            Some(false) => Finding::Failed(format!(
                "the server at {at} does not take players who are handed over: set accepts-transfers=true in its \
                 server.properties and restart it"
            )),
            None => Finding::NotRun(format!("the server at {at} does not say; try again in a minute")),
        },
        PingResult::AnsweredBehindHeader(_) | PingResult::Ourselves | PingResult::Silent => Finding::NotRun(format!(
            "no server answers at {at}; if it is up, open its port for this machine and for players"
        )),
    }
}
