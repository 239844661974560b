//! Holds from logind: inhibitor locks (systemd-inhibit(1)) and SSH sessions. logind is asked over D-Bus
//! (org.freedesktop.login1(5)) whenever it signals a change, and at intervals in case it does not.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use mc_service::error_chain::chain;
use tokio::sync::watch;
use tokio::time;
use zbus::export::futures_core::Stream;
use zbus::{Connection, Error, MatchRule, MessageStream, OwnedObjectPath, Result};

use crate::bus::{self, BusProperties, Object, PATIENCE};
use crate::clock::Clock;
use crate::config::settings::HoldSettings;
use crate::holds::ledger::{Claim, HoldEnd, HoldSource};
use crate::holds::process::Process;
use crate::holds::{HoldSources, tidy};

const SERVICE: &str = "org.freedesktop.login1";
const MANAGER: Object<'_> =
    Object { service: SERVICE, path: "/org/freedesktop/login1", interface: "org.freedesktop.login1.Manager" };
const SESSION: &str = "org.freedesktop.login1.Session";
/// The time between two requests while logind signals no change.
const AGAIN: Duration = Duration::from_secs(30);
/// The time between the first attempts to connect: logind starts early in a boot, and most machines without it stay so.
const RETRY: Duration = Duration::from_secs(5);
/// Signals within this time lead to one request.
const BURST: Duration = Duration::from_millis(100);

/// A lock as `ListInhibitors` returns it: what, who, why, mode, user and process.
type Inhibitor = (String, String, String, String, u32, u32);
/// A session as `ListSessions` returns it: id, user id, user, seat and object.
type Session = (String, u32, String, String, OwnedObjectPath);

/// Passes the answers and failures of logind to `sources` for as long as the agent runs.
pub async fn watch(mut settings: watch::Receiver<HoldSettings>, sources: HoldSources, clock: Clock) {
    let mut bus = None;
    let (mut alarm, mut retry) = (clock.alarm(), RETRY);
    loop {
        let ssh_sessions = settings.borrow_and_update().ssh_sessions;
        if bus.is_some() || bus::is_there() {
            tokio::select! {
                () = ask(&mut bus, ssh_sessions, &sources) => {}
                // New settings apply at once.
                changed = settings.changed() => if changed.is_err() { return } else { continue },
            }
        } else {
            for question in [HoldSource::Locks, HoldSource::Sessions] {
                sources.absent(&question, "D-Bus is gone".to_owned());
            }
        }
        let rest = if bus.is_some() { AGAIN } else { retry };
        retry = if bus.is_some() { RETRY } else { AGAIN.min(retry * 2) };
        tokio::select! {
            () = alarm.after(rest) => {}
            goes_on = something_changes(bus.as_mut()) => if !goes_on { bus = None },
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

/// A connection to logind.
struct Bus {
    connection: Connection,
    /// Signals of logind: locks and sessions that come, change and go.
    signals: MessageStream,
}

impl Bus {
    async fn connect() -> Result<Self> {
        let connection = Connection::system().await?;
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(SERVICE)
            .path_namespace(MANAGER.path)
            .build()?;
        let signals = MessageStream::for_match_rule(rule, &connection, None).await?;
        Ok(Bus { connection, signals })
    }
}

/// Returns false when the stream has ended.
async fn next(signals: &mut MessageStream) -> bool {
    poll_fn(|context| Pin::new(&mut *signals).poll_next(context)).await.is_some()
}

/// Returns false when the connection has ended.
async fn something_changes(bus: Option<&mut Bus>) -> bool {
    let Some(Bus { signals, .. }) = bus else { return pending().await };
    let goes_on = next(signals).await;
    meanwhile(signals, time::sleep(BURST)).await;
    goes_on
}

/// Drains signals during `work`: unread ones would block the replies behind them.
async fn meanwhile<T>(signals: &mut MessageStream, work: impl Future<Output = T>) -> T {
    let taken = async {
        while next(signals).await {}
        pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = taken => match never {},
    }
}

/// After any failure the next request goes over a new connection.
async fn ask(bus: &mut Option<Bus>, ssh_sessions: bool, sources: &HoldSources) {
    let questions = [HoldSource::Locks, HoldSource::Sessions];
    let questions = &questions[..if ssh_sessions { 2 } else { 1 }];
    let Bus { connection, signals } = match bus {
        Some(bus) => bus,
        None => match in_time(Bus::connect()).await {
            Ok(new) => bus.insert(new),
            Err(error) => {
                for question in questions {
                    sources.failed(question, chain(&error));
                }
                return;
            }
        },
    };
    let mut failed = false;
    for question in questions {
        let answer = async {
            match question {
                HoldSource::Sessions => sessions(connection).await,
                _ => locks(connection).await,
            }
        };
        match meanwhile(signals, in_time(answer)).await {
            Ok(claims) => sources.answered(question, claims),
            Err(error) => {
                sources.failed(question, chain(&error));
                failed = true;
            }
        }
    }
    if failed {
        *bus = None;
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(Error::Failure("no answer".to_owned())))
}

async fn locks(bus: &Connection) -> Result<Vec<Claim>> {
    let inhibitors: Vec<Inhibitor> = bus::call(bus, MANAGER, "ListInhibitors", &()).await?;
    let holding = inhibitors.iter().filter(|lock| blocks(lock, &["shutdown", "idle"]));
    Ok(holding.map(|lock| Claim { reason: reason(lock), end: end_of(Some(lock.5)) }).collect())
}

async fn sessions(bus: &Connection) -> Result<Vec<Claim>> {
    let sessions: Vec<Session> = bus::call(bus, MANAGER, "ListSessions", &()).await?;
    let mut claims = Vec::new();
    for (_, _, user, _, path) in sessions {
        let session = Object { service: SERVICE, path: path.as_str(), interface: SESSION };
        // A session that has ended by now does not count.
        let Some(mut properties) = bus::properties(bus, session).await? else { continue };
        if LoginSession::of(&mut properties).is_ssh() {
            let leader = properties.take("Leader");
            claims.push(Claim { reason: tidy(&format!("{user} is logged in")), end: end_of(leader) });
        }
    }
    Ok(claims)
}

/// Locks and sessions end with the process `id`.
fn end_of(id: Option<u32>) -> HoldEnd {
    let process = id.filter(|id| *id != 0).and_then(|id| Process::with_id(Path::new("/proc"), id));
    process.map_or(HoldEnd::Open, HoldEnd::Process)
}

fn blocks((what, _, _, mode, ..): &Inhibitor, any_of: &[&str]) -> bool {
    mode == "block" && what.split(':').any(|what| any_of.contains(&what))
}

fn reason((_, who, why, _, uid, pid): &Inhibitor) -> String {
    tidy(&format!("{why} ({who}, process {pid}, user {uid})"))
}

/// Properties of a session (org.freedesktop.login1(5)); `None`: logind gives no value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct LoginSession {
    remote: Option<bool>,
    service: Option<String>,
    class: Option<String>,
    state: Option<String>,
}

impl LoginSession {
    fn of(properties: &mut BusProperties) -> Self {
        LoginSession {
            remote: properties.take("Remote"),
            service: properties.take("Service"),
            class: properties.take("Class"),
            state: properties.take("State"),
        }
    }

    /// A person logged in from another machine. The classes of people's sessions are `user`, `user-early`, `user-light`
    /// and others that begin with `user`; greeters, lock screens, managers and background work have other classes
    /// (pam_systemd(8)). A closing session has nobody in it, only processes that were left behind.
    fn is_ssh(&self) -> bool {
        let from_afar = self.remote == Some(true) || self.service.as_ref().is_some_and(|name| name.starts_with("sshd"));
        let a_person = self.class.as_ref().is_none_or(|class| class.starts_with("user"));
        from_afar && a_person && self.state.as_deref() != Some("closing")
    }
}

/// What a press of the power button does, which is how EC2 stops the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerButton {
    /// `HandlePowerKey=` of logind.conf(5).
    pub action: String,
    /// The inhibitor locks that prevent it.
    pub blocked_by: Vec<String>,
}

/// Asks logind what a press of the power button does.
///
/// # Errors
/// logind is not there, or does not answer.
pub async fn power_button(bus: &Connection) -> Result<PowerButton> {
    let action = bus::property(bus, MANAGER, "HandlePowerKey").await?.ok_or(Error::InvalidReply)?;
    let inhibitors: Vec<Inhibitor> = bus::call(bus, MANAGER, "ListInhibitors", &()).await?;
    let blocked_by = inhibitors.iter().filter(|lock| blocks(lock, &["handle-power-key"])).map(reason).collect();
    Ok(PowerButton { action, blocked_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_that_block_a_shutdown_or_idleness_hold() {
        let lock = |what: &str, mode: &str| {
            let lock = (what.to_owned(), "cp".to_owned(), "backup".to_owned(), mode.to_owned(), 0, 77);
            blocks(&lock, &["shutdown", "idle"])
        };
        assert!(lock("shutdown", "block") && lock("sleep:idle", "block") && lock("shutdown:sleep", "block"));
        assert!(!lock("shutdown", "delay") && !lock("sleep", "block") && !lock("handle-power-key", "block"));
        assert!(!lock("shutdown", "block-weak"));
    }

    #[test]
    fn a_person_from_another_machine_is_an_ssh_session_whatever_the_class_is_called() {
        let session = |remote, service: &str, class: &str, state: &str| {
            let text = |text: &str| Some(text.to_owned());
            LoginSession { remote: Some(remote), service: text(service), class: text(class), state: text(state) }
        };
        for (remote, service, class, state, holds) in [
            (true, "sshd", "user", "active", true),
            (true, "sshd", "user", "online", true),
            (true, "sshd", "user-early", "active", true),
            (true, "sshd", "user-light", "active", true),
            (true, "sshd", "user-early-light", "active", true),
            (true, "sshd", "user-incomplete", "opening", true),
            (true, "login", "user", "active", true),
            (true, "remote", "user", "active", true),
            (false, "sshd", "user", "active", true),
            (false, "sshd-session", "user", "active", true),
            (true, "sshd", "user", "closing", false),
            (true, "login", "user-light", "closing", false),
            (false, "login", "user", "active", false),
            (false, "gdm-password", "user", "active", false),
            (false, "systemd-user", "manager", "active", false),
            (true, "sshd", "manager", "active", false),
            (true, "sshd", "background", "active", false),
            (true, "sshd", "background-light", "active", false),
            (true, "sshd", "greeter", "active", false),
            (true, "sshd", "lock-screen", "active", false),
            (false, "cron", "background", "active", false),
            (false, "not-sshd", "user", "active", false),
        ] {
            let session = session(remote, service, class, state);
            assert_eq!(session.is_ssh(), holds, "{session:?}");
        }
        let silent = LoginSession { remote: Some(true), ..LoginSession::default() };
        assert!(silent.is_ssh(), "a property without a value excludes nobody");
        assert!(!LoginSession::default().is_ssh());
    }
}
