//! What EC2's error codes mean for a start, in words for whoever has pressed the button. Pure.

use std::fmt;

/// What EC2's answer to a start means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// It is going down: keep the wish.
    GoingDown,
    /// The spot request is not ready to be used again: try again within minutes.
    SpotNotReady,
    /// A one-time spot instance, which cannot be started.
    OneTimeSpot,
    /// None free of this type in this zone.
    NoCapacity,
    /// There is no such instance.
    NoInstance,
    /// The launcher's role does not allow it.
    NotAllowed,
    /// Too many calls in the account.
    Throttled,
    /// No answer within the time.
    NoAnswer,
    /// Anything else.
    Other,
}

impl StartError {
    /// The meaning of the error `code` of StartInstances (EC2 API reference, error codes); `None`: no answer.
    #[must_use]
    pub fn of(code: Option<&str>) -> Self {
        match code {
            None => StartError::NoAnswer,
            Some("IncorrectInstanceState") => StartError::GoingDown,
            Some("IncorrectSpotRequestState") => StartError::SpotNotReady,
            Some("UnsupportedOperation") => StartError::OneTimeSpot,
            Some("InsufficientInstanceCapacity" | "InsufficientHostCapacity" | "InsufficientCapacity") => {
                StartError::NoCapacity
            }
            Some(code) if code.starts_with("InvalidInstanceID") => StartError::NoInstance,
            Some("UnauthorizedOperation" | "AccessDenied") => StartError::NotAllowed,
            Some("RequestLimitExceeded" | "Throttling" | "ThrottlingException") => StartError::Throttled,
            Some(_) => StartError::Other,
        }
    }

    /// Whether the start may work within minutes without anybody changing anything.
    #[must_use]
    pub fn passes(self) -> bool {
        match self {
            StartError::GoingDown
            | StartError::SpotNotReady
            | StartError::NoCapacity
            | StartError::Throttled
            | StartError::NoAnswer
            | StartError::Other => true,
            StartError::OneTimeSpot | StartError::NoInstance | StartError::NotAllowed => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StartError::GoingDown => "the server is still shutting down; it starts by itself as soon as it has stopped",
            StartError::SpotNotReady => "EC2 is not ready to start this spot instance again; try again in a minute or two",
            StartError::OneTimeSpot => {
                "this is a one-time spot instance, which cannot be started again; the owner has to launch it by a persistent \
                 spot request"
            }
            StartError::NoCapacity => {
                "EC2 has no free machine of this type right now; try again in some minutes, or the owner picks another \
                 instance type or zone"
            }
            StartError::NoInstance => "the server's instance is gone; the owner has to correct the parameter instance-id",
            StartError::NotAllowed => {
                "the launcher may not start this instance; the owner has to allow ec2:StartInstances on it in the policy of \
                 the launcher's role"
            }
            StartError::Throttled => "there are too many calls in this AWS account; try again in a minute",
            StartError::NoAnswer => "EC2 does not answer; try again in a minute",
            StartError::Other => "EC2 did not start the server; try again in some minutes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_ec2_is_told_apart_and_says_what_to_do() {
        let mut told = std::collections::BTreeSet::new();
        for (code, expected, passes) in [
            (Some("IncorrectInstanceState"), StartError::GoingDown, true),
            (Some("IncorrectSpotRequestState"), StartError::SpotNotReady, true),
            (Some("UnsupportedOperation"), StartError::OneTimeSpot, false),
            (Some("InsufficientInstanceCapacity"), StartError::NoCapacity, true),
            (Some("InvalidInstanceID.NotFound"), StartError::NoInstance, false),
            (Some("UnauthorizedOperation"), StartError::NotAllowed, false),
            (Some("RequestLimitExceeded"), StartError::Throttled, true),
            (Some("InternalError"), StartError::Other, true),
            (None, StartError::NoAnswer, true),
        ] {
            let error = StartError::of(code);
            assert_eq!((error, error.passes()), (expected, passes), "{code:?}");
            assert!(told.insert(error.to_string()), "{error}");
        }
    }
}
