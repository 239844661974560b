//! What the agent knows apart from the rule: the instance's identity, what EC2 allows, the holds, and what is wrong.
//! The service updates it; the reports read it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mc_idle_rule::rule::StopError;

use crate::cloud::metadata::{Identity, ReclaimNotice, StopCaveat};
use crate::holds::{Hold, Note};
use crate::host::mounts::efs::JudgedMount;
use crate::report::attempts::Attempts;

/// What is known apart from the rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// The kernel's id of this boot (random(4)).
    pub boot_id: String,
    /// No requests go to AWS.
    pub dry_run: bool,
    /// The EFS mounts that count, and their state.
    pub mounts: Vec<JudgedMount>,
    /// `None` until it is known.
    pub identity: Option<Identity>,
    /// Why the identity is not known yet.
    pub identity_trouble: Option<String>,
    /// Why the permission check failed.
    pub permission_trouble: Option<StopError>,
    pub heartbeat_written: Option<Timestamp>,
    /// Why heartbeats cannot be written.
    pub heartbeat_trouble: Option<String>,
    /// Why a stop has a different effect on this instance.
    pub caveats: BTreeSet<StopCaveat>,
    /// EC2 is about to reclaim the instance.
    pub notice: Option<ReclaimNotice>,
    /// The holds in force.
    pub holds: Vec<Hold>,
    /// What else people should know about holds.
    pub hold_notes: Vec<Note>,
    pub attempts: Attempts,
}

impl Conditions {
    /// Records the identity of the instance, or why it is not known.
    pub fn set_identity(&mut self, identity: Result<Identity, String>) {
        match identity {
            Ok(identity) => {
                self.identity = Some(identity);
                self.identity_trouble = None;
            }
            Err(trouble) => self.identity_trouble = Some(trouble),
        }
    }

    /// Whether EC2 has said in advance that it will refuse the stop.
    #[must_use]
    pub fn will_be_refused(&self) -> bool {
        self.permission_trouble.as_ref().is_some_and(|error| error.permanent)
    }
}
