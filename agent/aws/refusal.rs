//! What an error of EC2 means, by its code, and what to change. Pure.

use crate::config::settings::StopAction;
use crate::idle::rule::Refusal;

/// The longest part of a foreign message that is passed on, in characters.
const MESSAGE_LONGEST: usize = 160;

/// Whether the error `code` says that the role's policy does not allow it. `AccessDenied` is what some stand-ins for EC2
/// say.
#[must_use]
pub fn is_no_permission(code: &str) -> bool {
    matches!(code, "UnauthorizedOperation" | "AccessDenied")
}

/// What EC2's error `code` means for `action` on `instance_id`; `message` is what EC2 says, if it answered at all.
#[must_use]
pub fn by_code(code: &str, message: Option<&str>, action: StopAction, instance_id: &str) -> Refusal {
    let lasting = |advice: String| Refusal { lasting: true, text: format!("EC2 answered {code}: {advice}") };
    let passing = |advice: &str| Refusal { lasting: false, text: format!("EC2 answered {code}: {advice}") };
    match code {
        _ if is_no_permission(code) => {
            lasting(format!("allow {} on this instance in the policy of its role", action.permission()))
        }
        "OperationNotPermitted" => lasting(match action {
            StopAction::Stop | StopAction::Hibernate => {
                "stop protection (disableApiStop) is on; turn it off if this instance is to be stopped".to_owned()
            }
            StopAction::Terminate => "termination protection (disableApiTermination) is on; turn it off if this \
                                      instance is to be terminated"
                .to_owned(),
        }),
        "UnsupportedOperation" => lasting(format!(
            "this instance cannot be asked to {} (a one-time spot request, an instance-store root, or no hibernation \
             set up); launch it another way, or set another action",
            action.verb()
        )),
        _ if code.starts_with("InvalidInstanceID") => {
            lasting(format!("it knows no instance {instance_id} in this region; check aws.instance_id and aws.region"))
        }
        "IncorrectInstanceState" => passing("the instance is not in a state to be stopped; it may be stopping already"),
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => passing("too many calls in this account"),
        // Also what EC2 says of a request whose time is off (EC2 API reference, common client errors).
        "AuthFailure" | "RequestExpired" | "SignatureDoesNotMatch" | "InvalidClientTokenId" | "ExpiredToken" => {
            passing("check that the machine's clock is right and its role exists")
        }
        _ => passing(&message.map(short).unwrap_or_default()),
    }
}

/// EC2 could not be asked, or did not answer.
#[must_use]
pub fn no_answer(error: &str) -> Refusal {
    Refusal { lasting: false, text: format!("EC2 did not answer: {}", short(error)) }
}

/// Something answered that does not speak as EC2 does.
#[must_use]
pub fn no_sense(error: &str) -> Refusal {
    Refusal { lasting: false, text: format!("what answered in EC2's place makes no sense: {}", short(error)) }
}

/// There are no credentials to ask EC2 with.
#[must_use]
pub fn no_credentials(error: &str) -> Refusal {
    Refusal {
        lasting: false,
        text: format!("there are no credentials; attach an instance profile with a role: {}", short(error)),
    }
}

pub(super) fn short(message: &str) -> String {
    let mut short: String = message.chars().take(MESSAGE_LONGEST).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_codes_say_what_to_change() {
        let cases = [
            ("UnauthorizedOperation", "ec2:StopInstances"),
            ("OperationNotPermitted", "disableApiStop"),
            ("UnsupportedOperation", "spot"),
            ("InvalidInstanceID.NotFound", "aws.instance_id"),
            ("InvalidInstanceID.Malformed", "i-1"),
        ];
        for (code, advice) in cases {
            let refusal = by_code(code, None, StopAction::Stop, "i-1");
            assert!(refusal.lasting && refusal.text.contains(code) && refusal.text.contains(advice), "{refusal:?}");
        }
    }

    #[test]
    fn all_others_pass() {
        for code in ["IncorrectInstanceState", "RequestLimitExceeded", "InternalError", "Unavailable", "SomethingNew"] {
            assert!(!by_code(code, Some("text"), StopAction::Stop, "i-1").lasting, "{code}");
        }
        assert!(!no_answer("timeout").lasting);
    }

    #[test]
    fn a_termination_is_told_of_its_own_protection() {
        let refusal = by_code("OperationNotPermitted", None, StopAction::Terminate, "i-1");
        assert!(refusal.text.contains("disableApiTermination"));
        let refusal = by_code("UnauthorizedOperation", None, StopAction::Terminate, "i-1");
        assert!(refusal.text.contains("ec2:TerminateInstances"));
    }
}
