//! The task that writes heartbeats. However slow SSM is, only this task waits for it.

use std::future::{Future, pending};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time;

use super::pace::{Outcome, Pace};
use super::record::{self, Author, Report};
use crate::clock::{self, Alarm, Clock};
use crate::config::settings::{HeartbeatSettings, ParameterName};
use crate::idle::backoff::Jitter;

/// Why a parameter was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutError {
    /// SSM asks to be left alone for a while.
    pub throttled: bool,
    /// What happened and, if anything can be done, what to change.
    pub text: String,
}

/// Where parameters are written.
pub trait Store: Clone + Send + Sync + 'static {
    /// Writes `value` to the parameter `name`, over what is there.
    fn put(&self, name: String, value: String) -> impl Future<Output = Result<(), PutError>> + Send;
}

/// A store for one instance, as soon as it is known which one this is.
#[derive(Debug, Clone)]
pub struct Link<S> {
    /// Where to write.
    pub store: S,
    /// Who writes.
    pub author: Author,
}

struct Urgent {
    report: Report,
    done: oneshot::Sender<()>,
}

/// The other end of the task: tells it what is so.
#[derive(Debug, Clone)]
pub struct Heart {
    latest: watch::Sender<Report>,
    settings: watch::Sender<HeartbeatSettings>,
    urgent: mpsc::Sender<Urgent>,
}

impl Heart {
    /// Tells what is so now. Does not wait.
    pub fn tell(&self, report: Report) {
        self.latest.send_replace(report);
    }

    /// Takes new settings. Does not wait.
    pub fn set(&self, settings: &HeartbeatSettings) {
        self.settings.send_if_modified(|current| {
            let changed = current != settings;
            current.clone_from(settings);
            changed
        });
    }

    /// Writes `report` before anything else, waiting for it no longer than `patience`.
    pub async fn last(self, report: Report, patience: Duration) {
        let (done, written) = oneshot::channel();
        let write = async {
            if self.urgent.send(Urgent { report, done }).await.is_ok() {
                // An error means that the task is gone, and nobody is left to wait for.
                let _ = written.await;
            }
        };
        let _ = time::timeout(patience, write).await;
    }
}

/// The task's own end.
#[derive(Debug)]
pub struct Writer {
    latest: watch::Receiver<Report>,
    settings: watch::Receiver<HeartbeatSettings>,
    urgent: mpsc::Receiver<Urgent>,
    clock: Clock,
    alarm: Alarm,
}

/// Makes both ends.
#[must_use]
pub fn pair(settings: HeartbeatSettings, clock: Clock) -> (Heart, Writer) {
    // Never written: the task waits until it is told what is so.
    let (latest, latest_receiver) = watch::channel(Report::starting("off", String::new()));
    let (settings, settings_receiver) = watch::channel(settings);
    let (urgent, urgent_receiver) = mpsc::channel(1);
    let heart = Heart { latest, settings, urgent };
    let (latest, settings, urgent, alarm) = (latest_receiver, settings_receiver, urgent_receiver, clock.alarm());
    let writer = Writer { latest, settings, urgent, clock, alarm };
    (heart, writer)
}

impl Writer {
    /// Writes heartbeats for as long as the [`Heart`] lives. `health` is told how each attempt ended.
    pub async fn run<S: Store>(
        mut self,
        mut link: watch::Receiver<Option<Link<S>>>,
        health: impl Fn(Result<(), PutError>),
    ) {
        if self.latest.changed().await.is_err() {
            return;
        }
        let Some(link) = self.wait_for_link(&mut link).await else { return };
        let mut pace = Pace::new(self.settings.borrow().interval, self.clock.now());
        let mut pending_id = self.settings.borrow().instance_id_parameter.clone();
        // The first heartbeat tells of the start, whatever has been seen since.
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
                // Whoever asked for it has lost patience: written later, it would no longer be true.
                () = given_up(&mut done) => Err(PutError { throttled: false, text: "SSM does not answer".to_owned() }),
                // A final heartbeat does not wait behind one that hangs.
                Some(next) = self.urgent.recv() => {
                    urgent = Some(next);
                    continue;
                }
            };
            let outcome = match &result {
                Ok(()) => Outcome::Written,
                Err(PutError { throttled: true, .. }) => Outcome::Throttled,
                Err(_) => Outcome::Failed,
            };
            pace.attempted(self.clock.now(), outcome, Jitter::new(fastrand::f64()));
            // What was refused is still to be told. A final report that may have been written all the same counts as told, so
            // that taking it back is news.
            if outcome == Outcome::Written || (done.is_some() && outcome == Outcome::Failed) {
                written = Some(report);
            }
            health(result);
            if let Some(done) = done {
                // The one who asked may have lost patience.
                let _ = done.send(());
            }
            match self.wait_for_news(&pace, written.as_ref()).await {
                News::Write => {}
                News::Urgent(next) => urgent = Some(*next),
                News::Closed => return,
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
                // Nowhere to write to: dropping the request lets the one who asked go on.
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
            let text = record::text(report, &link.author, at, at.checked_add(patience).unwrap_or(at));
            link.store.put(parameter.of(id), text).await?;
        }
        if let Some(parameter) = pending_id {
            link.store.put(parameter.of(id), id.clone()).await?;
            *pending_id = None;
        }
        Ok(())
    }

    async fn wait_for_news(&mut self, pace: &Pace, written: Option<&Report>) -> News {
        loop {
            let changed = written.is_none_or(|written| is_news(written, &self.latest.borrow_and_update()));
            tokio::select! {
                () = self.alarm.at(pace.next(changed)) => return News::Write,
                urgent = self.urgent.recv() => return urgent.map_or(News::Closed, |urgent| News::Urgent(Box::new(urgent))),
                latest = self.latest.changed() => if latest.is_err() { return News::Closed },
                settings = self.settings.changed() => {
                    return if settings.is_ok() { News::Write } else { News::Closed };
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

enum News {
    Write,
    Urgent(Box<Urgent>),
    Closed,
}

fn is_news(written: &Report, latest: &Report) -> bool {
    (written.state, written.players, written.reclaimed) != (latest.state, latest.players, latest.reclaimed)
}
