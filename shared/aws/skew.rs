//! How far AWS's clock is from this machine's, by the `date` header of its answers (RFC 9110), which an SDK interceptor
//! reads. AWS refuses a request that was signed more than five minutes away from its own time (SigV4).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_ec2::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// Measures the calls of one client, which must not overlap.
#[derive(Debug, Clone, Default)]
pub struct Skew(Arc<Mutex<Difference>>);

#[derive(Debug, Default)]
struct Difference {
    sent: Option<SystemTime>,
    ahead: Option<SignedDuration>,
}

impl Skew {
    /// How far AWS's clock is ahead of this machine's, give or take a second; `None` until an answer has had a `date`.
    #[must_use]
    pub fn ahead(&self) -> Option<SignedDuration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ahead
    }
}

// The SDK calls the hooks. The macro with which it marks its own interceptors is not exported, and only hints at which
// hooks there are.
impl Intercept for Skew {
    fn name(&self) -> &'static str {
        "Skew"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.sent = components.time_source().map(|source| source.now());
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let received = components.time_source().map(|source| source.now());
        let date = context.response().headers().get("date");
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(date), Some(sent), Some(received)) = (date, known.sent, received) {
            known.ahead = ahead(date, sent, received).or(known.ahead);
        }
        Ok(())
    }
}

/// `date` was written about halfway between request and answer, within the second that it names.
fn ahead(date: &str, sent: SystemTime, received: SystemTime) -> Option<SignedDuration> {
    let told = rfc2822::parse(date).ok()?.timestamp() + SignedDuration::from_millis(500);
    let halfway = sent + received.duration_since(sent).unwrap_or_default() / 2;
    Some(told.duration_since(Timestamp::try_from(halfway).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn is_the_difference_to_the_middle_of_the_round_trip() {
        let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let received = sent + Duration::from_secs(3);
        let ahead = |date| ahead(date, sent, received).map(|ahead| ahead.as_millis());
        assert_eq!(ahead("Tue, 14 Nov 2023 22:13:21 GMT"), Some(0));
        assert_eq!(ahead("Tue, 14 Nov 2023 22:23:21 GMT"), Some(600_000));
        assert_eq!(ahead("Tue, 14 Nov 2023 22:13:11 GMT"), Some(-10_000));
        assert_eq!([ahead(""), ahead("yesterday")], [None, None]);
    }
}
