//! How the server is, as the page and `/status` say it. Pure.

use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::AgentState;

use crate::server::heartbeat::Received;
use crate::server::instance::{Instance, InstanceState, living};

/// The state of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// No instance runs: there is none, or it is stopped.
    Asleep,
    /// An instance boots, or its server does not answer yet.
    Starting(Instance),
    /// Players can join.
    Up(Instance),
    /// It is going down, or about to.
    Stopping(Instance),
    /// Somebody has to look.
    Trouble(Trouble),
    /// What there is cannot be seen, with the reason.
    Unknown(String),
}

/// What somebody has to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There are several living instances of the server.
    Several(Vec<String>),
    /// The agent's last heartbeat has lapsed: nobody stops the instance when it is empty.
    AgentSilent { instance: Instance, since: Timestamp },
    /// The agent has exited, with the same consequence.
    AgentEnded(Instance),
    /// The instance has run for the grace, and no heartbeat of this boot has come.
    NoAgent(Instance),
    /// The instance has run for the grace, the agent watches it, and no server listens.
    NoServer(Instance),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Every instance with the server's tag.
    pub instances: Result<Vec<Instance>, String>,
    /// The heartbeat; `Ok(None)`: there is none.
    pub heartbeat: Result<Option<Received>, String>,
    /// Whether a status ping of the instance's own address was answered; `None`: it was not tried.
    pub answers: Option<bool>,
}

/// The instance whose game is worth a question before [`state`] is asked: it runs, and its agent has not
/// said it all.
#[must_use]
pub fn to_ask(seen: &ServerFacts, now: Timestamp) -> Option<&Instance> {
    let mut living = living(seen.instances.as_ref().ok()?);
    let (Some(only), None) = (living.next(), living.next()) else { return None };
    let heartbeat = seen.heartbeat.as_ref().ok().and_then(Option::as_ref).filter(|received| received.is_of(only));
    let told = heartbeat.is_some_and(|received| received.has_lapsed(now) || received.heartbeat.listening == Some(true));
    (only.state == InstanceState::Running && !told).then_some(only)
}

/// How the server is at `now`. An instance may take `grace` from its start until its agent and its server are there.
#[must_use]
pub fn state(seen: &ServerFacts, grace: Duration, now: Timestamp) -> ServerState {
    let instances = match &seen.instances {
        Ok(instances) => instances,
        Err(why) => return ServerState::Unknown(why.clone()),
    };
    let all: Vec<&Instance> = living(instances).collect();
    let instance = match all.as_slice() {
        [] => return ServerState::Asleep,
        [only] => *only,
        several => {
            let ids = several.iter().map(|instance| instance.id.clone()).collect();
            return ServerState::Trouble(Trouble::Several(ids));
        }
    };
    match instance.state {
        InstanceState::Stopped | InstanceState::Terminated => ServerState::Asleep,
        InstanceState::Stopping | InstanceState::ShuttingDown => ServerState::Stopping(instance.clone()),
        InstanceState::Pending => ServerState::Starting(instance.clone()),
        InstanceState::Running => running(seen, instance, grace, now),
    }
}

fn running(seen: &ServerFacts, instance: &Instance, grace: Duration, now: Timestamp) -> ServerState {
    let instance = || instance.clone();
    let up_for = Duration::try_from(now.duration_since(instance().launch_time)).unwrap_or_default();
    let answers = seen.answers == Some(true);
    let heartbeat = match &seen.heartbeat {
        Ok(heartbeat) => heartbeat.as_ref().filter(|received| received.is_of(&instance())),
        // The game may be up all the same; whether the agent lives is not known, which is no trouble of its own.
        Err(_) if answers => return ServerState::Up(instance()),
        Err(why) => return ServerState::Unknown(why.clone()),
    };
    let young = up_for < grace;
    match heartbeat {
        Some(received) if received.has_lapsed(now) => {
            let since = received.lapses_at();
            ServerState::Trouble(Trouble::AgentSilent { instance: instance(), since })
        }
        Some(received) => match received.heartbeat.state {
            AgentState::Stopping => ServerState::Stopping(instance()),
            AgentState::Ended => ServerState::Trouble(Trouble::AgentEnded(instance())),
            _ if received.heartbeat.listening == Some(true) || answers => ServerState::Up(instance()),
            _ if young => ServerState::Starting(instance()),
            // What is unknown to the agent is not missing.
            _ if received.heartbeat.listening.is_none() => ServerState::Starting(instance()),
            _ => ServerState::Trouble(Trouble::NoServer(instance())),
        },
        None if answers && young => ServerState::Up(instance()),
        None if young => ServerState::Starting(instance()),
        None => ServerState::Trouble(Trouble::NoAgent(instance())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mc_heartbeat::Heartbeat;

    const GRACE: Duration = Duration::from_mins(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn instance(state: InstanceState) -> Instance {
        Instance {
            id: "i-0123456789abcdef0".to_owned(),
            state,
            launch_time: at(0),
            v4: None,
            v6: None,
            stopped_at: None,
            reason: None,
        }
    }

    fn received(change: impl FnOnce(&mut Heartbeat), arrived: i64) -> Received {
        let mut heartbeat = Heartbeat::parse(include_str!("../../../shared/heartbeat/examples/idle.json")).unwrap();
        // The instance's clock is a year ahead; it speaks for three minutes.
        heartbeat.at = at(31_536_000);
        heartbeat.next_by = at(31_536_180);
        change(&mut heartbeat);
        Received { heartbeat, at: at(arrived) }
    }

    fn word(state: &ServerState) -> String {
        let text = format!("{state:?}");
        text.split(['(', ' ', '{']).take(if text.starts_with("Trouble") { 2 } else { 1 }).collect::<Vec<_>>().join(" ")
    }

    fn seen(ec2: InstanceState, heartbeat: Option<Received>, answers: Option<bool>) -> ServerFacts {
        ServerFacts { instances: Ok(vec![instance(ec2)]), heartbeat: Ok(heartbeat), answers }
    }

    fn judged(seen: &ServerFacts, now: i64) -> String {
        word(&state(seen, GRACE, at(now)))
    }

    #[test]
    fn ec2_says_whether_anything_runs() {
        for (ec2, expected) in [
            (InstanceState::Stopped, "Asleep"),
            (InstanceState::Terminated, "Asleep"),
            (InstanceState::Pending, "Starting"),
            (InstanceState::Stopping, "Stopping"),
            (InstanceState::ShuttingDown, "Stopping"),
        ] {
            // Whatever the last evening's heartbeat says.
            let old = received(|heartbeat| heartbeat.listening = Some(true), -60);
            assert_eq!(judged(&seen(ec2, Some(old), Some(true)), 5), expected, "{ec2:?}");
        }
        let none = ServerFacts { instances: Ok(Vec::new()), heartbeat: Ok(None), answers: None };
        assert_eq!(judged(&none, 0), "Asleep");
        let blind = ServerFacts { instances: Err("timed out".to_owned()), ..none.clone() };
        assert_eq!(judged(&blind, 0), "Unknown");
        let two = vec![instance(InstanceState::Running), instance(InstanceState::Stopped)];
        assert_eq!(judged(&ServerFacts { instances: Ok(two), ..none }, 0), "Trouble Several");
    }

    #[test]
    fn a_running_instance_is_judged_by_a_heartbeat_of_its_own_boot_and_by_the_game() {
        let running = |heartbeat, answers| seen(InstanceState::Running, heartbeat, answers);
        let up = |arrived| Some(received(|heartbeat| heartbeat.listening = Some(true), arrived));
        let down = |arrived| Some(received(|heartbeat| heartbeat.listening = Some(false), arrived));
        assert_eq!(judged(&running(up(60), None), 70), "Up");
        assert_eq!(judged(&running(down(60), None), 70), "Starting");
        assert_eq!(judged(&running(down(60), Some(true)), 70), "Up");
        assert_eq!(judged(&running(None, None), 70), "Starting");
        assert_eq!(judged(&running(None, Some(true)), 70), "Up");
        // Of an evening before, or of another instance: as if there were none.
        assert_eq!(judged(&running(up(0), None), 70), "Starting");
        let other = received(|heartbeat| heartbeat.instance_id = "i-1".to_owned(), 60);
        assert_eq!(judged(&running(Some(other), None), 70), "Starting");
        // After the grace.
        assert_eq!(judged(&running(down(590), None), 600), "Trouble NoServer");
        assert_eq!(judged(&running(None, Some(true)), 600), "Trouble NoAgent");
        let blind = received(|heartbeat| heartbeat.listening = None, 590);
        assert_eq!(judged(&running(Some(blind), None), 600), "Starting");
    }

    #[test]
    fn what_the_agent_says_of_its_end_counts_before_ec2_does() {
        let running = |heartbeat| seen(InstanceState::Running, Some(heartbeat), Some(true));
        let says = |state| received(move |heartbeat| heartbeat.state = state, 1000);
        assert_eq!(judged(&running(says(AgentState::Stopping)), 1010), "Stopping");
        assert_eq!(judged(&running(says(AgentState::Ended)), 1010), "Trouble AgentEnded");
        assert_eq!(judged(&running(says(AgentState::Idle)), 1180), "Up");
        assert_eq!(judged(&running(says(AgentState::Idle)), 1181), "Trouble AgentSilent");
    }

    #[test]
    fn a_heartbeat_that_cannot_be_read_is_no_missing_one() {
        let unreadable = |answers| ServerFacts {
            instances: Ok(vec![instance(InstanceState::Running)]),
            heartbeat: Err("access denied".to_owned()),
            answers,
        };
        assert_eq!(judged(&unreadable(Some(true)), 9999), "Up");
        assert_eq!(judged(&unreadable(Some(false)), 9999), "Unknown");
    }
}
