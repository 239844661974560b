//! Carries out what the dead-man's switch decides about instances that nobody watches.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time;

use crate::clock;
use crate::deadline::Deadline;
use crate::game;
use crate::roles::look::{Look, heartbeat};
use mc_launcher_core::server::instance::Instance;
use mc_launcher_core::start::generation::Lookup;
use mc_launcher_core::warden::alarm;
use mc_launcher_core::warden::dead_man::{self, Action, Case, Ping, RemoteHold, Verdict};

use super::{CALL, Round};

/// How long the game may take to answer.
const PING: Duration = Duration::from_secs(4);
/// The time between the two pings before a stop.
const BETWEEN_PINGS: Duration = Duration::from_secs(30);

impl Round<'_> {
    /// The dead-man's switch. Returns the instances whose game is to be asked before a stop.
    pub(super) async fn watch(&mut self, seen: &Look) -> Vec<Instance> {
        let Ok(instances) = &seen.seen.instances else { return Vec::new() };
        let settings = &self.role.settings;
        let read = dead_man::Read { heartbeat: seen.seen.heartbeat.clone(), hold: self.hold().await };
        let (before, mut to_ask) = (std::mem::take(&mut self.memory.cases), Vec::new());
        for instance in instances {
            let of_it = before.iter().find(|case| case.instance_id == instance.id);
            let (case, actions) = dead_man::look(instance, &read, of_it, &settings.limits, seen.at);
            self.memory.cases.extend(case);
            for action in actions {
                match action {
                    Action::Alarm { dead, stop_at } => {
                        self.add(&alarm::dead(settings, instance, dead, stop_at), seen.at);
                    }
                    Action::AlarmUnknown(why) => self.add(&alarm::unknown(settings, instance, &why), seen.at),
                    Action::Ask => to_ask.push(instance.clone()),
                }
            }
        }
        to_ask
    }

    /// The hold in its parameter; `None`: there is none. Whoever wrote what makes no sense there meant one: it lasts as long as any can.
    async fn hold(&self) -> Result<Option<RemoteHold>, String> {
        let found = self.role.parameters().get("hold", Deadline::after(CALL)).await?;
        Ok(found.map(|parameter| {
            let until = mc_heartbeat::hold::parse(&parameter.value).map(|(until, _)| until);
            if until.is_none() {
                let name = self.role.settings.parameter("hold");
                (self.log)(&format!("{name} does not begin with an RFC 3339 time: taken for a hold of 7 days"));
            }
            RemoteHold { until: until.unwrap_or(Timestamp::MAX), set_at: parameter.modified }
        }))
    }

    /// Asks the game on `instance` twice, and stops the instance if nobody plays.
    pub(super) async fn ask(&mut self, instance: &Instance) {
        let (role, settings) = (self.role, &self.role.settings);
        let ping = async || match game::ask(instance, settings.port, Deadline::after(PING)).await {
            Some(answer) => Ping::Online(answer.online),
            None => Ping::NoAnswer,
        };
        let first = ping().await;
        time::sleep(BETWEEN_PINGS).await;
        let second = ping().await;
        let described = match role.ec2().instance(&instance.id, Deadline::after(CALL)).await {
            Lookup::Found(described) => Some(described),
            Lookup::NotFound | Lookup::Failed(_) => None,
        };
        // Meanwhile the agent may have come back, or somebody may have set a hold.
        let parameters = role.parameters();
        let (heartbeat, hold) = tokio::join!(heartbeat(&parameters, Deadline::after(CALL)), self.hold());
        let read = dead_man::Read { heartbeat, hold };
        let now = clock::now();
        let case = self.memory.cases.iter_mut().find(|case| case.instance_id == instance.id);
        let Some(case) = case else { return };
        case.asked([first, second], now);
        let mut case = case.clone();
        let (_, actions) = dead_man::look(instance, &read, Some(&case), &settings.limits, now);
        let verdict = if actions.contains(&Action::Ask) {
            dead_man::verdict(&case, [first, second], described.as_ref(), &settings.limits, now)
        } else {
            Verdict::Leave
        };
        (self.log)(&format!("nobody watches {}: the game says {first:?}, {second:?}: {verdict:?}", instance.id));
        match verdict {
            Verdict::Leave => {}
            Verdict::Announce { stop_at } => {
                self.add(&alarm::announced(settings, instance, stop_at), now);
                case.announced_at = Some(now);
                self.note_case(case);
            }
            Verdict::Stop => match role.ec2().stop(&instance.id, Deadline::after(CALL)).await {
                Ok(()) => self.add(&alarm::stopped(settings, instance, [first, second]), now),
                Err(why) => {
                    self.failures.push(format!("cannot stop {}: {why}", instance.id));
                    if case.tells_refusal(now) {
                        self.add(&alarm::not_stopped(settings, instance, &why), now);
                    }
                    self.note_case(case);
                }
            },
        }
    }

    /// Remembers `case` in place of what was remembered of its instance.
    fn note_case(&mut self, case: Case) {
        self.memory.cases.retain(|other| other.instance_id != case.instance_id);
        self.memory.cases.push(case);
    }
}
