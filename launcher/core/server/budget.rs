//! How often and how long the server may run. It refuses starts and never stops a server. Pure.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::server::usage::Usage;

/// What the owner allows; `None`: no limit. Days and months are in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub starts_per_day: Option<u32>,
    pub per_month: Option<Duration>,
}

/// A start that the budget does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverBudget {
    Starts { limit: u32, until: Timestamp },
    Hours { limit: Duration, until: Timestamp },
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OverBudget::Starts { limit, until } => write!(
                f,
                "today's {limit} starts are used up until {}; the owner can raise MC_STARTS_PER_DAY",
                until.strftime("%Y-%m-%d %H:%M UTC")
            ),
            OverBudget::Hours { limit, until } => write!(
                f,
                "this month's {} hours are used up until {}; the owner can raise MC_HOURS_PER_MONTH",
                limit.as_secs_f64() / 3600.0,
                until.strftime("%Y-%m-%d")
            ),
        }
    }
}

/// The day of `time`, in UTC.
pub(super) fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

/// The first moment of `date`, in UTC.
pub(super) fn beginning(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

/// Whether one more start is allowed at `now`.
///
/// # Errors
/// It is not, with until when.
pub fn allows(budget: &Budget, usage: &Usage, now: Timestamp) -> Result<(), OverBudget> {
    let today = day(now);
    if let Some(limit) = budget.starts_per_day
        && usage.starts_today(now) >= limit
    {
        let tomorrow = today.tomorrow().map_or(Timestamp::MAX, beginning);
        return Err(OverBudget::Starts { limit, until: tomorrow });
    }
    if let Some(limit) = budget.per_month
        && usage.ran_this_month(now) >= limit
    {
        let next = today.last_of_month().tomorrow().map_or(Timestamp::MAX, beginning);
        return Err(OverBudget::Hours { limit, until: next });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::usage::tests::{at, evenings};

    const NONE: Budget = Budget { starts_per_day: None, per_month: None };

    #[test]
    fn starts_are_counted_by_the_day_in_utc() {
        let budget = Budget { starts_per_day: Some(2), ..NONE };
        let all = [
            ("2026-11-21T23:59:59Z", "2026-11-22T01:00:00Z"),
            ("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"),
            ("2026-11-22T20:00:00Z", "2026-11-22T21:00:00Z"),
        ];
        let over = allows(&budget, &evenings(&all), at("2026-11-22T22:00:00Z")).unwrap_err();
        assert_eq!(
            over.to_string(),
            "today's 2 starts are used up until 2026-11-23 00:00 UTC; the owner can raise MC_STARTS_PER_DAY"
        );
        assert_eq!(allows(&budget, &evenings(&all[..2]), at("2026-11-22T22:00:00Z")), Ok(()));
        assert_eq!(allows(&budget, &evenings(&all), at("2026-11-23T00:00:00Z")), Ok(()));
        assert_eq!(allows(&NONE, &evenings(&all), at("2026-11-22T22:00:00Z")), Ok(()));
    }

    #[test]
    fn hours_are_counted_by_the_month() {
        let budget = Budget { per_month: Some(Duration::from_hours(3)), ..NONE };
        // An hour of the first is this month's.
        let two =
            |until| evenings(&[("2026-10-31T22:00:00Z", "2026-11-01T01:00:00Z"), ("2026-11-30T20:00:00Z", until)]);
        assert_eq!(allows(&budget, &two("2026-11-30T21:59:59Z"), at("2026-11-30T23:00:00Z")), Ok(()));
        let over = allows(&budget, &two("2026-11-30T22:00:00Z"), at("2026-11-30T23:00:00Z")).unwrap_err();
        assert_eq!(
            over.to_string(),
            "this month's 3 hours are used up until 2026-12-01; the owner can raise MC_HOURS_PER_MONTH"
        );
        assert_eq!(allows(&budget, &two("2026-11-30T22:00:00Z"), at("2026-12-01T00:00:00Z")), Ok(()));
    }
}
