//! What came of a press of the button: words and an HTTP status. Pure.

use jiff::Timestamp;

use crate::server::budget::OverBudget;
use crate::server::instance::{Instance, InstanceState};
use crate::server::state::ServerState;
use crate::start::ec2_error::StartError;
use crate::start::wish::Wish;
use crate::start::{generation, stopped};

/// What came of a press.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing to do: it runs, or is on its way up.
    Already(Instance),
    /// EC2 has accepted the start of this instance; `None`: of one that does not show yet.
    Started(Option<Instance>),
    /// The wish is kept: the instance before is going down.
    Kept(Wish),
    /// Nothing was started.
    Refused(PressRefusal),
}

/// Why nothing was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PressRefusal {
    OverBudget(OverBudget),
    Ec2(StartError),
    /// A launch has failed, and its requests may still be on their way: the next one may begin at this time.
    Settling(Timestamp),
    /// Anything else, in words.
    Other(String),
}

impl From<stopped::StartRefusal> for PressRefusal {
    fn from(refused: stopped::StartRefusal) -> Self {
        match refused {
            stopped::StartRefusal::OverBudget(over) => PressRefusal::OverBudget(over),
            other => PressRefusal::Other(other.to_string()),
        }
    }
}

impl From<generation::LaunchRefusal> for PressRefusal {
    fn from(refused: generation::LaunchRefusal) -> Self {
        match refused {
            generation::LaunchRefusal::NoAnswer => PressRefusal::Ec2(StartError::NoAnswer),
            other => PressRefusal::Other(other.to_string()),
        }
    }
}

impl Outcome {
    /// The HTTP status, where the server is in `state` now.
    #[must_use]
    pub fn status(&self, state: &ServerState) -> u16 {
        match self {
            Outcome::Already(_) if matches!(state, ServerState::Up(_) | ServerState::Trouble(_)) => 200,
            Outcome::Already(_) | Outcome::Started(_) | Outcome::Kept(_) => 202,
            Outcome::Refused(PressRefusal::OverBudget(_)) => 429,
            Outcome::Refused(_) => 503,
        }
    }

    /// What to tell whoever has pressed; `None`: the server's state says it all.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        let refused = match self {
            Outcome::Already(_) | Outcome::Started(_) | Outcome::Kept(_) => return None,
            Outcome::Refused(refused) => refused,
        };
        let why = match refused {
            // The request may have arrived.
            PressRefusal::Ec2(StartError::NoAnswer) => {
                return Some(
                    "Nobody knows whether the server was started: EC2 does not answer. Look again in a minute."
                        .to_owned(),
                );
            }
            PressRefusal::OverBudget(over) => over.to_string(),
            PressRefusal::Ec2(error) => error.to_string(),
            PressRefusal::Settling(until) => {
                format!("the last launch failed, and another one may begin at {}", until.strftime("%H:%M UTC"))
            }
            PressRefusal::Other(why) => why.clone(),
        };
        Some(format!("The server was not started: {why}."))
    }

    /// What came of it, for the log.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Outcome::Already(instance) => format!("{} runs already", instance.id),
            Outcome::Started(Some(instance)) => format!("EC2 starts {}", instance.id),
            Outcome::Started(None) => "an instance is on its way, and does not show yet".to_owned(),
            Outcome::Kept(_) => "the instance is still stopping, and is started when it has".to_owned(),
            Outcome::Refused(_) => self.notice().unwrap_or_default(),
        }
    }

    /// The instances of the server, after it: what EC2 has accepted may not show yet.
    #[must_use]
    pub fn applied(&self, instances: Vec<Instance>) -> Vec<Instance> {
        let Outcome::Started(Some(started)) = self else { return instances };
        let others = instances.into_iter().filter(|instance| instance.id != started.id);
        others.chain([Instance { state: InstanceState::Pending, ..started.clone() }]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::status::tests::{at, instance};

    fn wish() -> Wish {
        Wish { instance_id: instance().id, launch_time: at(0), wished_at: at(1), by: None }
    }

    #[test]
    fn each_outcome_has_its_status() {
        let (up, asleep) = (ServerState::Up(instance()), ServerState::Asleep);
        let starting = ServerState::Starting(instance());
        let already = Outcome::Already(instance());
        assert_eq!((already.status(&up), already.status(&starting)), (200, 202));
        assert_eq!([Outcome::Started(None).status(&asleep), Outcome::Kept(wish()).status(&asleep)], [202, 202]);
        let over = PressRefusal::OverBudget(OverBudget::Starts { limit: 3, until: at(0) });
        let statuses = [
            over,
            PressRefusal::Ec2(StartError::NoCapacity),
            PressRefusal::Settling(at(0)),
            PressRefusal::Other(String::new()),
        ]
        .map(|refused| Outcome::Refused(refused).status(&asleep));
        assert_eq!(statuses, [429, 503, 503, 503]);
    }

    #[test]
    fn what_was_started_is_starting() {
        let stopped = Instance { state: InstanceState::Stopped, ..instance() };
        let after = Outcome::Started(Some(stopped.clone())).applied(vec![stopped.clone()]);
        assert_eq!(after, [Instance { state: InstanceState::Pending, ..instance() }]);
        assert_eq!(Outcome::Kept(wish()).applied(vec![stopped.clone()]), [stopped]);
    }
}
