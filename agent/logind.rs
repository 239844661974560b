//! What logind knows: who has asked that the machine not be shut down (systemd-inhibit(1)), and who is logged in by SSH.
//! Asked over D-Bus (org.freedesktop.login1(5)), whenever logind says that something has changed, and now and then in case
//! that it does not.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time;
use zbus::export::futures_core::Stream;
use zbus::{Connection, Error, MatchRule, MessageStream, OwnedObjectPath, Result};

use crate::bus::{self, Object, PATIENCE};
use crate::clock::Clock;
use crate::config::settings::HoldSettings;
use crate::error::chain;
use crate::hold::{Hold, Known, Source, tidy};

const SERVICE: &str = "org.freedesktop.login1";
const MANAGER: Object<'_> =
    Object { service: SERVICE, path: "/org/freedesktop/login1", interface: "org.freedesktop.login1.Manager" };
const SESSION: &str = "org.freedesktop.login1.Session";
/// The time between two questions while logind says nothing.
const AGAIN: Duration = Duration::from_secs(30);
/// The time between two tries to reach it, at first: it comes early in a boot, and most machines without it never have it.
const RETRY: Duration = Duration::from_secs(5);
/// What comes in a burst is asked for once.
const BURST: Duration = Duration::from_millis(100);
/// What was known holds for this long when no answer comes any more.
const TRUST: Duration = Duration::from_mins(1);

/// A lock, as `ListInhibitors` tells of it.
type Inhibitor = (String, String, String, String, u32, u32);
/// A session, as `ListSessions` tells of it.
type Session = (String, u32, String, String, OwnedObjectPath);

/// Asks until nobody wants to know any more.
pub async fn watch(mut settings: watch::Receiver<HoldSettings>, known: watch::Sender<Known>, clock: Clock) {
    let (mut bus, mut met) = (None, false);
    let mut answered = clock.now();
    let (mut alarm, mut retry) = (clock.alarm(), RETRY);
    while !known.is_closed() {
        let ssh_sessions = settings.borrow_and_update().ssh_sessions;
        // A bus that cannot be found any more takes nothing back of what it has told.
        let asked = if bus.is_some() || met || bus::is_there() {
            time::timeout(PATIENCE, ask(&mut bus, ssh_sessions)).await
        } else {
            Ok(Ok(Vec::new()))
        };
        match asked.unwrap_or_else(|_| Err(Error::Failure("no answer".to_owned()))) {
            Ok(holds) => {
                answered = clock.now();
                met |= bus.is_some();
                tell(&known, Known { holds, ..Known::default() });
            }
            Err(error) => {
                bus = None;
                let trouble = Some(format!("inhibitor locks cannot be seen: {}", chain(&error)));
                let holds = if clock.now().since(answered) < TRUST { known.borrow().holds.clone() } else { Vec::new() };
                tell(&known, Known { holds, trouble, pending: false });
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

/// The way to logind.
struct Bus {
    connection: Connection,
    /// What logind says by itself: locks and sessions that come, change and go.
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

/// Returns false when there will be no other.
async fn next(signals: &mut MessageStream) -> bool {
    poll_fn(|context| Pin::new(&mut *signals).poll_next(context)).await.is_some()
}

/// Returns false when nothing will be heard here any more.
async fn something_changes(bus: Option<&mut Bus>) -> bool {
    let Some(Bus { signals, .. }) = bus else { return pending().await };
    let goes_on = next(signals).await;
    meanwhile(signals, time::sleep(BURST)).await;
    goes_on
}

/// Signals that nobody takes would keep the answers behind them from coming.
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

fn tell(known: &watch::Sender<Known>, latest: Known) {
    known.send_if_modified(|current| {
        let changed = *current != latest;
        *current = latest;
        changed
    });
}

async fn ask(bus: &mut Option<Bus>, ssh_sessions: bool) -> Result<Vec<Hold>> {
    let Bus { connection, signals } = match bus {
        Some(bus) => bus,
        None => bus.insert(Bus::connect().await?),
    };
    meanwhile(signals, holds(connection, ssh_sessions)).await
}

async fn holds(bus: &Connection, ssh_sessions: bool) -> Result<Vec<Hold>> {
    let inhibitors: Vec<Inhibitor> = bus::call(bus, MANAGER, "ListInhibitors", &()).await?;
    let mut holds: Vec<Hold> = inhibitors.iter().filter_map(hold_of).collect();
    if ssh_sessions {
        let sessions: Vec<Session> = bus::call(bus, MANAGER, "ListSessions", &()).await?;
        for (_, _, user, _, path) in sessions {
            if is_ssh(bus, &path).await? {
                let reason = tidy(&format!("{user} is logged in"));
                holds.push(Hold { source: Source::Ssh, reason, left: None });
            }
        }
        holds.dedup();
    }
    Ok(holds)
}

/// A lock that blocks a shutdown, or the machine's being idle, holds.
fn hold_of(lock: &Inhibitor) -> Option<Hold> {
    blocks(lock, &["shutdown", "idle"]).then(|| Hold { source: Source::Inhibitor, reason: reason(lock), left: None })
}

fn blocks((what, _, _, mode, ..): &Inhibitor, any_of: &[&str]) -> bool {
    mode == "block" && what.split(':').any(|what| any_of.contains(&what))
}

fn reason((_, who, why, _, uid, pid): &Inhibitor) -> String {
    tidy(&format!("{why} ({who}, process {pid}, user {uid})"))
}

/// A session that is gone by now is none.
async fn is_ssh(bus: &Connection, path: &OwnedObjectPath) -> Result<bool> {
    let session = Object { service: SERVICE, path: path.as_str(), interface: SESSION };
    let service: Option<String> = bus::property(bus, session, "Service").await?;
    let state: Option<String> = bus::property(bus, session, "State").await?;
    let class: Option<String> = bus::property(bus, session, "Class").await?;
    Ok(service.as_deref() == Some("sshd") && class.as_deref() == Some("user") && state.as_deref() != Some("closing"))
}

/// What comes of a press of the power button, which is what EC2's stop is to the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerButton {
    /// What logind does then: `HandlePowerKey=` of logind.conf(5).
    pub action: String,
    /// Who keeps it from doing that.
    pub blocked_by: Vec<String>,
}

/// Asks what comes of a press of the power button.
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
            hold_of(&(what.to_owned(), "cp".to_owned(), "backup".to_owned(), mode.to_owned(), 0, 77)).is_some()
        };
        assert!(lock("shutdown", "block") && lock("sleep:idle", "block") && lock("shutdown:sleep", "block"));
        assert!(!lock("shutdown", "delay") && !lock("sleep", "block") && !lock("handle-power-key", "block"));
        assert!(!lock("shutdown", "block-weak"));
    }
}
