//! What the server has used: the parameter `starts`. Pure. Of constant size, so that it fits into a parameter (4 KB) however
//! often the server is started.
//!
//! It follows from what EC2 shows, so launchers that note it at once note the same.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::server::budget::{beginning, day};
use crate::server::instance::{Instance, InstanceState, living};

/// A time that the server ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evening {
    /// `LaunchTime`: a start is a distinct one.
    #[serde(with = "mc_heartbeat::time::required")]
    pub started: Timestamp,
    /// The last time at which it is known to have run.
    #[serde(with = "mc_heartbeat::time::required")]
    pub until: Timestamp,
    /// It has ended.
    pub over: bool,
}

impl Evening {
    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        between(self.started, self.until)
    }
}

/// Who asked for a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// As the broker says; `None`: somebody with the key.
    pub by: Option<String>,
    #[serde(with = "mc_heartbeat::time::required")]
    pub at: Timestamp,
}

/// What the server has used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// The evening that began last.
    pub last: Option<Evening>,
    /// How many began on the same day (UTC) before it.
    pub starts_before: u32,
    /// How long the server ran before it in the month (UTC) in which it began.
    pub seconds_before: u64,
    pub asked: Option<Asked>,
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

fn month(time: Timestamp) -> Timestamp {
    beginning(day(time).first_of_month())
}

impl Usage {
    /// Takes in what EC2 shows at `now`.
    pub fn see(&mut self, instances: &[Instance], now: Timestamp) {
        let mut seen: Vec<&Instance> = instances.iter().collect();
        seen.sort_by_key(|instance| instance.launch_time);
        for instance in &seen {
            let launch_time = instance.launch_time;
            if self.last.is_none_or(|last| last.started < launch_time) {
                self.begin(launch_time);
            }
            if let Some(last) = self.last.as_mut().filter(|last| last.started == launch_time) {
                // What it says is of this stop, unless it was given before the start.
                let stopped_at = instance.stopped_at.filter(|time| *time >= last.started);
                match instance.state {
                    InstanceState::Pending | InstanceState::Running => {
                        (last.until, last.over) = (now.max(last.until), false);
                    }
                    InstanceState::Stopping | InstanceState::ShuttingDown => {
                        last.until = stopped_at.unwrap_or(now.max(last.until));
                    }
                    InstanceState::Stopped | InstanceState::Terminated => {
                        (last.until, last.over) = (stopped_at.unwrap_or(last.until), true);
                    }
                }
            }
        }
        // EC2 forgets what is terminated.
        let forgotten = |last: &Evening| !living(instances).any(|instance| instance.launch_time == last.started);
        if let Some(last) = self.last.as_mut().filter(|last| forgotten(last)) {
            last.over = true;
        }
    }

    fn begin(&mut self, started: Timestamp) {
        self.starts_before = self.starts_on(day(started));
        self.seconds_before = self.ran_in(month(started)).as_secs();
        self.last = Some(Evening { started, until: started, over: false });
    }

    fn starts_on(&self, date: jiff::civil::Date) -> u32 {
        let of_date = self.last.filter(|last| day(last.started) == date);
        of_date.map_or(0, |_| self.starts_before.saturating_add(1))
    }

    /// How long the server ran in the month that begins at `month`, which is that of the last evening or a later one.
    fn ran_in(&self, month_begins: Timestamp) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        let before = if month(last.started) == month_begins { self.seconds_before } else { 0 };
        Duration::from_secs(before) + between(last.started.max(month_begins), last.until)
    }

    /// How many starts there were on the day (UTC) of `now`.
    #[must_use]
    pub fn starts_today(&self, now: Timestamp) -> u32 {
        self.starts_on(day(now))
    }

    /// How long the server has run in the month (UTC) of `now`.
    #[must_use]
    pub fn ran_this_month(&self, now: Timestamp) -> Duration {
        self.ran_in(month(now))
    }

    /// Whether it is worth writing over `noted`: a minute more of an evening that goes on is not.
    #[must_use]
    pub fn differs_from(&self, noted: &Self) -> bool {
        const WORTH: SignedDuration = SignedDuration::from_mins(20);
        match (self.last, noted.last) {
            (Some(own), Some(other)) => {
                let same = Usage { last: Some(Evening { until: other.until, ..own }), ..self.clone() };
                same != *noted || own.until.duration_since(other.until).abs() >= WORTH || (own.over && own != other)
            }
            _ => self != noted,
        }
    }

    /// What a parameter holds.
    ///
    /// # Errors
    /// It holds something else, with the reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the parameter starts is damaged: {error}"))
    }

    /// The text for the parameter.
    #[must_use]
    pub fn text(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn instance(started: Timestamp, state: InstanceState, stopped_at: Option<Timestamp>) -> Instance {
        Instance { id: "i-1".to_owned(), state, launch_time: started, v4: None, v6: None, stopped_at, reason: None }
    }

    /// Each of `evenings` from its start to its stop.
    pub(crate) fn evenings(evenings: &[(&str, &str)]) -> Usage {
        let mut usage = Usage::default();
        for (started, stopped) in evenings {
            let stopped = at(stopped);
            usage.see(&[instance(at(started), InstanceState::Stopped, Some(stopped))], stopped);
        }
        usage
    }

    #[test]
    fn what_is_going_down_has_run_until_now() {
        let mut usage = Usage::default();
        let started = at("2026-11-30T20:00:00Z");
        // Nobody has looked since the start.
        usage.see(&[instance(started, InstanceState::Pending, None)], started);
        let now = at("2026-11-30T23:00:00Z");
        let mut told = usage.clone();
        usage.see(&[instance(started, InstanceState::Stopping, None)], now);
        assert_eq!(usage.ran_this_month(now), Duration::from_hours(3));
        let asked = at("2026-11-30T22:59:00Z");
        told.see(&[instance(started, InstanceState::ShuttingDown, Some(asked))], now);
        assert_eq!(told.ran_this_month(now), Duration::from_mins(179));
    }

    #[test]
    fn what_runs_counts_as_it_goes() {
        let mut usage = Usage::default();
        let started = at("2026-11-30T20:00:00Z");
        let now = at("2026-11-30T21:30:00Z");
        usage.see(&[instance(started, InstanceState::Running, None)], now);
        assert_eq!((usage.ran_this_month(now), usage.starts_today(now)), (Duration::from_mins(90), 1));
        // Over midnight into another month.
        let now = at("2026-12-01T00:20:00Z");
        usage.see(&[instance(started, InstanceState::Running, None)], now);
        assert_eq!((usage.ran_this_month(now), usage.starts_today(now)), (Duration::from_mins(20), 0));
        // Nobody saw the stop; EC2 says when it was.
        let stopped = at("2026-12-01T00:40:00Z");
        let now = at("2026-12-03T00:00:00Z");
        usage.see(&[instance(started, InstanceState::Stopped, Some(stopped))], now);
        assert_eq!(usage.ran_this_month(now), Duration::from_mins(40));
        assert!(usage.last.unwrap().over);
    }

    #[test]
    fn an_instance_that_ec2_has_forgotten_ran_for_as_long_as_it_was_seen() {
        let mut usage = Usage::default();
        let (started, seen, now) = (at("2026-11-30T20:00:00Z"), at("2026-11-30T21:00:00Z"), at("2026-11-30T23:00:00Z"));
        usage.see(&[instance(started, InstanceState::Running, None)], seen);
        usage.see(&[], now);
        assert_eq!((usage.last.unwrap().over, usage.ran_this_month(now)), (true, Duration::from_hours(1)));
    }

    #[test]
    fn it_is_written_when_something_has_changed_and_every_twenty_minutes() {
        let started = at("2026-11-30T20:00:00Z");
        let see = |state, now| {
            let mut usage = Usage::default();
            usage.see(&[instance(started, state, None)], at(now));
            usage
        };
        let noted = see(InstanceState::Running, "2026-11-30T20:01:00Z");
        assert!(!see(InstanceState::Running, "2026-11-30T20:20:59Z").differs_from(&noted));
        assert!(see(InstanceState::Running, "2026-11-30T20:21:00Z").differs_from(&noted));
        assert!(see(InstanceState::Stopped, "2026-11-30T20:02:00Z").differs_from(&noted));
        assert!(noted.differs_from(&Usage::default()) && !noted.differs_from(&noted));
        assert_eq!(Usage::parse(&noted.text()), Ok(noted));
        assert!(Usage::parse("{}x").is_err());
    }

    proptest! {
        /// However the looks fall, what was used is what was seen to be used.
        #[test]
        fn it_adds_up(gaps in prop::collection::vec((60_i64..90_000, 60_i64..40_000), 1..60)) {
            let moment = |second| Timestamp::from_second(second).unwrap();
            let (mut usage, mut time) = (Usage::default(), at("2026-11-20T00:00:00Z").as_second());
            let mut all = Vec::new();
            for (off, on) in gaps {
                let started = time + off;
                time = started + on;
                all.push((started, time));
                usage.see(&[instance(moment(started), InstanceState::Running, None)], moment(started + on / 2));
                usage.see(&[instance(moment(started), InstanceState::Stopped, Some(moment(time)))], moment(time));
                let now = moment(time);
                let begins = month(now).as_second();
                let ran: i64 = all.iter().map(|(from, to)| (to - from.max(&begins)).max(0)).sum();
                let starts = all.iter().filter(|(from, _)| day(moment(*from)) == day(now)).count();
                prop_assert_eq!(usage.ran_this_month(now).as_secs(), u64::try_from(ran).unwrap());
                prop_assert_eq!(usize::try_from(usage.starts_today(now)).unwrap(), starts);
            }
        }
    }
}
