//! What has to outlive a restart of the agent, and nothing else.

use std::time::Duration;

use super::sample::{Moment, Socket};
use super::window::Running;

/// The clocks of a rule. Its moments mean something only on the clock that they were read from: in the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The clock that ran, and how far it had come.
    pub running: Option<Running>,
    /// How long a due stop had waited for EFS.
    pub efs_waited: Duration,
    /// The open connections, and when each was first seen.
    pub first_seen: Vec<(Socket, Moment)>,
}
