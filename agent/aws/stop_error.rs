//! What EC2's errors mean, by code, and what to change. Pure.

use mc_aws::error_code::{ErrorClass, class, short};
use mc_idle::cloud::StopAction;
use mc_idle_rule::rule::StopError;

/// The meaning of EC2's error `code` for `action` on `instance_id`; `message` is EC2's own text, if there is one.
#[must_use]
pub fn by_code(code: &str, message: Option<&str>, action: StopAction, instance_id: &str) -> StopError {
    let permanent = |advice: String| StopError { permanent: true, text: format!("EC2 answered {code}: {advice}") };
    let transient = |advice: &str| StopError { permanent: false, text: format!("EC2 answered {code}: {advice}") };
    match class(code) {
        ErrorClass::NotAllowed => {
            permanent(format!("allow {} on this instance in the policy of its role", action.permission()))
        }
        ErrorClass::Protected => permanent(match action {
            StopAction::Stop | StopAction::Hibernate => {
                "stop protection (disableApiStop) is on; turn it off if this instance is to be stopped".to_owned()
            }
            StopAction::Terminate => "termination protection (disableApiTermination) is on; turn it off if this \
                                      instance is to be terminated"
                .to_owned(),
        }),
        ErrorClass::Unsupported => permanent(format!(
            "cannot {} this instance (one-time spot request, instance-store root, or hibernation not set up); \
             launch it differently, or set another action",
            action.verb()
        )),
        ErrorClass::NoSuchInstance => {
            permanent(format!("no instance {instance_id} in this region; check aws.instance_id and aws.region"))
        }
        ErrorClass::WrongState => transient("the instance cannot be stopped in this state; it may be stopping already"),
        ErrorClass::Throttled => transient("too many calls in this account"),
        ErrorClass::Signature => transient("check that the machine's clock is right and its role exists"),
        ErrorClass::Other => transient(&message.map(short).unwrap_or_default()),
    }
}

/// EC2 could not be reached, or did not answer.
#[must_use]
pub fn no_answer(error: &str) -> StopError {
    StopError { permanent: false, text: format!("EC2 did not answer: {}", short(error)) }
}

/// The request was not sent, because it would have had to open a connection first.
#[must_use]
pub fn not_sent() -> StopError {
    let text = "the prepared connection to EC2 was closed before the request; preparing a new one".to_owned();
    StopError { permanent: false, text }
}

/// The answer is not one of EC2's.
#[must_use]
pub fn no_sense(error: &str) -> StopError {
    StopError { permanent: false, text: format!("cannot parse the answer from EC2's endpoint: {}", short(error)) }
}

/// No credentials for calling EC2.
#[must_use]
pub fn no_credentials(error: &str) -> StopError {
    StopError {
        permanent: false,
        text: format!("no credentials (attach an instance profile with a role): {}", short(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_codes_say_what_to_change() {
        let cases = [
            ("UnauthorizedOperation", "ec2:StopInstances"),
            ("OperationNotPermitted", "disableApiStop"),
            ("UnsupportedOperation", "spot"),
            ("InvalidInstanceID.NotFound", "aws.instance_id"),
            ("InvalidInstanceID.Malformed", "i-1"),
        ];
        for (code, advice) in cases {
            let stop_error = by_code(code, None, StopAction::Stop, "i-1");
            assert!(
                stop_error.permanent && stop_error.text.contains(code) && stop_error.text.contains(advice),
                "{stop_error:?}"
            );
        }
    }

    #[test]
    fn all_others_pass() {
        for code in ["IncorrectInstanceState", "RequestLimitExceeded", "InternalError", "Unavailable", "SomethingNew"] {
            assert!(!by_code(code, Some("text"), StopAction::Stop, "i-1").permanent, "{code}");
        }
        assert!(!no_answer("timeout").permanent);
    }

    #[test]
    fn a_termination_is_told_of_its_own_protection() {
        let stop_error = by_code("OperationNotPermitted", None, StopAction::Terminate, "i-1");
        assert!(stop_error.text.contains("disableApiTermination"));
        let stop_error = by_code("UnauthorizedOperation", None, StopAction::Terminate, "i-1");
        assert!(stop_error.text.contains("ec2:TerminateInstances"));
    }
}
