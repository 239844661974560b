//! Figures about the server, for graphs and alarms. Pure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::server::instance::{Instance, InstanceState};
use crate::server::status::Status;
use crate::server::usage::Usage;
use crate::warden::dead_man::Case;

/// The namespace of the metrics.
const NAMESPACE: &str = "mc-idle";

/// What one look has found. `None` is unknown, and is no figure: it is never zero.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Figures {
    /// How many of the server's instances are starting or running.
    pub running: Option<usize>,
    pub players: Option<u64>,
    /// Days and months are in UTC.
    pub starts_today: Option<u32>,
    pub hours_this_month: Option<f64>,
    /// In USD.
    pub cost_this_month: Option<f64>,
    /// Of how many instances people have been told that nobody watches over them.
    pub unwatched: Option<usize>,
}

impl Figures {
    /// What was seen at `now`; `cases` are those that the dead-man's switch remembers.
    #[must_use]
    pub fn new(
        instances: Option<&[Instance]>,
        usage: Option<&Usage>,
        status: &Status,
        cases: &[Case],
        now: Timestamp,
    ) -> Self {
        let runs = |instance: &&Instance| matches!(instance.state, InstanceState::Pending | InstanceState::Running);
        Figures {
            running: instances.map(|instances| instances.iter().filter(runs).count()),
            players: status.players,
            starts_today: usage.map(|usage| usage.starts_today(now)),
            hours_this_month: usage.map(|usage| usage.ran_this_month(now).as_secs_f64() / 3600.0),
            cost_this_month: status.month_usd,
            unwatched: instances.map(|_| cases.iter().filter(|case| case.alarmed_at.is_some()).count()),
        }
    }

    /// A line of a log that CloudWatch makes metrics of, without any further right or call (CloudWatch user guide,
    /// "Specification: Embedded metric format").
    #[must_use]
    pub fn embedded_metrics(&self, server: &str, now: Timestamp) -> String {
        let figures = [
            ("Running", self.running.map(Value::from)),
            ("Players", self.players.map(Value::from)),
            ("StartsToday", self.starts_today.map(Value::from)),
            ("HoursThisMonth", self.hours_this_month.map(Value::from)),
            ("CostThisMonth", self.cost_this_month.map(Value::from)),
            ("Unwatched", self.unwatched.map(Value::from)),
        ];
        let (mut names, mut line) = (Vec::new(), Map::new());
        for (name, figure) in figures {
            if let Some(figure) = figure {
                names.push(json!({"Name": name}));
                line.insert(name.to_owned(), figure);
            }
        }
        line.insert("Server".to_owned(), server.into());
        let metrics = json!([{"Namespace": NAMESPACE, "Dimensions": [["Server"]], "Metrics": names}]);
        let about = json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": metrics});
        line.insert("_aws".to_owned(), about);
        Value::Object(line).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_names_what_it_has_and_nothing_else(
            running in proptest::option::of(0_usize..3),
            players in proptest::option::of(0_u64..100),
            quarters in proptest::option::of(0_u32..3000),
            unwatched in proptest::option::of(0_usize..3),
        ) {
            // A quarter of an hour is the same number in JSON.
            let hours = quarters.map(|quarters| f64::from(quarters) / 4.0);
            let figures = Figures { running, players, hours_this_month: hours, unwatched, ..Figures::default() };
            let line: Value = serde_json::from_str(&figures.embedded_metrics("survival", Timestamp::UNIX_EPOCH)).unwrap();
            let group = &line["_aws"]["CloudWatchMetrics"][0];
            prop_assert_eq!(&group["Dimensions"], &json!([["Server"]]));
            prop_assert_eq!(&line["Server"], "survival");
            let named: Vec<&str> =
                group["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
            let known = [
                ("Running", running.map(Value::from)), ("Players", players.map(Value::from)),
                ("HoursThisMonth", hours.map(Value::from)), ("Unwatched", unwatched.map(Value::from)),
                ("StartsToday", None), ("CostThisMonth", None),
            ];
            for (name, figure) in known {
                prop_assert_eq!(named.contains(&name), figure.is_some());
                // Every figure that is named is there, and a number.
                prop_assert_eq!(line.get(name), figure.as_ref());
            }
        }
    }
}
