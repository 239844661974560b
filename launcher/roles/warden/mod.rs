//! The warden's role: it looks again and again, serves wishes, watches over agents, keeps the records and tells people. An event
//! only wakes it: what is so is always read from EC2 and SSM.
//!
//! What was wished for is started in `wishes`, and what the dead-man's switch decides is carried out in `unwatched`.

mod unwatched;
mod wishes;

use std::time::Duration;

use jiff::Timestamp;
use mc_service::printable::printable;
use serde_json::Value;

use crate::aws::ec2::Ec2;
use crate::aws::parameters::Parameters;
use crate::aws::{Aws, zone};
use crate::deadline::Deadline;
use crate::roles::delivery::Delivery;
use crate::roles::look::{Look, look};
use mc_launcher_core::server::instance::InstanceState;
use mc_launcher_core::server::usage::Usage;
use mc_launcher_core::settings::Settings;
use mc_launcher_core::tell::address::Reach;
use mc_launcher_core::tell::channel::Channels;
use mc_launcher_core::warden::figures::Figures;
use mc_launcher_core::warden::memory::Memory;
use mc_launcher_core::warden::news::{Facts, is_just_started, news};
use mc_launcher_core::warden::record::{self, Records};

/// How long EC2 and SSM may take for one look.
const LOOKS: Duration = Duration::from_secs(20);
/// How often what was told is written where other looks write, too.
const WRITES: usize = 4;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);

/// What has woken the warden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// The schedule, or an event that says nothing by itself.
    Schedule,
    /// A notice that EC2 takes this spot instance back (EC2 user guide, spot instance interruption notices).
    SpotNotice(String),
}

impl Wake {
    /// What an event of EventBridge means. One of another form wakes the warden all the same.
    #[must_use]
    pub fn of_event(event: &Value) -> Self {
        let is_notice =
            event.get("detail-type").and_then(Value::as_str) == Some("EC2 Spot Instance Interruption Warning");
        let id = event.get("detail").and_then(|detail| detail.get("instance-id")).and_then(Value::as_str);
        match id {
            Some(id) if is_notice => Wake::SpotNotice(id.to_owned()),
            _ => Wake::Schedule,
        }
    }
}

/// The warden's role.
#[derive(Debug)]
pub struct WardenRole {
    settings: Settings,
    aws: Aws,
    reach: Reach,
}

/// What has come of a look.
#[derive(Debug)]
pub struct Looked {
    /// `None`: there was no look.
    pub figures: Option<Figures>,
    /// What could not be seen, done or told that is the warden's to do: an alarm on errors watches the watchman.
    pub outcome: Result<(), String>,
}

/// One look of the warden.
struct Round<'a> {
    role: &'a WardenRole,
    log: &'a (dyn Fn(&str) + Sync),
    memory: Memory,
    /// What the parameter `told` says, as far as this look knows.
    noted: Memory,
    /// The version of the parameter in which it says so; 0: there is none.
    version: i64,
    channels: Channels,
    /// What this look alone knows, and no later one.
    notices: Vec<String>,
    /// What went wrong that nobody else would tell.
    failures: Vec<String>,
}

impl WardenRole {
    /// For the server in `settings`, with channels that may lead as far as `reach`.
    #[must_use]
    pub fn new(settings: Settings, aws: Aws, reach: Reach) -> Self {
        WardenRole { settings, aws, reach }
    }

    fn ec2(&self) -> Ec2<'_> {
        Ec2::new(&self.aws, &self.settings.server)
    }

    fn parameters(&self) -> Parameters<'_> {
        Parameters::new(&self.aws, &self.settings)
    }

    /// Looks once. `log` takes a line about what was done.
    pub async fn look(&self, wake: &Wake, log: &(dyn Fn(&str) + Sync)) -> Looked {
        let deadline = Deadline::after(LOOKS);
        let parameters = self.parameters();
        let (seen, told, tell) = tokio::join!(
            look(&self.aws, &self.settings, deadline),
            parameters.get("told", deadline),
            parameters.get("tell", deadline),
        );
        // Without it everything would be told again at every look.
        let (told, version) = match told {
            Ok(told) => {
                let version = told.as_ref().map_or(0, |parameter| parameter.version);
                (told, version)
            }
            Err(why) => {
                return Looked { figures: None, outcome: Err(format!("cannot read what has been told: {why}")) };
            }
        };
        let mut failures = Vec::new();
        let memory = told.map_or_else(Memory::default, |parameter| {
            Memory::parse(&parameter.value).unwrap_or_else(|| {
                log("the parameter told is damaged: begun anew");
                Memory::default()
            })
        });
        let channels = tell.and_then(|found| {
            found.map_or_else(|| Ok(Channels::default()), |found| Channels::parse(&found.value, self.reach))
        });
        let channels = channels.unwrap_or_else(|why| {
            failures.push(format!("nobody can be told anything: {why}"));
            Channels::default()
        });
        let noted = memory.clone();
        Round { role: self, log, memory, noted, version, channels, notices: Vec::new(), failures }.run(wake, seen).await
    }
}

impl Round<'_> {
    async fn run(mut self, wake: &Wake, seen: Look) -> Looked {
        let now = seen.at;
        self.memory.outbox.tidy(&self.channels.names().collect::<Vec<_>>(), now);
        if let Err(why) = &seen.seen.instances {
            self.failures.push(format!("cannot see the server's instances: {why}"));
        }
        self.note_usage(&seen).await;
        self.serve_wish(&seen).await;
        let mut to_ask = self.watch(&seen).await;
        self.tell_news(wake, &seen);
        self.keep_records(&seen).await;
        // Noted before anything is sent, so that nothing is lost with this process.
        if self.is_due(now) && !self.claim(now).await {
            self.begin_again(wake, &seen).await;
            to_ask.clear();
            if self.is_due(now) {
                // Rather twice than never.
                self.claim(now).await;
            }
        }
        self.deliver().await;
        for instance in to_ask {
            self.ask(&instance).await;
        }
        self.deliver().await;
        if self.memory != self.noted && !self.remember().await {
            self.failures.push("what was told could not be noted, and is told again".to_owned());
        }
        let outcome = if self.failures.is_empty() { Ok(()) } else { Err(self.failures.join("; ")) };
        Looked { figures: Some(self.figures(&seen)), outcome }
    }

    fn figures(&self, seen: &Look) -> Figures {
        let instances = seen.seen.instances.as_ref().ok().map(Vec::as_slice);
        let status = seen.status(&self.role.settings);
        Figures::new(instances, seen.usage.as_ref().ok(), &status, &self.memory.cases, seen.at)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        !self.memory.outbox.due(now).is_empty()
    }

    /// Goes on from what another look has noted: what that one does not tell is told by this one. What the
    /// dead-man's switch wants is left to the other one, or to the next.
    async fn begin_again(&mut self, wake: &Wake, seen: &Look) {
        let Some((noted, version)) = self.read_again().await else { return };
        (self.noted, self.version) = (noted.clone(), version);
        self.memory = Memory { records: self.memory.records, ..noted };
        for notice in std::mem::take(&mut self.notices) {
            self.memory.outbox.add(&printable(&notice), self.channels.names(), seen.at);
        }
        self.tell_news(wake, seen);
    }

    /// What is noted now, and in which version; `None`: nothing, or it cannot be read.
    async fn read_again(&self) -> Option<(Memory, i64)> {
        let found = self.role.parameters().get("told", Deadline::after(CALL)).await.ok().flatten()?;
        Some((Memory::parse(&found.value)?, found.version))
    }

    /// Notes that what is due is about to be sent; `false`: another look has noted something since this one has read what was
    /// told.
    async fn claim(&mut self, now: Timestamp) -> bool {
        let noted = Memory { outbox: self.memory.outbox.claimed(now), ..self.memory.clone() };
        let parameters = self.role.parameters();
        match parameters.put_after("told", noted.text(), self.version, Deadline::after(CALL)).await {
            Ok(true) => {
                (self.noted, self.version) = (self.memory.clone(), self.version + 1);
                true
            }
            Ok(false) => {
                (self.log)("another look goes on at the same time");
                false
            }
            Err(why) => {
                (self.log)(&format!("cannot note what is about to be told: {why}"));
                true
            }
        }
    }

    /// Notes what this look remembers. What another look has noted meanwhile stays.
    async fn remember(&mut self) -> bool {
        for _ in 0..WRITES {
            let text = self.memory.text();
            match self.role.parameters().put_after("told", text, self.version, Deadline::after(CALL)).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(why) => {
                    (self.log)(&format!("cannot note what was told: {why}"));
                    return false;
                }
            }
            let Some((theirs, version)) = self.read_again().await else { break };
            self.memory = self.memory.merged(&self.noted, theirs.clone());
            (self.noted, self.version) = (theirs, version);
        }
        (self.log)("cannot note what was told: other looks note something at the same time");
        false
    }

    fn add(&mut self, text: &str, now: Timestamp) {
        (self.log)(text);
        let text = printable(text);
        self.memory.outbox.add(&text, self.channels.names(), now);
    }

    async fn deliver(&mut self) {
        let role = self.role;
        let by = Delivery {
            settings: &role.settings,
            aws: &role.aws,
            reach: role.reach,
            channels: &self.channels,
            log: self.log,
        };
        by.deliver(&mut self.memory.outbox).await;
    }

    async fn note_usage(&mut self, seen: &Look) {
        let (Ok(noted), Ok(usage)) = (&seen.noted, &seen.usage) else {
            let why = seen.noted.as_ref().err().cloned().unwrap_or_default();
            self.failures.push(format!("cannot read what was used: {why}"));
            return;
        };
        // The page is about to note there who has started it, and the next look notes the rest. Nor is that lost if it has just done so.
        let is_the_pages = seen.latest().is_some_and(|latest| is_just_started(latest, seen.at));
        if usage.differs_from(noted)
            && !is_the_pages
            && let Err(why) = self
                .role
                .parameters()
                .put_after("starts", usage.text(), seen.noted_version, Deadline::after(CALL))
                .await
        {
            self.failures.push(format!("cannot note what was used: {why}"));
        }
    }

    fn tell_news(&mut self, wake: &Wake, seen: &Look) {
        let settings = &self.role.settings;
        let (state, status) = (seen.state(settings), seen.status(settings));
        let heartbeat = seen.heartbeat().zip(seen.running());
        let heartbeat =
            heartbeat.filter(|(received, running)| received.is_of(running) && !received.has_lapsed(seen.at));
        let unknown = Usage::default();
        let (told, messages) = news(
            &self.memory.told,
            &Facts {
                server: &settings.server,
                state: &state,
                status: &status,
                latest: seen.latest(),
                heartbeat: heartbeat.map(|(received, _)| received),
                usage: seen.usage.as_ref().unwrap_or(&unknown),
                spot_notice: match wake {
                    Wake::SpotNotice(id) => Some(id),
                    Wake::Schedule => None,
                },
                now: seen.at,
            },
        );
        self.memory.told = told;
        for message in messages {
            self.add(&message, seen.at);
        }
    }

    async fn keep_records(&mut self, seen: &Look) {
        let (Some(dns), Ok(instances)) = (&self.role.settings.record, &seen.seen.instances) else { return };
        let mut running = instances.iter().filter(|instance| instance.state == InstanceState::Running);
        let wanted = match (running.next(), running.next()) {
            (Some(only), None) => Records { v4: only.v4, v6: only.v6 },
            (None, _) => Records::default(),
            // Nothing says which of them it is.
            (Some(_), Some(_)) => return,
        };
        let changes = record::changes(self.memory.records, wanted);
        if changes.is_empty() {
            return;
        }
        match zone::change(&self.role.aws, dns, &changes, Deadline::after(CALL)).await {
            Ok(()) => self.memory.records = wanted,
            Err(why) => self.failures.push(format!("cannot set the record {}: {why}", dns.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_of_any_form_wakes_the_warden() {
        let notice = json!({"detail-type": "EC2 Spot Instance Interruption Warning",
            "detail": {"instance-id": "i-1", "instance-action": "stop"}});
        assert_eq!(Wake::of_event(&notice), Wake::SpotNotice("i-1".to_owned()));
        for other in [
            json!(null),
            json!([]),
            json!({"detail-type": "EC2 Instance State-change Notification", "detail": {"instance-id": "i-1"}}),
            json!({"detail-type": "EC2 Spot Instance Interruption Warning", "detail": {"instance-id": 1}}),
            json!({"detail-type": "EC2 Spot Instance Interruption Warning"}),
        ] {
            assert_eq!(Wake::of_event(&other), Wake::Schedule, "{other}");
        }
    }
}
