//! What EC2 says of an instance.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;

/// The state of an instance (EC2 user guide, instance lifecycle).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    /// On its way to `Terminated`.
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    /// Whether a second instance beside it would be one too many. Every state but `Terminated` is: what is stopped can be
    /// started, and what is going down still has the world mounted.
    #[must_use]
    pub fn is_living(self) -> bool {
        self != InstanceState::Terminated
    }

    /// The state that EC2 calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "pending" => Some(InstanceState::Pending),
            "running" => Some(InstanceState::Running),
            "stopping" => Some(InstanceState::Stopping),
            "stopped" => Some(InstanceState::Stopped),
            "shutting-down" => Some(InstanceState::ShuttingDown),
            "terminated" => Some(InstanceState::Terminated),
            _ => None,
        }
    }
}

/// An instance that carries the server's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub state: InstanceState,
    /// When it was last started (`LaunchTime`, which changes at every start). It tells one evening from another.
    pub launch_time: Timestamp,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// When it stopped; `None`: it has not, or EC2 does not say.
    pub stopped_at: Option<Timestamp>,
    /// EC2's code for why it is in its state, such as `Server.InsufficientInstanceCapacity` (StateReason, EC2 API reference).
    pub reason: Option<String>,
}

impl Instance {
    /// Whether EC2 has taken back its start, with the reason.
    #[must_use]
    pub fn taken_back(&self) -> Option<&str> {
        let is_down =
            matches!(self.state, InstanceState::Stopped | InstanceState::ShuttingDown | InstanceState::Terminated);
        // What an owner does to an instance is `Client.UserInitiatedShutdown`, or `Client.InstanceInitiatedShutdown`.
        let ours = |code: &&str| {
            code.starts_with("Server.") || ["Client.VolumeLimitExceeded", "Client.InternalError"].contains(code)
        };
        // A spot instance that EC2 takes back has been up.
        let spot = |code: &&str| code.starts_with("Server.Spot");
        self.reason.as_deref().filter(|code| is_down && ours(code) && !spot(code))
    }
}

/// The time in EC2's reason for a change of state, such as `User initiated (2026-11-30 21:41:07 GMT)`.
#[must_use]
pub fn transition_time(reason: &str) -> Option<Timestamp> {
    let time = reason.rsplit_once('(')?.1.split_once(" GMT)")?.0;
    format!("{}Z", time.replace(' ', "T")).parse().ok()
}

/// The living ones among `instances`.
pub fn living(instances: &[Instance]) -> impl Iterator<Item = &Instance> {
    instances.iter().filter(|instance| instance.state.is_living())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec2_says_when_an_instance_was_stopped() {
        let time: Timestamp = "2026-11-30T21:41:07Z".parse().unwrap();
        assert_eq!(transition_time("User initiated (2026-11-30 21:41:07 GMT)"), Some(time));
        assert_eq!(transition_time("Server.SpotInstanceTermination: (x) (2026-11-30 21:41:07 GMT)"), Some(time));
        for other in ["", "User initiated", "User initiated ()", "(yesterday GMT)", "pending"] {
            assert_eq!(transition_time(other), None, "{other}");
        }
    }

    #[test]
    fn a_start_that_ec2_takes_back_is_told_from_a_stop() {
        let instance = |state, code: &str| Instance {
            id: "i-1".to_owned(),
            state,
            launch_time: Timestamp::UNIX_EPOCH,
            v4: None,
            v6: None,
            stopped_at: None,
            reason: Some(code.to_owned()),
        };
        let lack = "Server.InsufficientInstanceCapacity";
        assert_eq!(instance(InstanceState::Stopped, lack).taken_back(), Some(lack));
        assert_eq!(instance(InstanceState::Pending, lack).taken_back(), None);
        for stop in
            ["Client.UserInitiatedShutdown", "Client.InstanceInitiatedShutdown", "Server.SpotInstanceTermination"]
        {
            assert_eq!(instance(InstanceState::Stopped, stop).taken_back(), None, "{stop}");
        }
    }
}
