//! Until when answers are waited for.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::clock;

/// A time after which nothing is waited for any more.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// `time` from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Deadline(clock::instant() + time)
    }

    /// That, or `time` from now, whichever is sooner.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        Deadline(self.0.min(clock::instant() + time))
    }

    /// So much earlier.
    #[must_use]
    pub fn earlier(self, time: Duration) -> Self {
        Deadline(self.0.checked_sub(time).unwrap_or(self.0))
    }

    /// The answer of `service`, if it comes in time.
    ///
    /// # Errors
    /// It does not.
    pub fn limit<T>(self, service: &str, answer: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
        // On the heap: the SDK's futures are large, and would be part of every other that waits for them.
        let answer = Box::pin(answer);
        async move { timeout_at(self.0, answer).await.map_err(|_| format!("{service} does not answer in time")) }
    }
}
