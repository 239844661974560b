//! Holds keep the instance up until a time and for a reason. A due stop waits until every hold has ended.
//!
//! There are four sources, and each may fail to answer:
//!
//! ```text
//!   mc-idle hold  ─ file ───┐
//!   inhibitor locks ┐       ├──► sources ──► ledger ──► the rule, the status
//!   SSH sessions    ┴ logind┤       │          holds in force, what is unknown, how long a stop waits for an answer
//!   hold.parameter ─ remote ┘       └──────► memory ──► holds.json, for the agent after a restart
//! ```
//!
//! * [`ledger`]: **start here.** Answers, failures and time in; holds in force and troubles out. Pure.
//! * [`notes`]: those troubles in sentences for people. Pure.
//! * [`mod@file`]: `hold.json`, which `mc-idle hold` writes.
//! * [`remote`]: the value of the parameter `hold.parameter`, which the AWS crate reads.
//! * [`process`]: whether the process behind a lock or a session is still the same one.
//! * [`logind`]: inhibitor locks and SSH sessions.
//! * [`memory`]: `holds.json`, the last answers of the sources, for the time after a restart.
//! * [`sources`]: the ledger and its file, shared by the main loop and the tasks that ask.

pub mod file;
pub mod ledger;
#[cfg(test)]
mod ledger_cases;
#[cfg(test)]
mod ledger_world;
pub mod logind;
pub mod memory;
pub mod notes;
pub mod process;
pub mod remote;
pub mod sources;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use file::{parse_duration, place, release};
pub use notes::Note;
pub use sources::HoldSources;

/// The longest hold.
pub const LONGEST: Duration = Duration::from_hours(7 * 24);
/// The longest reason that is kept, in characters.
const REASON_LONGEST: usize = 200;

/// The source of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `mc-idle hold`.
    Operator,
    /// An inhibitor lock of logind (systemd-inhibit(1)).
    Inhibitor,
    /// A logged-in SSH session.
    Ssh,
    /// The parameter `hold.parameter`.
    Parameter,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub source: Source,
    pub reason: String,
    /// The time until it ends; `None`: it ends when its holder releases it.
    pub left: Option<Duration>,
}

/// What is known about holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownHolds {
    /// The holds in force.
    pub holds: Vec<Hold>,
    /// What else people should know about holds.
    pub notes: Vec<Note>,
    /// A source has not answered yet, and a due stop waits for it.
    pub pending: bool,
}

/// The hold that lasts longest, for places with room for one.
#[must_use]
pub fn longest(holds: &[Hold]) -> Option<&Hold> {
    holds.iter().max_by_key(|hold| hold.left.unwrap_or(Duration::MAX))
}

/// A reason on one line, short enough for every place that shows it.
#[must_use]
pub fn tidy(reason: &str) -> String {
    let line: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    line.trim().chars().take(REASON_LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_without_an_end_lasts_longest() {
        let hold = |left| Hold { source: Source::Operator, reason: String::new(), left };
        let holds = [hold(Some(Duration::ZERO)), hold(None), hold(Some(LONGEST))];
        assert_eq!(longest(&holds), Some(&holds[1]));
        assert_eq!(longest(&[]), None);
    }
}
