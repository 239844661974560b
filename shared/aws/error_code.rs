//! Classes of AWS error codes. Pure.
//!
//! EC2's crate models no exceptions, so there is only the code (EC2 API reference, error codes). What to do about an
//! error depends on the operation, and is up to the caller.

/// AWS's messages are cut to this length, in characters.
const MESSAGE_LONGEST: usize = 160;

/// The class of an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The role's policy does not allow the call.
    NotAllowed,
    /// Stop or termination protection is on.
    Protected,
    /// The instance does not support the action, for example with a one-time spot request.
    Unsupported,
    /// Not in this region, or malformed.
    NoSuchInstance,
    /// The action is not possible in the instance's current state.
    WrongState,
    /// Too many calls in this account.
    Throttled,
    /// The signature is refused: the clock is wrong, or the credentials have expired.
    Signature,
    /// May pass.
    Other,
}

/// The class of EC2's or SSM's error `code`.
#[must_use]
pub fn class(code: &str) -> ErrorClass {
    match code {
        // The last two are from SSM, and from some stand-ins for EC2.
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => ErrorClass::NotAllowed,
        "OperationNotPermitted" => ErrorClass::Protected,
        "UnsupportedOperation" => ErrorClass::Unsupported,
        _ if code.starts_with("InvalidInstanceID") => ErrorClass::NoSuchInstance,
        "IncorrectInstanceState" | "IncorrectSpotRequestState" => ErrorClass::WrongState,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException"
        | "TooManyUpdates" => ErrorClass::Throttled,
        // EC2 also uses these for a request whose time is off (EC2 API reference, common client errors).
        "AuthFailure" | "RequestExpired" | "SignatureDoesNotMatch" | "InvalidClientTokenId" | "ExpiredToken" => {
            ErrorClass::Signature
        }
        _ => ErrorClass::Other,
    }
}

/// `message`, cut to a length that fits into a sentence.
#[must_use]
pub fn short(message: &str) -> String {
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
    fn codes_are_told_apart() {
        for (code, expected) in [
            ("UnauthorizedOperation", ErrorClass::NotAllowed),
            ("AccessDeniedException", ErrorClass::NotAllowed),
            ("OperationNotPermitted", ErrorClass::Protected),
            ("UnsupportedOperation", ErrorClass::Unsupported),
            ("InvalidInstanceID.NotFound", ErrorClass::NoSuchInstance),
            ("InvalidInstanceID.Malformed", ErrorClass::NoSuchInstance),
            ("IncorrectInstanceState", ErrorClass::WrongState),
            ("TooManyUpdates", ErrorClass::Throttled),
            ("RequestExpired", ErrorClass::Signature),
            ("InternalError", ErrorClass::Other),
            ("SomethingNew", ErrorClass::Other),
        ] {
            assert_eq!(class(code), expected, "{code}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        assert_eq!(short("short"), "short");
        assert_eq!(short(&"é".repeat(200)), "é".repeat(160) + "…");
    }
}
