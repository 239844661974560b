//! The service: takes samples on time, gives them to the rule, and has done what the rule asks for.
//!
//! Everything that waits (AWS, the mount, the journal) is in a task, a process or a thread of its own; this loop only
//! ever waits for its own timers, and for news from them.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time;
use tracing::Level;

use crate::clock::{self, Clock};
use crate::cloud::{Cloud, News};
use crate::config::settings::StopAction;
use crate::config::{ConfigError, Settings};
use crate::error::chain;
use crate::heartbeat::{Heart, PutError, Report};
use crate::host::Host;
use crate::host::mountinfo::Mount;
use crate::host::probe::{Target, Verdict};
use crate::idle::backoff::Jitter;
use crate::idle::rule::{CallOff, Refusal};
use crate::idle::view::{State, Wait};
use crate::idle::{Action, Efs, Moment, Rule, Ticket, View};
use crate::journal::{Facts, Journal, Kind};
use crate::notify::Supervisor;
use crate::sentence::{Circumstances, headline, permission, sentence};

/// How long a stop waits for its final heartbeat.
const LAST_HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the end of the agent waits for its final heartbeat.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A sleep shorter than this is the difference between two readings of a clock.
const SLEEP: Duration = Duration::from_secs(1);

/// What can be asked of the running agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End.
    End,
    /// Read the configuration again.
    Reload,
}

/// Everything outside the agent.
pub struct World<H, S> {
    /// Sockets and mounts.
    pub host: H,
    /// Who supervises the agent.
    pub supervisor: S,
    /// Where lines go.
    pub journal: Journal,
    /// The time.
    pub clock: Clock,
    /// How long the machine has slept since boot.
    pub slept: fn() -> Duration,
    /// Where heartbeats go.
    pub heart: Heart,
    /// How writing them went.
    pub health: mpsc::UnboundedReceiver<Result<(), PutError>>,
    /// What is learned about the cloud.
    pub news: mpsc::UnboundedReceiver<News>,
    /// The action that permission is asked for.
    pub action: watch::Sender<StopAction>,
    /// The mount to probe.
    pub target: watch::Sender<Option<Target>>,
    /// What the last probe has shown.
    pub verdict: watch::Receiver<Option<Verdict>>,
    /// Signals.
    pub signals: mpsc::Receiver<Signal>,
    /// Reads the configuration.
    pub load: Box<dyn Fn() -> Result<Settings, ConfigError> + Send>,
    /// Nothing is asked of AWS.
    pub dry_run: bool,
}

enum StopNews<P> {
    Prepared(Ticket, Result<P, Refusal>),
    Answered(Ticket, Result<(), Refusal>),
}

/// The running agent.
pub struct Service<H, C: Cloud, S> {
    world: World<H, S>,
    cloud: C,
    settings: Settings,
    circumstances: Circumstances,
    rule: Rule,
    stop_sender: mpsc::UnboundedSender<StopNews<C::Provision>>,
    stop_news: mpsc::UnboundedReceiver<StopNews<C::Provision>>,
    next_sample: Moment,
    next_ping: Option<Moment>,
    slept: Duration,
    mount: Mount,
    told_state: &'static str,
    told_efs: Efs,
    ready: bool,
}

impl<H: Host, C: Cloud, S: Supervisor> Service<H, C, S> {
    /// The agent with `settings`, before its first sample. `cloud` is what can end this machine.
    #[must_use]
    pub fn new(world: World<H, S>, cloud: C, settings: Settings) -> Self {
        let (stop_sender, stop_news) = mpsc::unbounded_channel();
        let now = world.clock.now();
        Service {
            circumstances: Circumstances::new(&settings, world.dry_run),
            rule: Rule::new(settings.terms()),
            stop_sender,
            stop_news,
            next_sample: now,
            next_ping: world.supervisor.watchdog().map(|_| now),
            slept: (world.slept)(),
            mount: Mount::Missing(String::new()),
            told_state: State::Starting.word(),
            told_efs: Efs::Off,
            ready: false,
            settings,
            cloud,
            world,
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        let version = env!("CARGO_PKG_VERSION");
        let ports = &self.circumstances.ports;
        self.tell(Level::INFO, Kind::Started, format!("mc-idle {version} watches {ports}."), None);
        loop {
            let wake = self.next_ping.map_or(self.next_sample, |ping| ping.min(self.next_sample));
            tokio::select! {
                () = time::sleep_until(self.world.clock.instant(wake)) => self.on_time(),
                Some(news) = self.stop_news.recv() => self.on_stop_news(news),
                Some(news) = self.world.news.recv() => self.on_news(news),
                Some(health) = self.world.health.recv() => self.on_health(health),
                signal = self.world.signals.recv() => match signal {
                    Some(Signal::Reload) => self.reload(),
                    Some(Signal::End) | None => break,
                },
            }
        }
        self.end().await;
    }

    fn on_time(&mut self) {
        let now = self.world.clock.now();
        if now >= self.next_sample {
            self.sample(now);
        }
        // Reached only while samples are on time: they are taken here.
        if let Some(period) = self.world.supervisor.watchdog() {
            self.world.supervisor.alive();
            self.next_ping = Some(now.plus(period / 2));
        }
    }

    fn sample(&mut self, now: Moment) {
        self.notice_sleep();
        let (reading, _) = self.world.host.sample(&self.settings.scope);
        let efs = self.look_for_efs();
        let actions = self.rule.observe(now, &reading, efs);
        let preparing = actions.iter().any(|action| matches!(action, Action::Prepare(_)));
        for action in actions {
            match action {
                Action::Prepare(ticket) => self.prepare(ticket, now),
                Action::AlarmBlind => {
                    let text = headline(&self.rule.view(now), &self.circumstances, clock::wall());
                    self.tell(Level::ERROR, Kind::BlindAlarm, text, Some(now));
                }
            }
        }
        let view = self.show(now);
        if !preparing {
            // While a stop is prepared its final heartbeat is on the way by itself.
            self.world.heart.tell(self.report(&view));
        }
        let interval = self.settings.sample_interval;
        let planned = self.next_sample.plus(interval);
        let regular = if planned > now { planned } else { now.plus(interval) };
        // The end of the window is looked at when it comes, not up to one interval later.
        self.next_sample = view.stop_in.map_or(regular, |left| regular.min(now.plus(left)));
        if !self.ready {
            self.ready = true;
            self.world.supervisor.ready();
        }
    }

    /// After a sleep nothing that was known is worth anything: it is another evening.
    fn notice_sleep(&mut self) {
        let slept = (self.world.slept)();
        if slept.saturating_sub(self.slept) >= SLEEP {
            self.rule.start_afresh();
            self.tell(Level::INFO, Kind::Resumed, "The machine has slept: the clocks start afresh.", None);
        }
        self.slept = slept;
    }

    fn look_for_efs(&mut self) -> Efs {
        let Some(efs) = self.settings.efs() else {
            self.world.target.send_replace(None);
            return Efs::Off;
        };
        self.mount = self.world.host.mount(efs);
        let target = match self.mount {
            Mount::Nfs { id } => {
                Some(Target { mount_id: id, mount_point: efs.mount_point.clone(), deadline: efs.probe })
            }
            Mount::Missing(_) => None,
        };
        let state = match (&target, &*self.world.verdict.borrow()) {
            (None, _) => Efs::Missing,
            (Some(target), Some(verdict)) if verdict.mount_id == target.mount_id => match verdict.answer {
                Ok(()) => Efs::Mounted,
                Err(_) => Efs::Hung,
            },
            (Some(_), _) => Efs::Unproven,
        };
        self.world.target.send_if_modified(|current| {
            let changed = *current != target;
            *current = target;
            changed
        });
        state
    }

    fn prepare(&mut self, ticket: Ticket, now: Moment) {
        let report = self.report(&self.rule.view(now));
        let (heart, cloud, action) = (self.world.heart.clone(), self.cloud.clone(), self.settings.action);
        let sender = self.stop_sender.clone();
        tokio::spawn(async move {
            let (prepared, ()) = tokio::join!(cloud.prepare(action), heart.last(report, LAST_HEARTBEAT));
            // Nobody listens only when the agent ends.
            let _ = sender.send(StopNews::Prepared(ticket, prepared));
        });
    }

    fn on_stop_news(&mut self, news: StopNews<C::Provision>) {
        match news {
            StopNews::Prepared(ticket, Ok(provision)) => self.last_look(ticket, provision),
            StopNews::Prepared(ticket, Err(refusal)) => {
                self.rule.unprepared(ticket, self.world.clock.now(), refusal, jitter());
            }
            StopNews::Answered(ticket, answer) => {
                let now = self.world.clock.now();
                let accepted = answer.is_ok();
                self.rule.answered(ticket, now, answer, jitter());
                if accepted {
                    let text = headline(&self.rule.view(now), &self.circumstances, clock::wall());
                    self.tell(Level::INFO, Kind::StopAccepted, text, Some(now));
                }
            }
        }
        self.show_and_write();
    }

    fn last_look(&mut self, ticket: Ticket, provision: C::Provision) {
        self.notice_sleep();
        let (own, landmarks) = self.world.host.sample(&self.settings.scope);
        let witness = self.world.host.witness(&self.settings.scope, landmarks);
        let now = self.world.clock.now();
        match self.rule.last_look(ticket, now, &own, &witness, jitter()) {
            Ok(leave) => {
                let (cloud, action) = (self.cloud.clone(), self.settings.action);
                let sender = self.stop_sender.clone();
                tokio::spawn(async move {
                    let answer = cloud.request(leave, action, provision).await;
                    // Nobody listens only when the agent ends.
                    let _ = sender.send(StopNews::Answered(ticket, answer));
                });
            }
            // Given up before, or told by the state that it leads to.
            Err(CallOff::Superseded | CallOff::WitnessBlind(_)) => {}
            Err(call_off) => {
                let text = format!("The {} was called off: {}.", self.settings.action.verb(), in_words(&call_off));
                self.tell(Level::INFO, Kind::StopCalledOff, text, Some(now));
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Identity(Ok(identity)) => {
                self.circumstances.identity_trouble = None;
                // A stop that failed for want of it need not wait any longer.
                self.rule.try_again_at(self.world.clock.now());
                let text = format!("This is {} in {}.", identity.instance_id, identity.region);
                self.tell(Level::INFO, Kind::IdentityFound, text, None);
            }
            News::Identity(Err(trouble)) => {
                if self.circumstances.identity_trouble.is_none() {
                    let text = format!("It is not known yet which instance this is, and it is asked again: {trouble}.");
                    self.tell(Level::WARN, Kind::IdentityMissing, text, None);
                }
                self.circumstances.identity_trouble = Some(trouble);
            }
            News::Permission(Ok(())) => {
                self.circumstances.permission_trouble = None;
                let text = format!("EC2 would {} this instance if it were asked.", self.settings.action.verb());
                self.tell(Level::INFO, Kind::PermissionGranted, text, None);
            }
            News::Permission(Err(refusal)) => {
                if self.circumstances.permission_trouble.as_ref() != Some(&refusal) {
                    let level = if refusal.lasting { Level::ERROR } else { Level::WARN };
                    let text = permission(&refusal, self.settings.action);
                    self.tell(level, Kind::PermissionRefused, text, None);
                }
                self.circumstances.permission_trouble = Some(refusal);
            }
        }
        self.show_and_write();
    }

    fn on_health(&mut self, health: Result<(), PutError>) {
        let before = self.circumstances.heartbeat_trouble.take();
        match (health, before) {
            (Ok(()), None) => return,
            (Ok(()), Some(_)) => {
                self.tell(Level::INFO, Kind::HeartbeatRecovered, "Heartbeats are written again.", None);
            }
            (Err(error), before) => {
                if before.is_none() {
                    let text = format!("Heartbeats are not written: {}.", error.text);
                    self.tell(Level::WARN, Kind::HeartbeatFailed, text, None);
                }
                self.circumstances.heartbeat_trouble = Some(error.text);
            }
        }
        self.show_and_write();
    }

    fn reload(&mut self) {
        match (self.world.load)() {
            Ok(settings) => {
                let mut text = "The configuration was read again.".to_owned();
                if settings.aws != self.settings.aws {
                    text.push_str(" What it says under aws is taken up at the next start.");
                }
                self.rule.set_terms(settings.terms());
                self.circumstances.set(&settings);
                self.world.heart.set(&settings.heartbeat);
                self.world.action.send_if_modified(|action| {
                    let changed = *action != settings.action;
                    *action = settings.action;
                    changed
                });
                self.settings = settings;
                let now = self.world.clock.now();
                self.next_sample = self.next_sample.min(now.plus(self.settings.sample_interval));
                self.tell(Level::INFO, Kind::Configuration, text, Some(now));
            }
            Err(error) => {
                let text = format!("The configuration is refused and the old one stays: {}", chain(&error));
                self.tell(Level::ERROR, Kind::Configuration, text, None);
            }
        }
        self.show_and_write();
    }

    async fn end(mut self) {
        self.world.supervisor.stopping();
        let now = self.world.clock.now();
        let mut view = self.rule.view(now);
        let stopping = self.rule.stopping();
        self.tell(Level::INFO, Kind::Ended, "mc-idle was asked to end.", Some(now));
        if !stopping {
            view.state = State::Ended;
            view.stop_in = None;
            let report = self.report(&view);
            self.world.heart.last(report, LAST_WORDS).await;
        }
    }

    fn show_and_write(&mut self) {
        let now = self.world.clock.now();
        let view = self.show(now);
        self.world.heart.tell(self.report(&view));
    }

    /// Tells systemd and the journal what has changed.
    fn show(&mut self, now: Moment) -> View {
        let view = self.rule.view(now);
        let text = self.sentence(&view);
        self.world.supervisor.status(&text);
        self.tell_efs(&view);
        if view.state.word() != self.told_state {
            self.told_state = view.state.word();
            let (level, kind) = match &view.state {
                State::StopFailed { refusal: Refusal { lasting: true, .. }, .. } => (Level::ERROR, Kind::StopRefused),
                State::StopFailed { .. } => (Level::WARN, Kind::StopRefused),
                State::Blind { .. } | State::Due(Wait::Efs { .. }) => (Level::WARN, Kind::StateChanged),
                State::Stopping { .. } => (Level::INFO, Kind::StopAsked),
                _ => (Level::INFO, Kind::StateChanged),
            };
            let text = headline(&view, &self.circumstances, clock::wall());
            self.world.journal.tell(level, kind, text, Some(Facts::from(&view)));
        }
        view
    }

    fn tell_efs(&mut self, view: &View) {
        let before = std::mem::replace(&mut self.told_efs, view.efs);
        if before.word() == view.efs.word() || (before == Efs::Off && view.efs.word() == Efs::Mounted.word()) {
            return;
        }
        let mount_point = self.settings.efs.mount_point.display();
        let verdict = self.world.verdict.borrow();
        let answer = verdict.as_ref().and_then(|verdict| verdict.answer.as_ref().err());
        let (level, text) = match (view.efs, &self.mount, answer) {
            (Efs::Missing, Mount::Missing(why), _) => (Level::WARN, format!("EFS is missing: {why}.")),
            (Efs::Hung, _, Some(answer)) => (Level::WARN, format!("EFS at {mount_point} is hung: {answer}.")),
            (Efs::Mounted | Efs::Unproven, ..) => (Level::INFO, format!("EFS is mounted at {mount_point}.")),
            _ => (Level::INFO, format!("EFS is {}.", view.efs.word())),
        };
        self.world.journal.tell(level, Kind::EfsChanged, text, Some(Facts::from(view)));
    }

    fn sentence(&self, view: &View) -> String {
        sentence(view, &self.circumstances, clock::wall())
    }

    fn report(&self, view: &View) -> Report {
        Report::new(view, self.sentence(view), clock::wall())
    }

    fn tell(&self, level: Level, kind: Kind, text: impl Into<String>, at: Option<Moment>) {
        self.world.journal.tell(level, kind, text, at.map(|now| Facts::from(&self.rule.view(now))));
    }
}

fn in_words(call_off: &CallOff) -> String {
    match call_off {
        CallOff::Superseded => "it was given up".to_owned(),
        CallOff::Connection => "a connection is there".to_owned(),
        CallOff::Blind => "the sockets could not be seen".to_owned(),
        CallOff::WitnessConnection => "netlink shows a connection that /proc did not".to_owned(),
        CallOff::WitnessBlind(why) => why.clone(),
    }
}

fn jitter() -> Jitter {
    Jitter::new(fastrand::f64())
}
