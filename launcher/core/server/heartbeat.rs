//! What the agent's heartbeat is worth: of which boot it is, and whether it has lapsed. The instance's clock, which may be
//! wrong, is compared with no other.

use jiff::Timestamp;
use mc_heartbeat::Heartbeat;

use crate::server::instance::Instance;

/// A heartbeat, and when SSM got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub heartbeat: Heartbeat,
    /// `LastModifiedDate` of its parameter.
    pub at: Timestamp,
}

impl Received {
    /// Whether it is of the boot that `instance` is in. Any other counts as none, for every purpose.
    #[must_use]
    pub fn is_of(&self, instance: &Instance) -> bool {
        self.heartbeat.instance_id == instance.id && self.at > instance.launch_time
    }

    /// When it lapses.
    #[must_use]
    pub fn lapses_at(&self) -> Timestamp {
        self.heartbeat.lapses_at(self.at)
    }

    /// Whether it has lapsed at `now`.
    #[must_use]
    pub fn has_lapsed(&self, now: Timestamp) -> bool {
        now > self.lapses_at()
    }
}
