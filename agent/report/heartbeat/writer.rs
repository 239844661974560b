//! The task that writes heartbeats. Only this task waits for SSM.

use std::future::{Future, pending};
use std::time::Duration;

use mc_heartbeat::EfsState;
use mc_idle_rule::backoff::Jitter;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use crate::clock::{self, Clock, Timer};
use crate::config::settings::{HeartbeatSettings, ParameterName};
use crate::report::heartbeat::pace::{HeartbeatPace, WriteResult};
use crate::report::heartbeat::report::{Report, Writer};

/// Why a parameter was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutError {
    /// SSM asked for fewer requests.
    pub throttled: bool,
    /// What failed, and what to change if something can be changed.
    pub text: String,
}

/// Writes parameters.
pub trait Store: Clone + Send + Sync + 'static {
    /// Writes `value` to the parameter `name`, replacing its old value.
    fn put(&self, name: String, value: String) -> impl Future<Output = Result<(), PutError>> + Send;
}

/// A store and its writer, once the identity of the instance is known.
#[derive(Debug, Clone)]
pub struct Link<S> {
    pub store: S,
    pub author: Writer,
}

struct Urgent {
    report: Report,
    done: oneshot::Sender<()>,
}

/// The handle of the task.
#[derive(Debug, Clone)]
pub struct HeartbeatHandle {
    latest: watch::Sender<Report>,
    settings: watch::Sender<HeartbeatSettings>,
    urgent: mpsc::Sender<Urgent>,
}

impl HeartbeatHandle {
    /// Hands over the latest report. Does not wait.
    pub fn tell(&self, report: Report) {
        self.latest.send_replace(report);
    }

    /// Hands over new settings. Does not wait.
    pub fn set(&self, settings: &HeartbeatSettings) {
        self.settings.send_if_modified(|current| {
            let changed = current != settings;
            current.clone_from(settings);
            changed
        });
    }

    /// Has `report` written before anything else. The returned future waits for that, but no longer than `patience`.
    pub fn last(self, report: Report, patience: Duration) -> impl Future<Output = ()> + Send + 'static {
        // Otherwise the report before this one would count as news and overwrite it.
        self.latest.send_replace(report.clone());
        let (done, written) = oneshot::channel();
        let queued = self.urgent.try_send(Urgent { report, done });
        let write = async move {
            let taken = match queued {
                Ok(()) => true,
                Err(TrySendError::Full(urgent)) => self.urgent.send(urgent).await.is_ok(),
                Err(TrySendError::Closed(_)) => false,
            };
            if taken {
                // An error means that the task is gone.
                let _ = written.await;
            }
        };
        async move {
            let _ = time::timeout(patience, write).await;
        }
    }
}

/// The task's end of the channels.
#[derive(Debug)]
pub struct HeartbeatTask {
    latest: watch::Receiver<Report>,
    settings: watch::Receiver<HeartbeatSettings>,
    urgent: mpsc::Receiver<Urgent>,
    clock: Clock,
    alarm: Timer,
}

/// Makes a handle and its task.
#[must_use]
pub fn pair(settings: HeartbeatSettings, clock: Clock) -> (HeartbeatHandle, HeartbeatTask) {
    // Never written: the task waits for the first report from the handle.
    let (latest, latest_receiver) = watch::channel(Report::starting(EfsState::Off, String::new()));
    let (settings, settings_receiver) = watch::channel(settings);
    let (urgent, urgent_receiver) = mpsc::channel(1);
    let heartbeat = HeartbeatHandle { latest, settings, urgent };
    let (latest, settings, urgent, alarm) = (latest_receiver, settings_receiver, urgent_receiver, clock.alarm());
    let writer = HeartbeatTask { latest, settings, urgent, clock, alarm };
    (heartbeat, writer)
}

impl HeartbeatTask {
    /// Writes heartbeats for as long as the [`HeartbeatHandle`] lives. `health` gets the result of each attempt.
    pub async fn run<S: Store>(
        mut self,
        mut link: watch::Receiver<Option<Link<S>>>,
        health: impl Fn(Result<(), PutError>),
    ) {
        if self.latest.changed().await.is_err() {
            return;
        }
        let Some(link) = self.wait_for_link(&mut link).await else { return };
        let mut pace = HeartbeatPace::new(self.settings.borrow().interval, self.clock.now());
        let mut pending_id = self.settings.borrow().instance_id_parameter.clone();
        // The first heartbeat reports the start, even if a sample has been taken by now.
        let efs = self.latest.borrow().efs;
        let why = concat!("mc-idle ", env!("CARGO_PKG_VERSION"), " has started.");
        let mut starting = Some(Report::starting(efs, why.to_owned()));
        let mut written: Option<Report> = None;
        let mut urgent: Option<Urgent> = None;
        loop {
            let (report, mut done) = match urgent.take() {
                Some(Urgent { report, done }) => (report, Some(done)),
                None => (starting.take().unwrap_or_else(|| self.latest.borrow_and_update().clone()), None),
            };
            let settings = self.settings.borrow_and_update().clone();
            pace.set_base(settings.interval);
            let attempt = Self::put(&link, &settings, &mut pending_id, &report, pace.patience());
            let result = tokio::select! {
                result = attempt => result,
                // The caller has stopped waiting; written later, the report would no longer be true.
                () = given_up(&mut done) => Err(PutError { throttled: false, text: "SSM does not answer".to_owned() }),
                // A final heartbeat does not wait behind one that hangs.
                Some(next) = self.urgent.recv() => {
                    urgent = Some(next);
                    continue;
                }
            };
            let outcome = match &result {
                Ok(()) => WriteResult::Written,
                Err(PutError { throttled: true, .. }) => WriteResult::Throttled,
                Err(_) => WriteResult::Failed,
            };
            pace.attempted(self.clock.now(), outcome, Jitter::new(fastrand::f64()));
            // A refused report still has to be written. A final one that may have reached SSM all the same counts as
            // written, so that taking it back is news.
            if outcome == WriteResult::Written || (done.is_some() && outcome == WriteResult::Failed) {
                written = Some(report);
            }
            health(result);
            if let Some(done) = done {
                // The caller may have stopped waiting.
                let _ = done.send(());
            }
            match self.wait_for_news(&pace, written.as_ref()).await {
                Wake::Write => {}
                Wake::Urgent(next) => urgent = Some(*next),
                Wake::Closed => return,
            }
        }
    }

    async fn wait_for_link<S: Store>(&mut self, link: &mut watch::Receiver<Option<Link<S>>>) -> Option<Link<S>> {
        loop {
            if let Some(link) = link.borrow_and_update().clone() {
                return Some(link);
            }
            tokio::select! {
                changed = link.changed() => changed.ok()?,
                // Nowhere to write to: dropping the request releases the caller.
                urgent = self.urgent.recv() => drop(urgent?),
            }
        }
    }

    async fn put<S: Store>(
        link: &Link<S>,
        settings: &HeartbeatSettings,
        pending_id: &mut Option<ParameterName>,
        report: &Report,
        patience: Duration,
    ) -> Result<(), PutError> {
        let id = &link.author.instance_id;
        if let Some(parameter) = &settings.parameter {
            let at = clock::wall();
            let named = if settings.names { report.clone() } else { Report { names: Vec::new(), ..report.clone() } };
            let text = named.heartbeat(&link.author, at, at.checked_add(patience).unwrap_or(at)).text();
            link.store.put(parameter.of(id), text).await?;
        }
        if let Some(parameter) = pending_id {
            link.store.put(parameter.of(id), id.clone()).await?;
            *pending_id = None;
        }
        Ok(())
    }

    async fn wait_for_news(&mut self, pace: &HeartbeatPace, written: Option<&Report>) -> Wake {
        loop {
            let changed = written.is_none_or(|written| is_news(written, &self.latest.borrow_and_update()));
            tokio::select! {
                // An urgent report is also the latest one, and must be written only once.
                biased;
                urgent = self.urgent.recv() => return urgent.map_or(Wake::Closed, |urgent| Wake::Urgent(Box::new(urgent))),
                () = self.alarm.at(pace.next(changed)) => return Wake::Write,
                latest = self.latest.changed() => if latest.is_err() { return Wake::Closed },
                settings = self.settings.changed() => {
                    return if settings.is_ok() { Wake::Write } else { Wake::Closed };
                }
            }
        }
    }
}

async fn given_up(done: &mut Option<oneshot::Sender<()>>) {
    match done {
        Some(done) => done.closed().await,
        None => pending().await,
    }
}

enum Wake {
    Write,
    Urgent(Box<Urgent>),
    Closed,
}

fn is_news(written: &Report, latest: &Report) -> bool {
    (written.state, written.players, written.reclaimed) != (latest.state, latest.players, latest.reclaimed)
}
