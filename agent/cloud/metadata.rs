//! Parses the answers of instance metadata (EC2 user guide, instance metadata categories). Pure.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

use crate::cloud::StopAction;

/// An instance and its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub instance_id: String,
    /// The region's code, such as `eu-central-1`.
    pub region: String,
}

/// Why a stop is refused, or has other consequences, on this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopCaveat {
    /// A one-time spot request does not allow a stop, and metadata does not distinguish it from a persistent one.
    Spot,
    /// The group replaces a member that has stopped.
    AutoScalingGroup,
    /// The root volume is on the instance store.
    InstanceStoreRoot,
    /// The role allows the action on other instances as well.
    MayStopOthers,
}

impl StopCaveat {
    /// What the operator should know and do; `None` if it does not matter for `action`.
    #[must_use]
    pub fn text(self, action: StopAction) -> Option<String> {
        let keeps_the_instance = action != StopAction::Terminate;
        let verb = action.verb();
        match self {
            StopCaveat::Spot => keeps_the_instance.then(|| {
                format!("This is a spot instance: EC2 refuses to {verb} it unless its spot request is persistent.")
            }),
            StopCaveat::AutoScalingGroup => Some(
                "This instance is in an Auto Scaling group, which replaces it when it stops: remove it from the group, \
                 or suspend the group's ReplaceUnhealthy process."
                    .to_owned(),
            ),
            StopCaveat::InstanceStoreRoot => keeps_the_instance
                .then(|| format!("The root volume is on the instance store: EC2 refuses to {verb} this instance.")),
            StopCaveat::MayStopOthers => Some(format!(
                "The role of this instance may {verb} other instances too: limit {}.",
                action.permission()
            )),
        }
    }
}

/// EC2's notice that it reclaims a spot instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReclaimNotice {
    pub action: ReclaimAction,
    /// Approximate.
    pub at: Timestamp,
}

/// What EC2 does with a spot instance that it reclaims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReclaimAction {
    Stop,
    Hibernate,
    Terminate,
}

impl fmt::Display for ReclaimNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.action {
            ReclaimAction::Stop => "stop",
            ReclaimAction::Hibernate => "hibernate",
            ReclaimAction::Terminate => "terminate",
        };
        let at = self.at.strftime("%H:%M UTC");
        write!(formatter, "EC2 is reclaiming this spot instance and will {verb} it at {at}")
    }
}

/// Whether `text` has the form of an instance id: `i-` and 8 or 17 hexadecimal digits (EC2 user guide, resource ids).
#[must_use]
pub fn is_instance_id(text: &str) -> bool {
    text.strip_prefix("i-").is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.chars().all(|char| matches!(char, '0'..='9' | 'a'..='f'))
    })
}

/// Parses `spot/instance-action`.
#[must_use]
pub fn notice(answer: &str) -> Option<ReclaimNotice> {
    #[derive(Deserialize)]
    struct Answer {
        action: ReclaimAction,
        time: String,
    }
    let answer: Answer = serde_json::from_str(answer).ok()?;
    Some(ReclaimNotice { action: answer.action, at: answer.time.parse().ok()? })
}

/// Parses `instance-id`.
#[must_use]
pub fn instance_id(answer: &str) -> Option<String> {
    is_instance_id(answer).then(|| answer.to_owned())
}

/// Parses `placement/region`.
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

/// `ami-manifest-path`: whether the root volume is on the instance store. An image on EBS has no manifest.
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
        assert_eq!(notice.to_string(), "EC2 is reclaiming this spot instance and will terminate it at 21:40 UTC");
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
        assert_eq!(StopCaveat::Spot.text(StopAction::Terminate), None);
        assert_eq!(StopCaveat::InstanceStoreRoot.text(StopAction::Terminate), None);
        assert!(StopCaveat::AutoScalingGroup.text(StopAction::Terminate).is_some());
    }
}
