//! What the answers of instance metadata mean (EC2 user guide, instance metadata categories). Pure.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::config::keys::is_instance_id;
use crate::config::settings::StopAction;

/// An instance and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The instance id.
    pub instance_id: String,
    /// The code of the region.
    pub region: String,
}

/// Why a stop is not here what it is elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caution {
    /// A spot instance: a one-time request does not allow a stop, and metadata does not tell it from a persistent one.
    Spot,
    /// A member of an Auto Scaling group, which replaces it once it has stopped.
    AutoScalingGroup,
    /// The root volume is on the instance store.
    InstanceStoreRoot,
    /// The role allows the action on other instances as well.
    MayStopOthers,
}

impl Caution {
    /// What to know, and to do, before `action` is asked for; `None` if it does not matter then.
    #[must_use]
    pub fn text(self, action: StopAction) -> Option<String> {
        let keeps_the_instance = action != StopAction::Terminate;
        let verb = action.verb();
        match self {
            Caution::Spot => keeps_the_instance.then(|| {
                format!("This is a spot instance: EC2 refuses to {verb} it unless its spot request is persistent.")
            }),
            Caution::AutoScalingGroup => Some(
                "This instance is in an Auto Scaling group, which puts a new one in its place when it stops: take it \
                 out of the group, or suspend the group's ReplaceUnhealthy process."
                    .to_owned(),
            ),
            Caution::InstanceStoreRoot => keeps_the_instance
                .then(|| format!("The root volume is on the instance store: EC2 refuses to {verb} this instance.")),
            Caution::MayStopOthers => Some(format!(
                "The role of this instance may {verb} other instances too: limit {}.",
                action.permission()
            )),
        }
    }
}

/// EC2 takes a spot instance back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it does.
    pub action: ReclaimAction,
    /// About when.
    pub at: Timestamp,
}

/// What EC2 does with a spot instance that it takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReclaimAction {
    /// It stops it.
    Stop,
    /// It hibernates it.
    Hibernate,
    /// It terminates it.
    Terminate,
}

impl fmt::Display for Notice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.action {
            ReclaimAction::Stop => "stops",
            ReclaimAction::Hibernate => "hibernates",
            ReclaimAction::Terminate => "terminates",
        };
        write!(formatter, "EC2 takes this spot instance back and {verb} it at {}", self.at.strftime("%H:%M UTC"))
    }
}

/// `spot/instance-action`.
#[must_use]
pub fn notice(answer: &str) -> Option<Notice> {
    #[derive(Deserialize)]
    struct Answer {
        action: ReclaimAction,
        time: String,
    }
    let answer: Answer = serde_json::from_str(answer).ok()?;
    Some(Notice { action: answer.action, at: answer.time.parse().ok()? })
}

/// `instance-id`.
#[must_use]
pub fn instance_id(answer: &str) -> Option<String> {
    is_instance_id(answer).then(|| answer.to_owned())
}

/// `placement/region`.
#[must_use]
pub fn region(answer: &str) -> Option<String> {
    let is_region = !answer.is_empty()
        && answer.len() < 64
        && answer.chars().all(|char| char.is_ascii_alphanumeric() || char == '-');
    is_region.then(|| answer.to_owned())
}

/// `instance-life-cycle`: whether this is a spot instance.
#[must_use]
pub fn is_spot(answer: &str) -> Option<bool> {
    let is_word = !answer.is_empty() && answer.chars().all(|char| char.is_ascii_lowercase() || char == '-');
    is_word.then_some(answer == "spot")
}

/// `autoscaling/target-lifecycle-state`: whether the group would replace this instance once it has stopped.
#[must_use]
pub fn is_replaced(answer: &str) -> Option<bool> {
    let is_word = !answer.is_empty() && answer.chars().all(|char| char.is_ascii_alphabetic() || char == ':');
    is_word.then(|| !matches!(answer, "Detached" | "Standby") && !answer.starts_with("Warmed:"))
}

/// `ami-manifest-path`: whether the root volume is on the instance store. An image that is on EBS has no manifest.
#[must_use]
pub fn is_on_instance_store(answer: &str) -> Option<bool> {
    (!answer.is_empty()).then_some(!matches!(answer, "(unknown)" | "unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_what_ec2_does_and_when() {
        let notice = notice(r#"{"action": "terminate", "time": "2026-11-22T21:40:00Z"}"#).unwrap();
        assert_eq!(notice.to_string(), "EC2 takes this spot instance back and terminates it at 21:40 UTC");
    }

    #[test]
    fn what_is_no_notice_is_none() {
        for answer in
            ["", "{}", "<html>", r#"{"action":"dance","time":"2026-11-22T21:40:00Z"}"#, r#"{"action":"stop"}"#]
        {
            assert_eq!(notice(answer), None, "{answer}");
        }
    }

    #[test]
    fn life_cycles_are_told_apart() {
        assert_eq!(
            ["on-demand", "spot", "capacity-block", "<html>", ""].map(is_spot),
            [Some(false), Some(true), Some(false), None, None]
        );
        assert_eq!(
            ["InService", "Standby", "Warmed:Stopped", "Detached", "404 -"].map(is_replaced),
            [Some(true), Some(false), Some(false), Some(false), None]
        );
        assert_eq!(
            ["(unknown)", "bucket/image.manifest.xml", ""].map(is_on_instance_store),
            [Some(false), Some(true), None]
        );
    }

    #[test]
    fn a_terminated_instance_needs_no_persistent_request() {
        assert_eq!(Caution::Spot.text(StopAction::Terminate), None);
        assert_eq!(Caution::InstanceStoreRoot.text(StopAction::Terminate), None);
        assert!(Caution::AutoScalingGroup.text(StopAction::Terminate).is_some());
    }
}
