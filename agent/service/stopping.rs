//! A stop in progress: prepared, last look, requested, answered.

use std::time::Duration;

use mc_idle_rule::rule::StopError;
use mc_idle_rule::{Asked, AttemptId, Moment, Witness};
use mc_service::notify::Supervisor;

use super::{Service, learned};
use crate::ask;
use crate::cloud::{Cloud, StopAction};
use crate::host::Host;
use crate::host::networks::{Depth, SecondLook};
use crate::jitter::jitter;
use crate::report::heartbeat::Report;

/// How long a stop waits for its final heartbeat.
const LAST_HEARTBEAT: Duration = Duration::from_secs(5);
/// Whoever has come since the last look began may not show in it: the request may not be later than this after that.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// What comes back from the task of a stop.
pub(super) enum StopEvent<P> {
    /// With the action that it was prepared for, which a reload in between does not change, and what the servers
    /// answered.
    Prepared(AttemptId, StopAction, Vec<Asked>, Result<P, StopError>),
    Answered(AttemptId, Result<(), StopError>),
}

impl<H: Host, C: Cloud, S: Supervisor> Service<H, C, S> {
    /// Prepares the stop in a task.
    pub(super) fn prepare(&mut self, attempt: AttemptId, now: Moment) {
        let report = Report::new(&self.snapshot(now));
        let (heartbeat, cloud, action) = (self.deps.tasks.heartbeat.clone(), self.cloud.clone(), self.settings.action);
        let (asker, targets, clock) = (self.deps.tasks.asker.clone(), self.ask_targets(), self.deps.clock);
        let indirect = self.settings.ask.enabled && self.rule.questions().iter().any(|question| !question.direct);
        let sender = self.stop_sender.clone();
        let written = heartbeat.last(report, LAST_HEARTBEAT);
        tokio::spawn(async move {
            let (prepared, fresh, ()) = tokio::join!(cloud.prepare(action), asker.ask_all(targets), written);
            if let Some(closed) = asker.own().last_closed().filter(|_| indirect) {
                // After this, no table shows a question of the agent's own whose address is not known.
                clock.alarm().at(closed.plus(ask::own::LINGER)).await;
            }
            // The receiver is gone only when the agent ends.
            let fresh = fresh.into_iter().map(learned).collect();
            let _ = sender.send(StopEvent::Prepared(attempt, action, fresh, prepared));
        });
    }

    /// Continues a stop with the result of its task.
    pub(super) fn on_stop_event(&mut self, event: StopEvent<C::Provision>) {
        match event {
            StopEvent::Prepared(attempt, action, fresh, Ok(provision)) => {
                self.last_look(attempt, action, fresh, provision);
            }
            StopEvent::Prepared(attempt, _, _, Err(stop_error)) => {
                self.conditions.attempts.answered(Err(&stop_error));
                self.rule.unprepared(attempt, self.deps.clock.now(), stop_error, jitter());
            }
            StopEvent::Answered(attempt, answer) => {
                let now = self.deps.clock.now();
                let accepted = answer.is_ok();
                self.conditions.attempts.answered(answer.as_ref().copied());
                self.rule.answered(attempt, now, answer, jitter());
                if accepted {
                    self.events.accepted(&self.snapshot(now));
                }
            }
        }
        self.show_and_write(self.deps.clock.now());
    }

    /// Takes the last look. Nothing that waits comes between a clean one and the request.
    fn last_look(&mut self, attempt: AttemptId, action: StopAction, fresh: Vec<Asked>, provision: C::Provision) {
        self.notice_sleep();
        let (scope, own) = (self.scope(), self.deps.tasks.asker.own().snapshot());
        let before = self.deps.clock.now();
        let first = self.deps.host.look(before, Depth::LastLook, &scope, &own).facts;
        let second = self.deps.host.second_look(before, &scope, &own);
        let now = self.deps.clock.now();
        self.look_for_holds(now);
        let witness = match &second {
            SecondLook::Witness(facts) => Witness::Second(facts),
            SecondLook::Reread { why, facts } => {
                self.no_witness(why);
                Witness::Reread { why, facts }
            }
        };
        match self.rule.last_look(attempt, now, &first, witness, fresh, jitter()) {
            Ok(permit) => {
                let (cloud, sender, clock) = (self.cloud.clone(), self.stop_sender.clone(), self.deps.clock);
                tokio::spawn(async move {
                    let answer = if clock.now().since(before) > LAST_LOOK {
                        Err(too_late())
                    } else {
                        cloud.request(permit, action, provision).await
                    };
                    // The receiver is gone only when the agent ends.
                    let _ = sender.send(StopEvent::Answered(attempt, answer));
                });
            }
            Err(reason) => {
                self.conditions.attempts.called_off(&reason);
                self.events.aborted(&reason, &self.snapshot(now));
            }
        }
    }
}

/// The last look, or the way to the request, took so long that somebody may have come.
fn too_late() -> StopError {
    StopError { permanent: false, text: "the last look took too long to rely on, and is taken again".to_owned() }
}
