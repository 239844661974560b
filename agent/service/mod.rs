//! The service: takes samples on time, passes them to the rule, and carries out the rule's actions.
//!
//! Everything that may wait (AWS, the mounts, the journal) runs in its own task, process or thread; this loop only ever
//! waits for its own timers and for results from them.
//!
//! * [`deps`]: what the service works with: the outside, the tasks, and what comes from them.
//! * `stopping`: a stop in progress: prepared, last look, requested, answered.
//! * `news`: what is learned besides samples: the cloud, heartbeats, changed settings.

pub mod deps;
mod news;
mod stopping;

use std::time::Duration;

use mc_idle_rule::joining::AGAIN;
use mc_idle_rule::{Action, Alarm, Answer, Asked, Edition, Efs, ListenerId, Moment, Question, Rule, State, View};
use mc_service::notify::Supervisor;
use tokio::sync::mpsc;

use crate::ask::{self, AskTarget, Protocol};
use crate::clock::{self, SLEEP, Timer};
use crate::cloud::Cloud;
use crate::config::Settings;
use crate::config::settings::Scope;
use crate::holds::KnownHolds;
use crate::host::Host;
use crate::host::mounts::efs;
use crate::host::networks::{Depth, Look};
use crate::report::conditions::Conditions;
use crate::report::events::EventLog;
use crate::report::heartbeat::Report;
use crate::report::metrics::measurements::Measurements;
use crate::report::sentence::sentence;
use crate::report::snapshot::Snapshot;
use crate::report::status::Status;
use crate::signals::Signal;
use crate::state::runtime_files::FileContents;
use deps::{Deps, renew};
use stopping::StopEvent;

/// How long the agent waits at its end for the final heartbeat.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the agent waits at its end until its state is written and `status.json` is removed.
const LAST_WRITE: Duration = Duration::from_secs(1);
/// The longest time between two samples before a stop.
const BEFORE_A_STOP: Duration = Duration::from_secs(30);
/// The resolution of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

/// The running agent.
pub struct Service<H, C: Cloud, S> {
    deps: Deps<H, S>,
    cloud: C,
    settings: Settings,
    /// What is known apart from the rule.
    conditions: Conditions,
    events: EventLog,
    rule: Rule,
    stop_sender: mpsc::UnboundedSender<StopEvent<C::Provision>>,
    stop_events: mpsc::UnboundedReceiver<StopEvent<C::Provision>>,
    alarm: Timer,
    next_sample: Moment,
    next_ping: Option<Moment>,
    slept: Duration,
    last: Look,
    ready: bool,
}

impl<H: Host, C: Cloud, S: Supervisor> Service<H, C, S> {
    /// The agent with `settings`, before its first sample. `cloud` is what can stop this machine.
    #[must_use]
    pub fn new(mut deps: Deps<H, S>, cloud: C, settings: Settings) -> Self {
        let (stop_sender, stop_events) = mpsc::unbounded_channel();
        let now = deps.clock.now();
        Service {
            conditions: Conditions { boot_id: deps.boot_id.clone(), dry_run: deps.dry_run, ..Conditions::default() },
            events: EventLog::new(deps.journal.clone()),
            rule: match deps.memory.take() {
                Some(memory) => Rule::remembering(settings.rule_settings(), memory, now),
                None => Rule::new(settings.rule_settings()),
            },
            stop_sender,
            stop_events,
            alarm: deps.clock.alarm(),
            next_sample: now,
            next_ping: deps.supervisor.watchdog().map(|_| now),
            slept: (deps.slept)(),
            last: Look::default(),
            ready: false,
            settings,
            cloud,
            deps,
        }
    }

    /// Runs until a signal ends it.
    pub async fn run(mut self) {
        self.events.started(&self.settings);
        if let Err(why) = self.deps.host.second_witness() {
            self.no_witness(&why);
        }
        loop {
            let wake = self.next_ping.map_or(self.next_sample, |ping| ping.min(self.next_sample));
            tokio::select! {
                () = self.alarm.at(wake) => self.on_time(),
                Some(event) = self.stop_events.recv() => self.on_stop_event(event),
                Some(event) = self.deps.inputs.cloud.recv() => self.on_cloud_event(event),
                Some(asked) = self.deps.inputs.answers.recv() => self.rule.learn(learned(asked)),
                Some(health) = self.deps.inputs.health.recv() => self.on_health(health),
                signal = self.deps.inputs.signals.recv() => match signal {
                    Some(Signal::Reload) => self.reload(),
                    Some(Signal::End) | None => break,
                },
            }
        }
        self.end().await;
    }

    fn on_time(&mut self) {
        let now = self.deps.clock.now();
        if now >= self.next_sample {
            self.sample(now);
        }
        // Reached only while samples are on time, since they are taken here. A ping that can wait for the next sample
        // is left to it.
        if let Some(period) = self.deps.supervisor.watchdog()
            && self.next_ping.is_none_or(|ping| ping <= now || ping < self.next_sample)
        {
            self.deps.supervisor.alive();
            self.next_ping = Some(now.plus(period / 2));
        }
    }

    fn sample(&mut self, now: Moment) {
        self.notice_sleep();
        let own = self.deps.tasks.asker.own().snapshot();
        let scope = self.scope();
        self.last = self.deps.host.look(now, Depth::Sample, &scope, &own);
        let efs = self.look_for_efs();
        self.look_for_holds(now);
        let actions = self.rule.observe(now, &self.last.facts, efs);
        let preparing = actions.iter().any(|action| matches!(action, Action::Prepare(_)));
        for action in actions {
            match action {
                Action::Prepare(attempt) => self.prepare(attempt, now),
                Action::Alarm(alarm) => self.alarm(&alarm, now),
            }
        }
        self.deps.tasks.asker.watch(self.ask_targets(), self.settings.ask.interval);
        let view = if preparing {
            // The preparation of a stop sends its final heartbeat itself.
            self.show(now)
        } else {
            self.show_and_write(now)
        };
        let interval = sample_interval(self.settings.sample_interval, &view);
        let planned = self.next_sample.plus(interval);
        let regular = if planned > now { planned } else { now.plus(interval) };
        // Take a sample when the window ends, not up to one interval later.
        self.next_sample = view.stop_in.map_or(regular, |left| regular.min(now.plus(left.max(TICK))));
        if !self.ready {
            self.ready = true;
            self.deps.supervisor.ready();
        }
    }

    /// After a suspend nothing that was known before applies any more.
    fn notice_sleep(&mut self) {
        let slept = (self.deps.slept)();
        if slept.saturating_sub(self.slept) >= SLEEP {
            self.rule.start_afresh();
            self.events.resumed();
        }
        self.slept = slept;
    }

    fn look_for_efs(&mut self) -> Efs {
        let settings = &self.settings.efs;
        let watched = self.deps.host.mounts(&settings.mount_point).watched;
        let targets = efs::targets(&watched, settings);
        let mounts = efs::judge(watched, &self.deps.inputs.probe_results.borrow(), &settings.mount_point);
        renew(&self.deps.tasks.targets, &targets);
        let worst = efs::worst(mounts.iter().map(|mount| mount.state));
        self.conditions.mounts = mounts;
        worst
    }

    fn look_for_holds(&mut self, now: Moment) {
        let KnownHolds { holds, notes, pending } = (self.deps.holds)(now);
        self.rule.hold(pending || !holds.is_empty());
        self.events.hold_notes(&self.conditions.hold_notes, &notes);
        self.events.holds(&self.conditions.holds, &holds);
        (self.conditions.hold_notes, self.conditions.holds) = (notes, holds);
    }

    /// What a look has to show.
    fn scope(&self) -> Scope {
        Scope { ports: self.rule.watched_ports(), ..self.settings.scope.clone() }
    }

    /// Which listeners are asked, and where.
    fn ask_targets(&self) -> Vec<AskTarget<ListenerId>> {
        let target = |Question { listener, address, .. }: Question| {
            let protocol = match listener.edition {
                Edition::Java => Protocol::Java,
                Edition::Bedrock => Protocol::Bedrock,
            };
            AskTarget { id: listener, protocol, address }
        };
        let questions = if self.settings.ask.enabled { self.rule.questions() } else { Vec::new() };
        questions.into_iter().map(target).collect()
    }

    fn alarm(&self, alarm: &Alarm, now: Moment) {
        self.events.alarm(alarm, &self.rule.joining_peers(now), &self.snapshot(now));
    }

    fn no_witness(&mut self, why: &str) {
        if self.rule.no_witness(why) {
            self.alarm(&Alarm::NoWitness(why.to_owned()), self.deps.clock.now());
        }
    }

    async fn end(mut self) {
        self.deps.supervisor.stopping();
        let snapshot = self.snapshot(self.deps.clock.now());
        self.events.ending(&snapshot);
        // A stop that is only being prepared will not be requested any more.
        let ended = !self.rule.stop_requested();
        let snapshot = if ended { snapshot.ended() } else { snapshot };
        let tasks = &self.deps.tasks;
        let textfile = self.settings.metrics_textfile.as_deref();
        let measurements = Measurements::new(&snapshot);
        let metrics = tasks.metrics.end(textfile, &measurements, LAST_WORDS);
        let files = tasks.runtime_files.last(self.file_contents(&snapshot), LAST_WORDS);
        let heartbeat = async {
            if ended {
                tasks.heartbeat.clone().last(Report::new(&snapshot), LAST_WORDS).await;
            }
        };
        tokio::join!(files, heartbeat, metrics);
        self.deps.tasks.runtime_files.finish(LAST_WRITE);
    }

    /// The state at `now`, from which all reports are made.
    fn snapshot(&self, now: Moment) -> Snapshot<'_> {
        Snapshot::new(&self.rule, &self.last.ignored, &self.settings, &self.conditions, now, clock::wall())
    }

    /// Publishes the current state everywhere, including the heartbeat.
    fn show_and_write(&mut self, now: Moment) -> View {
        let view = self.show(now);
        self.deps.tasks.heartbeat.tell(Report::new(&self.snapshot(now)));
        view
    }

    /// Publishes the current state everywhere except in the heartbeat.
    fn show(&mut self, now: Moment) -> View {
        let Service { rule, last, settings, conditions, deps, events, slept, .. } = self;
        let snapshot = Snapshot::new(rule, &last.ignored, settings, conditions, now, clock::wall());
        deps.supervisor.status(&sentence(&snapshot));
        events.changes(&snapshot);
        let contents = FileContents { memory: rule.memory(), slept: *slept, status: Status::new(&snapshot) };
        deps.tasks.runtime_files.keep(now, contents);
        deps.tasks.metrics.show(settings.metrics_textfile.as_deref(), now, &Measurements::new(&snapshot));
        snapshot.view
    }

    fn file_contents(&self, snapshot: &Snapshot<'_>) -> FileContents {
        FileContents { memory: self.rule.memory(), slept: self.slept, status: Status::new(snapshot) }
    }
}

/// The time to the next sample. Who tries to join for longer than a scanner does has to show in one before a stop: in the last
/// minutes they are not far apart, whatever is set.
fn sample_interval(set: Duration, view: &View) -> Duration {
    let is_near = view.stop_in.is_some_and(|left| left <= AGAIN + set)
        || matches!(view.state, State::Due(_) | State::StopFailed { .. });
    if is_near { set.min(BEFORE_A_STOP) } else { set }
}

/// The outcome of a question, as the rule takes it.
fn learned(asked: ask::AskOutcome<ListenerId>) -> Asked {
    let answer = asked.answer.ok().map(|ask::Answer { online, names }| Answer { online, names });
    Asked { listener: asked.id, at: asked.asked_at, answer, arrived: asked.arrived }
}
