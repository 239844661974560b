//! What the service learns besides samples: from the cloud, from heartbeats, from a configuration that is read again.

use mc_service::notify::Supervisor;

use super::Service;
use crate::clock;
use crate::cloud::{Cloud, CloudEvent};
use crate::host::Host;
use crate::report::heartbeat::PutError;

impl<H: Host, C: Cloud, S: Supervisor> Service<H, C, S> {
    /// Handles what was learned about the cloud.
    pub(super) fn on_cloud_event(&mut self, event: CloudEvent) {
        let action = self.settings.action;
        match event {
            CloudEvent::Identity(identity) => {
                if identity.is_ok() {
                    // A stop that failed because the identity was missing need not wait any longer.
                    self.rule.try_again_at(self.deps.clock.now());
                }
                self.events.identity(&self.conditions, &identity);
                self.conditions.set_identity(identity);
            }
            CloudEvent::Permission(answer) => {
                self.events.permission(&self.conditions, &answer, action);
                self.conditions.permission_trouble = answer.err();
            }
            CloudEvent::StopCaveat(caveat) => {
                self.events.caveat(&self.conditions, caveat, action);
                self.conditions.caveats.insert(caveat);
            }
            CloudEvent::Reclaim(notice) => {
                self.rule.reclaim(self.deps.clock.now(), notice.is_some());
                if notice != self.conditions.notice {
                    self.events.reclaim(notice.as_ref(), action);
                }
                self.conditions.notice = notice;
            }
        }
        self.show_and_write(self.deps.clock.now());
    }

    /// Handles whether a heartbeat was written.
    pub(super) fn on_health(&mut self, health: Result<(), PutError>) {
        self.events.heartbeats(&self.conditions, &health);
        let before = self.conditions.heartbeat_trouble.take();
        match health {
            Ok(()) => self.conditions.heartbeat_written = Some(clock::wall()),
            Err(error) => self.conditions.heartbeat_trouble = Some(error.text),
        }
        if before.is_some() || self.conditions.heartbeat_trouble.is_some() {
            self.show_and_write(self.deps.clock.now());
        }
    }

    /// Reads the configuration again. The clocks keep running.
    pub(super) fn reload(&mut self) {
        match (self.deps.load)() {
            Ok(settings) => {
                self.rule.set_settings(settings.rule_settings());
                if !settings.ask.enabled {
                    self.rule.forget_answers();
                }
                self.deps.tasks.reload(&settings);
                let now = self.deps.clock.now();
                self.next_sample = self.next_sample.min(now.plus(settings.sample_interval));
                let needs_restart = settings.aws != self.settings.aws;
                let changes = self.settings.changes_to(&settings);
                self.settings = settings;
                self.events.reloaded(&changes, needs_restart, &self.snapshot(now));
            }
            Err(error) => self.events.reload_refused(&error),
        }
        self.show_and_write(self.deps.clock.now());
    }
}
