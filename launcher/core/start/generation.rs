//! Launching without ever having two servers: the mode `launch`. Pure.
//!
//! Each launch is a *generation*: a parameter `launch/N` that is created without overwriting, so that one launcher of many
//! creates it, and whoever comes next goes on with it. It fixes everything that a launch consists of (nonce, version of the
//! template, subnet), so that every try of it is the same request with the same client token, for which EC2 makes one
//! instance however often it is asked (EC2 API reference, ensuring idempotency). The next generation may be created only
//! when this one is *closed*: no request of it can make an instance any more, and the one that it made is gone.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::server::instance::{Instance, InstanceState, living};

/// A generation is tried for this long after its creation, and no longer.
pub const TRIED_FOR: Duration = Duration::from_mins(10);
/// So long after its creation no request of a generation is on its way any more: a call lasts less than a minute, and clocks
/// of launchers differ by seconds.
pub const SETTLED_AFTER: Duration = Duration::from_mins(15);

/// A launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// From 1. The end of the parameter's name.
    #[serde(skip)]
    pub number: u64,
    /// Sets its client token apart from those of a server of the same name that was deleted and made again.
    pub nonce: String,
    /// Of the launch template.
    pub template_version: String,
    /// A client token is good in one zone, so the subnet is fixed with it; `None`: the template's own.
    pub subnet: Option<String>,
    #[serde(with = "mc_heartbeat::time::required")]
    pub created_at: Timestamp,
    /// The instance that it made, once somebody has noted it.
    pub instance_id: Option<String>,
}

impl Generation {
    /// The client token of every request of this generation: at most 64 characters (RunInstances, EC2 API reference), if
    /// `server` has 32 at most and the nonce 10.
    #[must_use]
    pub fn client_token(&self, server: &str) -> String {
        format!("{server}-{}-{}", self.number, self.nonce)
    }

    /// The generation `number` in the text of its parameter.
    ///
    /// # Errors
    /// It is damaged. What such a generation has launched is not known.
    pub fn parse(number: u64, text: &str) -> Result<Self, String> {
        let damaged = |error| format!("the parameter launch/{number} is damaged: {error}");
        serde_json::from_str(text).map(|generation| Generation { number, ..generation }).map_err(damaged)
    }

    /// The text for its parameter.
    #[must_use]
    pub fn text(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.created_at)).unwrap_or_default()
    }

    fn since_creation(&self, age: Duration) -> Timestamp {
        self.created_at.checked_add(age).unwrap_or(Timestamp::MAX)
    }
}

/// The answer to a question about one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// EC2 did not answer, or refused.
    Failed(String),
    /// EC2 knows no such instance, or does not know it yet.
    NotFound,
    Found(Instance),
}

/// The answer to RunInstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAnswer {
    /// This instance, made now or by an earlier try.
    Made(String),
    /// The instance of this token is terminated (`IdempotentInstanceTerminated`): no try will make another.
    Terminated,
    /// Refused. That closes nothing: an earlier request may have arrived.
    Failed(String),
    /// Unanswered: the request may have arrived.
    NoAnswer,
}

/// What a launcher has seen so far, in one go from the press of the button on. Each answer says what it is about: one that
/// comes late, about what is not the highest generation any more, proves nothing about the one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchFacts {
    /// Every instance with the server's tag.
    pub instances: Result<Vec<Instance>, String>,
    /// The highest generation that there is.
    pub highest: Result<Option<Generation>, String>,
    /// What EC2 says of an instance, by its id.
    pub named: Option<(String, Lookup)>,
    /// What EC2 says of the instance of a generation's client token, by the generation's number.
    pub of_token: Option<(u64, Lookup)>,
    /// What came of trying a generation, by its number.
    pub run: Option<(u64, RunAnswer)>,
}

impl LaunchFacts {
    /// Two looks, and no questions about a generation yet.
    #[must_use]
    pub fn new(instances: Result<Vec<Instance>, String>, highest: Result<Option<Generation>, String>) -> Self {
        LaunchFacts { instances, highest, named: None, of_token: None, run: None }
    }
}

/// The answer about `subject`, if it is about that.
fn about<'a, S: PartialEq, A>(answer: Option<&'a (S, A)>, subject: &S) -> Option<&'a A> {
    answer.filter(|(other, _)| other == subject).map(|(_, answer)| answer)
}

/// What a launcher does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask EC2 for the instance of this id.
    Describe(String),
    /// Ask EC2 for the instance of the highest generation's client token.
    FindByToken,
    /// Create the parameter of generation `number`, without overwriting, then look again at everything.
    Create { number: u64 },
    /// Ask EC2 for the highest generation's instance, by exactly what the generation fixes.
    Run,
    /// Note that the highest generation has made this instance.
    Note(String),
    /// Start this instance, which is stopped.
    Start(Instance),
    /// There is a server, or it is on its way.
    Done(Instance),
    /// Nothing now; look again at this time.
    Wait { until: Timestamp, why: Waiting },
    /// Nothing is launched.
    Refuse(LaunchRefusal),
}

/// Why a launcher waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The instance before is on its way down.
    GoingDown,
    /// An instance was made and does not show yet.
    NotShownYet,
    /// A launch has failed, and its requests may still be on their way.
    Settling,
}

/// Why nothing is launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchRefusal {
    /// What there is cannot be seen, with the reason.
    CannotSee(String),
    /// There are several living instances: somebody has to look.
    Several(Vec<String>),
    /// EC2 does not make an instance, with the reason.
    NotLaunched(String),
    /// Whether EC2 makes an instance is not known.
    NoAnswer,
}

impl fmt::Display for LaunchRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchRefusal::CannotSee(why) => write!(f, "cannot see whether a server is running: {why}"),
            LaunchRefusal::Several(ids) => {
                write!(f, "{} instances of this server exist ({}); terminate all but one", ids.len(), ids.join(", "))
            }
            LaunchRefusal::NotLaunched(why) => write!(f, "EC2 did not launch the server: {why}"),
            LaunchRefusal::NoAnswer => f.write_str("EC2 does not answer"),
        }
    }
}

/// How long to wait before looking again at something that changes by itself.
const AGAIN: Duration = Duration::from_secs(15);

/// What to do next at `now`, after `seen`.
#[must_use]
pub fn next(seen: &LaunchFacts, now: Timestamp) -> Step {
    let later = |wait: Duration, why| Step::Wait { until: now.checked_add(wait).unwrap_or(Timestamp::MAX), why };
    let (instances, highest) = match (&seen.instances, &seen.highest) {
        (Ok(instances), Ok(highest)) => (instances, highest),
        (Err(why), _) | (_, Err(why)) => return Step::Refuse(LaunchRefusal::CannotSee(why.clone())),
    };
    let mut living = living(instances);
    match (living.next(), living.next()) {
        (None, _) => {}
        (Some(only), None) => {
            return match only.state {
                InstanceState::Pending | InstanceState::Running => Step::Done(only.clone()),
                InstanceState::Stopped => Step::Start(only.clone()),
                InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
                    later(AGAIN, Waiting::GoingDown)
                }
            };
        }
        (Some(_), Some(_)) => {
            let ids = crate::server::instance::living(instances).map(|instance| instance.id.clone()).collect();
            return Step::Refuse(LaunchRefusal::Several(ids));
        }
    }
    let Some(generation) = highest else { return Step::Create { number: 1 } };
    let following = Step::Create { number: generation.number.saturating_add(1) };
    match &generation.instance_id {
        Some(id) => match about(seen.named.as_ref(), id) {
            None => Step::Describe(id.clone()),
            Some(Lookup::Failed(why)) => Step::Refuse(LaunchRefusal::CannotSee(why.clone())),
            Some(Lookup::Found(instance)) if instance.state.is_living() => later(AGAIN, Waiting::NotShownYet),
            // EC2 forgets a terminated instance after about an hour, and may not know a new one for a while.
            Some(Lookup::NotFound) if generation.age(now) < SETTLED_AFTER => later(AGAIN, Waiting::NotShownYet),
            Some(Lookup::Found(_) | Lookup::NotFound) => following,
        },
        None => unnamed(generation, seen, now, &following),
    }
}

/// The same for a generation of which nobody has noted an instance, while no living instance shows.
fn unnamed(generation: &Generation, seen: &LaunchFacts, now: Timestamp, following: &Step) -> Step {
    match about(seen.run.as_ref(), &generation.number) {
        Some(RunAnswer::Made(id)) => return Step::Note(id.clone()),
        Some(RunAnswer::Terminated) => return following.clone(),
        Some(RunAnswer::Failed(why)) => return Step::Refuse(LaunchRefusal::NotLaunched(why.clone())),
        Some(RunAnswer::NoAnswer) => return Step::Refuse(LaunchRefusal::NoAnswer),
        None => {}
    }
    let age = generation.age(now);
    if age < TRIED_FOR {
        return Step::Run;
    }
    if age < SETTLED_AFTER {
        return Step::Wait { until: generation.since_creation(SETTLED_AFTER), why: Waiting::Settling };
    }
    match about(seen.of_token.as_ref(), &generation.number) {
        None => Step::FindByToken,
        Some(Lookup::Failed(why)) => Step::Refuse(LaunchRefusal::CannotSee(why.clone())),
        Some(Lookup::NotFound) => following.clone(),
        Some(Lookup::Found(instance)) => Step::Note(instance.id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn generation(instance_id: Option<&str>) -> Generation {
        Generation {
            number: 4,
            nonce: "x7k2".to_owned(),
            template_version: "7".to_owned(),
            subnet: Some("subnet-1".to_owned()),
            created_at: at(0),
            instance_id: instance_id.map(str::to_owned),
        }
    }

    fn instance(state: InstanceState) -> Instance {
        Instance { id: "i-1".to_owned(), state, launch_time: at(0), v4: None, v6: None, stopped_at: None, reason: None }
    }

    fn seen(highest: Option<Generation>, instances: Vec<Instance>) -> LaunchFacts {
        LaunchFacts::new(Ok(instances), Ok(highest))
    }

    #[test]
    fn what_cannot_be_seen_launches_nothing() {
        let blind = LaunchFacts { instances: Err("timed out".to_owned()), ..seen(None, Vec::new()) };
        assert!(matches!(next(&blind, at(0)), Step::Refuse(LaunchRefusal::CannotSee(_))));
        let blind = LaunchFacts { highest: Err("timed out".to_owned()), ..seen(None, Vec::new()) };
        assert!(matches!(next(&blind, at(0)), Step::Refuse(LaunchRefusal::CannotSee(_))));
        let blind = LaunchFacts {
            named: Some(("i-1".to_owned(), Lookup::Failed("timed out".to_owned()))),
            ..seen(Some(generation(Some("i-1"))), Vec::new())
        };
        assert!(matches!(next(&blind, at(9999)), Step::Refuse(LaunchRefusal::CannotSee(_))));
    }

    #[test]
    fn one_living_instance_is_the_server_whatever_the_generations_say() {
        for (state, step) in [
            (InstanceState::Pending, "Done"),
            (InstanceState::Running, "Done"),
            (InstanceState::Stopped, "Start"),
            (InstanceState::Stopping, "Wait"),
            (InstanceState::ShuttingDown, "Wait"),
            (InstanceState::Terminated, "Create"),
        ] {
            let next = format!("{:?}", next(&seen(None, vec![instance(state)]), at(0)));
            assert!(next.starts_with(step), "{state:?}: {next}");
        }
        let two = vec![instance(InstanceState::Running), instance(InstanceState::ShuttingDown)];
        assert!(matches!(next(&seen(None, two), at(0)), Step::Refuse(LaunchRefusal::Several(ids)) if ids.len() == 2));
    }

    #[test]
    fn a_generation_without_an_instance_is_tried_for_ten_minutes_and_closed_after_fifteen() {
        let unnamed = seen(Some(generation(None)), Vec::new());
        assert_eq!(next(&unnamed, at(0)), Step::Run);
        assert_eq!(next(&unnamed, at(599)), Step::Run);
        let settling = Step::Wait { until: at(900), why: Waiting::Settling };
        assert_eq!([next(&unnamed, at(600)), next(&unnamed, at(899))], [settling.clone(), settling]);
        assert_eq!(next(&unnamed, at(900)), Step::FindByToken);
        let with = |of_token| next(&LaunchFacts { of_token: Some((4, of_token)), ..unnamed.clone() }, at(900));
        assert_eq!(with(Lookup::NotFound), Step::Create { number: 5 });
        assert_eq!(with(Lookup::Found(instance(InstanceState::Terminated))), Step::Note("i-1".to_owned()));
        assert!(matches!(with(Lookup::Failed(String::new())), Step::Refuse(_)));
    }

    #[test]
    fn a_refusal_closes_nothing_and_a_terminated_token_does() {
        let unnamed = seen(Some(generation(None)), Vec::new());
        let with = |run| next(&LaunchFacts { run: Some((4, run)), ..unnamed.clone() }, at(30));
        assert!(matches!(
            with(RunAnswer::Failed("no capacity".to_owned())),
            Step::Refuse(LaunchRefusal::NotLaunched(_))
        ));
        assert_eq!(with(RunAnswer::NoAnswer), Step::Refuse(LaunchRefusal::NoAnswer));
        assert_eq!(with(RunAnswer::Made("i-2".to_owned())), Step::Note("i-2".to_owned()));
        assert_eq!(with(RunAnswer::Terminated), Step::Create { number: 5 });
    }

    #[test]
    fn a_young_instance_that_is_not_found_is_not_gone() {
        let named = seen(Some(generation(Some("i-1"))), Vec::new());
        assert_eq!(next(&named, at(0)), Step::Describe("i-1".to_owned()));
        let with = |lookup, now| {
            let named = Some(("i-1".to_owned(), lookup));
            next(&LaunchFacts { named, ..seen(Some(generation(Some("i-1"))), Vec::new()) }, at(now))
        };
        assert!(matches!(with(Lookup::NotFound, 899), Step::Wait { why: Waiting::NotShownYet, .. }));
        assert_eq!(with(Lookup::NotFound, 900), Step::Create { number: 5 });
        assert_eq!(with(Lookup::Found(instance(InstanceState::Terminated)), 1), Step::Create { number: 5 });
        assert!(matches!(with(Lookup::Found(instance(InstanceState::Pending)), 1), Step::Wait { .. }));
    }

    #[test]
    fn an_answer_about_another_generation_proves_nothing() {
        let named = Some(("i-0".to_owned(), Lookup::Found(instance(InstanceState::Terminated))));
        let late = LaunchFacts { named, ..seen(Some(generation(Some("i-1"))), Vec::new()) };
        assert_eq!(next(&late, at(30)), Step::Describe("i-1".to_owned()));
        let late = LaunchFacts { run: Some((3, RunAnswer::Terminated)), ..seen(Some(generation(None)), Vec::new()) };
        assert_eq!(next(&late, at(30)), Step::Run);
        let late = LaunchFacts { of_token: Some((3, Lookup::NotFound)), ..seen(Some(generation(None)), Vec::new()) };
        assert_eq!(next(&late, at(900)), Step::FindByToken);
    }

    #[test]
    fn it_is_text_in_a_parameter() {
        for generation in [generation(None), generation(Some("i-1"))] {
            assert_eq!(Generation::parse(4, &generation.text()), Ok(generation));
        }
        assert!(Generation::parse(4, "none").is_err());
    }

    #[test]
    fn a_client_token_fits() {
        let longest = Generation { number: u64::MAX, nonce: "0123456789".to_owned(), ..generation(None) };
        assert_eq!(longest.client_token(&"s".repeat(32)).len(), 64);
    }
}
