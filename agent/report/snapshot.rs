//! The whole state at one moment. One snapshot is taken for each sample and each event in between, and all reports are
//! made from it: the sentence, the journal, `status.json`, the heartbeat and the metrics.

use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::view::ConnectionView;
use mc_idle_rule::{Moment, Rule, Socket, State, View};

use crate::config::Settings;
use crate::report::conditions::Conditions;

/// The whole state at one moment.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The monotonic time.
    pub now: Moment,
    /// The same moment on the wall clock.
    pub wall: Timestamp,
    pub view: View,
    /// Every connection; `None` when unknown.
    pub connections: Option<Vec<ConnectionView>>,
    /// The connections of peers that are ignored.
    pub ignored: &'a [Socket],
    pub settings: &'a Settings,
    pub conditions: &'a Conditions,
}

impl<'a> Snapshot<'a> {
    /// The state at `now`, which is `wall` on the wall clock.
    #[must_use]
    pub fn new(
        rule: &Rule,
        ignored: &'a [Socket],
        settings: &'a Settings,
        conditions: &'a Conditions,
        now: Moment,
        wall: Timestamp,
    ) -> Self {
        let (view, connections) = (rule.view(now), rule.connections(now));
        Snapshot { now, wall, view, connections, ignored, settings, conditions }
    }

    /// The same for an agent that is exiting: the instance is no longer monitored.
    #[must_use]
    pub fn ended(mut self) -> Self {
        self.view.state = State::Ended;
        self.view.stop_in = None;
        self
    }

    /// When the stop is due if the clock keeps running; `None` if none runs, or during a hold without an end.
    #[must_use]
    pub fn stop_at(&self) -> Option<Timestamp> {
        let holds = self.conditions.holds.iter().map(|hold| hold.left);
        let held = holds.into_iter().try_fold(Duration::ZERO, |most, left| left.map(|left| most.max(left)))?;
        self.wall.checked_add(self.view.stop_in?.max(held)).ok()
    }

    /// When a player was last seen; `None`: not since boot.
    #[must_use]
    pub fn last_player_at(&self) -> Option<Timestamp> {
        self.view.since_player.and_then(|ago| self.wall.checked_sub(ago).ok())
    }
}
