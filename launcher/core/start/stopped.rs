//! Starting the server's instance: the mode `start`. Pure. What [`generation`](crate::start::generation) is for the mode `launch`.

use std::fmt;

use jiff::Timestamp;

use crate::server::budget::OverBudget;
use crate::server::instance::{Instance, InstanceState, living};

/// What was seen when somebody asked for a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFacts {
    /// The parameter `instance-id`.
    pub instance_id: Result<Option<String>, String>,
    /// Every instance with the server's tag.
    pub instances: Result<Vec<Instance>, String>,
    /// Whether one more start is allowed.
    pub budget: Result<(), OverBudget>,
}

/// What to do about a wanted start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It runs, or is on its way up: nothing to do.
    Already(Instance),
    /// Ask EC2 to start this instance.
    Start(Instance),
    /// Keep the wish: the instance is going down, and EC2 would refuse.
    Keep {
        instance_id: String,
        launch_time: Timestamp,
    },
    Refuse(StartRefusal),
}

/// Why nothing is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartRefusal {
    /// What there is cannot be seen, with the reason.
    CannotSee(String),
    /// There is no parameter `instance-id`.
    NoId,
    /// `instance-id` names an instance without the server's tag, or one that is gone.
    NotOurs(String),
    /// There are several living instances with the server's tag.
    Several(Vec<String>),
    OverBudget(OverBudget),
}

impl fmt::Display for StartRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartRefusal::CannotSee(why) => write!(f, "cannot see whether the server is running: {why}"),
            StartRefusal::NoId => {
                f.write_str("the launcher does not know which instance to start; set the parameter instance-id")
            }
            StartRefusal::NotOurs(id) => write!(
                f,
                "the parameter instance-id names {id}, which does not exist or lacks the tag mc-idle:server; correct it"
            ),
            StartRefusal::Several(ids) => write!(
                f,
                "{} instances carry this server's tag ({}); remove the tag from all but one",
                ids.len(),
                ids.join(", ")
            ),
            StartRefusal::OverBudget(over) => over.fmt(f),
        }
    }
}

/// What to do at the press of the button.
#[must_use]
pub fn decide(seen: &StartFacts) -> Decision {
    let instances = match &seen.instances {
        Ok(instances) => instances,
        Err(why) => return Decision::Refuse(StartRefusal::CannotSee(why.clone())),
    };
    let id = match &seen.instance_id {
        Ok(Some(id)) => id,
        Ok(None) => return Decision::Refuse(StartRefusal::NoId),
        Err(why) => return Decision::Refuse(StartRefusal::CannotSee(why.clone())),
    };
    let all: Vec<&Instance> = living(instances).collect();
    if all.len() > 1 {
        let ids = all.iter().map(|instance| instance.id.clone()).collect();
        return Decision::Refuse(StartRefusal::Several(ids));
    }
    let Some(instance) = all.into_iter().find(|instance| instance.id == *id) else {
        return Decision::Refuse(StartRefusal::NotOurs(id.clone()));
    };
    let allowed = |decision| match seen.budget {
        Ok(()) => decision,
        Err(over) => Decision::Refuse(StartRefusal::OverBudget(over)),
    };
    match instance.state {
        InstanceState::Pending | InstanceState::Running => Decision::Already(instance.clone()),
        InstanceState::Stopped => allowed(Decision::Start(instance.clone())),
        InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
            allowed(Decision::Keep { instance_id: id.clone(), launch_time: instance.launch_time })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn instance(state: InstanceState) -> Instance {
        Instance { id: "i-1".to_owned(), state, launch_time: at(0), v4: None, v6: None, stopped_at: None, reason: None }
    }

    fn seen(state: InstanceState) -> StartFacts {
        StartFacts { instance_id: Ok(Some("i-1".to_owned())), instances: Ok(vec![instance(state)]), budget: Ok(()) }
    }

    const OVER: OverBudget = OverBudget::Starts { limit: 3, until: Timestamp::UNIX_EPOCH };

    #[test]
    fn each_state_has_its_answer() {
        let keep = Decision::Keep { instance_id: "i-1".to_owned(), launch_time: at(0) };
        for (state, decision) in [
            (InstanceState::Stopped, Decision::Start(instance(InstanceState::Stopped))),
            (InstanceState::Pending, Decision::Already(instance(InstanceState::Pending))),
            (InstanceState::Running, Decision::Already(instance(InstanceState::Running))),
            (InstanceState::Stopping, keep.clone()),
            (InstanceState::ShuttingDown, keep),
            (InstanceState::Terminated, Decision::Refuse(StartRefusal::NotOurs("i-1".to_owned()))),
        ] {
            assert_eq!(decide(&seen(state)), decision, "{state:?}");
        }
    }

    #[test]
    fn what_is_not_known_starts_nothing() {
        let stopped = seen(InstanceState::Stopped);
        let refused = |seen: StartFacts| match decide(&seen) {
            Decision::Refuse(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        let why = refused(StartFacts { instances: Err("timed out".to_owned()), ..stopped.clone() });
        assert!(why.contains("timed out"), "{why}");
        let why = refused(StartFacts { instance_id: Ok(None), ..stopped.clone() });
        assert!(why.contains("instance-id"), "{why}");
        // Without the tag it is not in the list.
        let why = refused(StartFacts { instance_id: Ok(Some("i-2".to_owned())), ..stopped.clone() });
        assert!(why.contains("i-2"), "{why}");
        let two = vec![
            instance(InstanceState::Stopped),
            Instance { id: "i-3".to_owned(), ..instance(InstanceState::Running) },
        ];
        let why = refused(StartFacts { instances: Ok(two), ..stopped.clone() });
        assert!(why.contains("i-1, i-3"), "{why}");
        let why = refused(StartFacts { budget: Err(OVER), ..stopped });
        assert!(why.contains("3 starts"), "{why}");
    }

    #[test]
    fn the_budget_does_not_matter_to_what_runs() {
        let running = StartFacts { budget: Err(OVER), ..seen(InstanceState::Running) };
        assert!(matches!(decide(&running), Decision::Already(_)));
    }
}
