//! Counts attempts to stop the instance.

use mc_idle_rule::rule::{AbortReason, StopError};

/// Attempts to stop the instance since the agent started, by result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    pub accepted: u64,
    /// Refused for a reason that does not pass by itself.
    pub refused: u64,
    /// Failed for a reason that may pass, such as EC2 being unreachable.
    pub failed: u64,
    /// Given up before the request: the last look showed somebody, or failed.
    pub called_off: u64,
}

impl Attempts {
    /// Counts a request by its answer, or by the error that took the answer's place.
    pub fn answered(&mut self, answer: Result<(), &StopError>) {
        match answer {
            Ok(()) => self.accepted += 1,
            Err(StopError { permanent: true, .. }) => self.refused += 1,
            Err(StopError { permanent: false, .. }) => self.failed += 1,
        }
    }

    /// Counts an attempt that ended with the last look.
    pub fn called_off(&mut self, abort_reason: &AbortReason) {
        match abort_reason {
            AbortReason::WitnessBlind(_) => self.failed += 1,
            AbortReason::Superseded
            | AbortReason::Connection
            | AbortReason::Online
            | AbortReason::Blind(_)
            | AbortReason::Unanswered
            | AbortReason::WitnessConnection => self.called_off += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop_error(permanent: bool) -> StopError {
        StopError { permanent, text: String::new() }
    }

    #[test]
    fn every_attempt_is_counted_once_by_what_came_of_it() {
        let mut attempts = Attempts::default();
        attempts.answered(Ok(()));
        attempts.answered(Err(&stop_error(true)));
        attempts.answered(Err(&stop_error(false)));
        attempts.called_off(&AbortReason::WitnessBlind(String::new()));
        let blind = AbortReason::Blind(String::new());
        for abort_reason in [
            AbortReason::Connection,
            blind,
            AbortReason::WitnessConnection,
            AbortReason::Superseded,
            AbortReason::Online,
        ] {
            attempts.called_off(&abort_reason);
        }
        attempts.called_off(&AbortReason::Unanswered);
        assert_eq!(attempts, Attempts { accepted: 1, refused: 1, failed: 2, called_off: 6 });
    }
}
