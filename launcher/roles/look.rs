//! A look at EC2, SSM and the game.

use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::Heartbeat;

use crate::aws::Aws;
use crate::aws::ec2::Ec2;
use crate::aws::parameters::{Parameter, Parameters};
use crate::clock;
use crate::deadline::Deadline;
use crate::game;
use mc_launcher_core::server::heartbeat::Received;
use mc_launcher_core::server::instance::{Instance, InstanceState, living};
use mc_launcher_core::server::state::{self, ServerFacts, ServerState};
use mc_launcher_core::server::status::{Status, Subject};
use mc_launcher_core::server::usage::Usage;
use mc_launcher_core::settings::Settings;
use mc_launcher_core::start::wish::{self, Fate, Wish};

/// How long the game may take to answer.
const PING: Duration = Duration::from_millis(1200);

/// What was seen.
#[derive(Debug, Clone)]
pub struct Look {
    pub seen: ServerFacts,
    /// What was noted, and what EC2 shows now.
    pub usage: Result<Usage, String>,
    /// What was noted.
    pub noted: Result<Usage, String>,
    /// The version of the parameter in which it was; 0: there is none, or it cannot be read.
    pub noted_version: i64,
    /// A start that waits.
    pub wanted: Result<Option<Wish>, String>,
    pub at: Timestamp,
}

/// Looks, until `deadline`.
pub async fn look(aws: &Aws, settings: &Settings, deadline: Deadline) -> Look {
    let (ec2, parameters) = (Ec2::new(aws, &settings.server), Parameters::new(aws, settings));
    let (instances, heartbeat, noted, wanted) = tokio::join!(
        ec2.instances(deadline),
        heartbeat(&parameters, deadline),
        parameters.get("starts", deadline),
        parameters.get("wanted", deadline),
    );
    let at = clock::now();
    let noted_version = noted.as_ref().ok().and_then(Option::as_ref).map_or(0, |found| found.version);
    let noted = noted.and_then(|found| found.map_or_else(|| Ok(Usage::default()), |found| Usage::parse(&found.value)));
    let usage = noted.clone().map(|mut usage| {
        if let Ok(instances) = &instances {
            usage.see(instances, at);
        }
        usage
    });
    let mut seen = ServerFacts { instances, heartbeat, answers: None };
    if let Some(instance) = state::to_ask(&seen, at) {
        seen.answers = Some(game::ask(instance, settings.port, deadline.at_most(PING)).await.is_some());
    }
    let wanted = wanted.map(|found| found.and_then(|parameter| wish::parse(&parameter.value)));
    Look { seen, usage, noted, noted_version, wanted, at }
}

/// The heartbeat; `None`: there is none.
///
/// # Errors
/// It cannot be read, with the reason.
pub async fn heartbeat(parameters: &Parameters<'_>, deadline: Deadline) -> Result<Option<Received>, String> {
    parameters.get("heartbeat", deadline).await?.as_ref().map(received).transpose()
}

/// The heartbeat in its parameter.
fn received(parameter: &Parameter) -> Result<Received, String> {
    let heartbeat = Heartbeat::parse(&parameter.value).map_err(|error| format!("the heartbeat is damaged: {error}"))?;
    Ok(Received { heartbeat, at: parameter.modified })
}

impl Look {
    /// One that has seen nothing, and why.
    #[must_use]
    pub fn blind(why: &str) -> Self {
        let unseen = || Err(why.to_owned());
        let seen = ServerFacts { instances: unseen(), heartbeat: Err(why.to_owned()), answers: None };
        Look {
            seen,
            usage: Err(why.to_owned()),
            noted: Err(why.to_owned()),
            noted_version: 0,
            wanted: Err(why.to_owned()),
            at: clock::now(),
        }
    }

    /// How the server is.
    #[must_use]
    pub fn state(&self, settings: &Settings) -> ServerState {
        state::state(&self.seen, settings.limits.grace, self.at)
    }

    /// The heartbeat; `None`: there is none, or it cannot be read.
    #[must_use]
    pub fn heartbeat(&self) -> Option<&Received> {
        self.seen.heartbeat.as_ref().ok().and_then(Option::as_ref)
    }

    /// The one living instance, if it runs or is about to.
    #[must_use]
    pub fn running(&self) -> Option<&Instance> {
        let mut living = living(self.seen.instances.as_ref().ok()?);
        let runs = |instance: &&Instance| matches!(instance.state, InstanceState::Pending | InstanceState::Running);
        living.next().filter(|_| living.next().is_none()).filter(runs)
    }

    /// The instance that was started last.
    #[must_use]
    pub fn latest(&self) -> Option<&Instance> {
        self.seen.instances.as_ref().ok()?.iter().max_by_key(|instance| instance.launch_time)
    }

    /// Whether a start waits until the instance has stopped. What cannot be read is no wish that could be shown.
    fn has_wish(&self, state: &ServerState) -> bool {
        let instances = self.seen.instances.as_ref().map(Vec::as_slice).map_err(String::as_str);
        let wish = self.wanted.as_ref().ok().and_then(Option::as_ref);
        let lives = wish.is_some_and(|wish| wish::fate(wish, instances, true, self.at) != Fate::Drop);
        lives && matches!(state, ServerState::Stopping(_) | ServerState::Asleep)
    }

    /// How the server is, for people and programs.
    #[must_use]
    pub fn status(&self, settings: &Settings) -> Status {
        let state = self.state(settings);
        Status::new(&Subject {
            settings,
            state: &state,
            heartbeat: self.heartbeat(),
            usage: self.usage.as_ref().ok(),
            wished: self.has_wish(&state),
            taken_back: self.latest().and_then(Instance::taken_back),
            now: self.at,
        })
    }
}
