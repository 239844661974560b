//! The service: takes samples on time, gives them to the rule, and has done what the rule asks for.
//!
//! Everything that waits (AWS, the mount, the journal) is in a task, a process or a thread of its own; this loop only
//! ever waits for its own timers, and for news from them.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::announcer::Announcer;
use crate::clock::{self, Alarm, Clock, SLEEP};
use crate::cloud::{Cloud, News};
use crate::config::settings::{HoldSettings, StopAction};
use crate::config::{ConfigError, Settings};
use crate::heartbeat::{Heart, PutError};
use crate::hold::Known;
use crate::host::mountinfo::Mount;
use crate::host::probe::{Target, Verdict};
use crate::host::{Host, Sample};
use crate::idle::rule::Refusal;
use crate::idle::{Action, Efs, Memory, Moment, Reading, Rule, Seen, State, Ticket, View};
use crate::jitter::jitter;
use crate::journal::Journal;
use crate::keeper::{Keeper, Page};
use crate::metrics::facts::{Attempts, Facts};
use crate::metrics::textfile::Textfile;
use crate::notify::Supervisor;
use crate::status::Status;
use crate::status::record::Subject;

/// How long a stop waits for its final heartbeat.
const LAST_HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the end of the agent waits for its final heartbeat.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the end of the agent waits until its state is written and its picture is taken away.
const LAST_PAGE: Duration = Duration::from_millis(300);
/// tokio's timers count in these.
const TICK: Duration = Duration::from_millis(1);

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
    /// What an agent before this one knew.
    pub memory: Option<Memory>,
    /// Keeps what the next one has to know, and the picture for `mc-idle status`.
    pub keeper: Keeper,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// Where the metrics go.
    pub metrics: Textfile,
    /// Who holds the instance, and what of that cannot be taken up.
    pub holds: Box<dyn Fn(Moment) -> Known + Send>,
    /// Who may hold.
    pub hold: watch::Sender<HoldSettings>,
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
    /// With the action that it was prepared for: a reload in between does not change what is asked for.
    Prepared(Ticket, StopAction, Result<P, Refusal>),
    Answered(Ticket, Result<(), Refusal>),
}

/// The running agent.
pub struct Service<H, C: Cloud, S> {
    world: World<H, S>,
    cloud: C,
    settings: Settings,
    announcer: Announcer,
    rule: Rule,
    stop_sender: mpsc::UnboundedSender<StopNews<C::Provision>>,
    stop_news: mpsc::UnboundedReceiver<StopNews<C::Provision>>,
    alarm: Alarm,
    next_sample: Moment,
    next_ping: Option<Moment>,
    slept: Duration,
    mount: Mount,
    last: Sample,
    heartbeat_written: Option<Timestamp>,
    attempts: Attempts,
    ready: bool,
}

impl<H: Host, C: Cloud, S: Supervisor> Service<H, C, S> {
    /// The agent with `settings`, before its first sample. `cloud` is what can end this machine.
    #[must_use]
    pub fn new(mut world: World<H, S>, cloud: C, settings: Settings) -> Self {
        let (stop_sender, stop_news) = mpsc::unbounded_channel();
        let now = world.clock.now();
        Service {
            announcer: Announcer::new(world.journal.clone(), &settings, world.dry_run),
            rule: match world.memory.take() {
                Some(memory) => Rule::remembering(settings.terms(), memory, now),
                None => Rule::new(settings.terms()),
            },
            stop_sender,
            stop_news,
            alarm: world.clock.alarm(),
            next_sample: now,
            next_ping: world.supervisor.watchdog().map(|_| now),
            slept: (world.slept)(),
            mount: Mount::Missing(String::new()),
            last: Sample::of(Reading::Seen(Seen::default())),
            heartbeat_written: None,
            attempts: Attempts::default(),
            ready: false,
            settings,
            cloud,
            world,
        }
    }

    /// Works until it is told to end.
    pub async fn run(mut self) {
        self.announcer.started();
        loop {
            let wake = self.next_ping.map_or(self.next_sample, |ping| ping.min(self.next_sample));
            tokio::select! {
                () = self.alarm.at(wake) => self.on_time(),
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
        // Reached only while samples are on time: they are taken here. One that comes in time for the next ping is let do.
        if let Some(period) = self.world.supervisor.watchdog()
            && self.next_ping.is_none_or(|ping| ping <= now || ping < self.next_sample)
        {
            self.world.supervisor.alive();
            self.next_ping = Some(now.plus(period / 2));
        }
    }

    fn sample(&mut self, now: Moment) {
        self.notice_sleep();
        self.last = self.world.host.sample(&self.settings.scope);
        let efs = self.look_for_efs();
        self.look_for_holds(now);
        let actions = self.rule.observe(now, &self.last.reading, efs);
        let preparing = actions.iter().any(|action| matches!(action, Action::Prepare(_)));
        for action in actions {
            match action {
                Action::Prepare(ticket) => self.prepare(ticket, now),
                Action::AlarmBlind => self.announcer.alarm_blind(&self.rule.view(now)),
            }
        }
        let view = self.show(now);
        if !preparing {
            // While a stop is prepared its final heartbeat is on the way by itself.
            self.world.heart.tell(self.announcer.report(&view));
        }
        let interval = self.settings.sample_interval;
        let planned = self.next_sample.plus(interval);
        let regular = if planned > now { planned } else { now.plus(interval) };
        // The end of the window is looked at when it comes, not up to one interval later.
        self.next_sample = view.stop_in.map_or(regular, |left| regular.min(now.plus(left.max(TICK))));
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
            self.announcer.resumed();
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

    fn look_for_holds(&mut self, now: Moment) {
        let Known { holds, trouble, pending } = (self.world.holds)(now);
        self.rule.hold(pending || !holds.is_empty());
        self.announcer.hold_trouble(trouble);
        self.announcer.holds(holds);
    }

    fn prepare(&mut self, ticket: Ticket, now: Moment) {
        let report = self.announcer.report(&self.rule.view(now));
        let (heart, cloud, action) = (self.world.heart.clone(), self.cloud.clone(), self.settings.action);
        let sender = self.stop_sender.clone();
        tokio::spawn(async move {
            let (prepared, ()) = tokio::join!(cloud.prepare(action), heart.last(report, LAST_HEARTBEAT));
            // Nobody listens only when the agent ends.
            let _ = sender.send(StopNews::Prepared(ticket, action, prepared));
        });
    }

    fn on_stop_news(&mut self, news: StopNews<C::Provision>) {
        match news {
            StopNews::Prepared(ticket, action, Ok(provision)) => self.last_look(ticket, action, provision),
            StopNews::Prepared(ticket, _, Err(refusal)) => {
                self.attempts.answered(Err(&refusal));
                self.rule.unprepared(ticket, self.world.clock.now(), refusal, jitter());
            }
            StopNews::Answered(ticket, answer) => {
                let now = self.world.clock.now();
                let accepted = answer.is_ok();
                self.attempts.answered(answer.as_ref().copied());
                self.rule.answered(ticket, now, answer, jitter());
                if accepted {
                    self.announcer.accepted(&self.rule.view(now));
                }
            }
        }
        self.show_and_write();
    }

    fn last_look(&mut self, ticket: Ticket, action: StopAction, provision: C::Provision) {
        self.notice_sleep();
        self.look_for_holds(self.world.clock.now());
        let own = self.world.host.sample(&self.settings.scope).reading;
        let witness = self.world.host.witness(&self.settings.scope);
        let now = self.world.clock.now();
        match self.rule.last_look(ticket, now, &own, &witness, jitter()) {
            Ok(leave) => {
                let (cloud, sender) = (self.cloud.clone(), self.stop_sender.clone());
                tokio::spawn(async move {
                    let answer = cloud.request(leave, action, provision).await;
                    // Nobody listens only when the agent ends.
                    let _ = sender.send(StopNews::Answered(ticket, answer));
                });
            }
            Err(call_off) => {
                self.attempts.called_off(&call_off);
                self.announcer.called_off(&call_off, &self.rule.view(now));
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Identity(identity) => {
                if identity.is_ok() {
                    // A stop that failed for want of it need not wait any longer.
                    self.rule.try_again_at(self.world.clock.now());
                }
                self.announcer.identity(identity);
            }
            News::Permission(answer) => self.announcer.permission(answer),
            News::Caution(caution) => self.announcer.caution(caution),
            News::Reclaim(notice) => {
                self.rule.reclaim(self.world.clock.now(), notice.is_some());
                self.announcer.reclaim(notice);
            }
        }
        self.show_and_write();
    }

    fn on_health(&mut self, health: Result<(), PutError>) {
        if health.is_ok() {
            self.heartbeat_written = Some(clock::wall());
        }
        if self.announcer.heartbeats(health) {
            self.show_and_write();
        }
    }

    fn reload(&mut self) {
        match (self.world.load)() {
            Ok(settings) => {
                self.rule.set_terms(settings.terms());
                self.world.heart.set(&settings.heartbeat);
                self.world.action.send_if_modified(|action| {
                    let changed = *action != settings.action;
                    *action = settings.action;
                    changed
                });
                self.world.hold.send_if_modified(|hold| {
                    let changed = *hold != settings.hold;
                    hold.clone_from(&settings.hold);
                    changed
                });
                let now = self.world.clock.now();
                self.next_sample = self.next_sample.min(now.plus(settings.sample_interval));
                let needs_restart = settings.aws != self.settings.aws;
                let changes = self.settings.changes_to(&settings);
                self.announcer.reloaded(&settings, &changes, needs_restart, &self.rule.view(now));
                self.settings = settings;
            }
            Err(error) => self.announcer.reload_refused(&error),
        }
        self.show_and_write();
    }

    async fn end(mut self) {
        self.world.supervisor.stopping();
        let now = self.world.clock.now();
        let mut view = self.rule.view(now);
        self.announcer.ending(&view);
        if !self.rule.stopping() {
            view.state = State::Ended;
            view.stop_in = None;
        }
        let facts = self.facts(&view);
        let metrics = self.world.metrics.end(self.settings.metrics_textfile.as_deref(), &facts, LAST_WORDS);
        let files = self.world.keeper.last(self.page(now), LAST_WORDS);
        let heartbeat = async {
            if view.state == State::Ended {
                self.world.heart.clone().last(self.announcer.report(&view), LAST_WORDS).await;
            }
        };
        tokio::join!(files, heartbeat, metrics);
        self.world.keeper.finish(LAST_PAGE);
    }

    fn show_and_write(&mut self) {
        let view = self.show(self.world.clock.now());
        self.world.heart.tell(self.announcer.report(&view));
    }

    /// Tells systemd and the journal what has changed.
    fn show(&mut self, now: Moment) -> View {
        let view = self.rule.view(now);
        self.world.supervisor.status(&self.announcer.sentence(&view));
        self.announcer.changes(&view, &self.mount, self.world.verdict.borrow().as_ref());
        self.world.keeper.keep(now, self.page(now));
        let facts = self.facts(&view);
        self.world.metrics.show(self.settings.metrics_textfile.as_deref(), now, &facts);
        view
    }

    fn page(&self, now: Moment) -> Page {
        let subject = Subject {
            settings: &self.settings,
            circumstances: self.announcer.circumstances(),
            rule: &self.rule,
            sample: &self.last,
            heartbeat_written: self.heartbeat_written,
            boot_id: &self.world.boot_id,
        };
        let status = Status::new(&subject, now, clock::wall());
        Page { memory: self.rule.memory(), slept: self.slept, status }
    }

    fn facts(&self, view: &View) -> Facts {
        let holds = &self.announcer.circumstances().holds;
        Facts::new(view, holds, self.attempts, self.world.dry_run, self.heartbeat_written, clock::wall())
    }
}
