//! The dead-man's switch in words. Pure.

use jiff::Timestamp;

use crate::server::instance::Instance;
use crate::settings::Settings;
use crate::warden::dead_man::{Dead, Ping};
use crate::warden::news::clock;

fn how_to_hold(settings: &Settings) -> String {
    format!("to keep it, write a time such as 2026-11-30T23:00:00Z into the parameter {}", settings.parameter("hold"))
}

fn moment(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// That the agent on `instance` is dead, and when the instance is stopped.
#[must_use]
pub fn dead(settings: &Settings, instance: &Instance, dead: Dead, stop_at: Option<Timestamp>) -> String {
    let what = match dead {
        Dead::Missing => "has not reported since this start",
        Dead::Lapsed => "reports no more",
        Dead::Stuck => "has long been unable to see who plays or to stop the instance",
    };
    let then = match stop_at {
        Some(stop_at) => format!(
            "It is stopped at {} if the game then says that nobody plays; {}.",
            moment(stop_at),
            how_to_hold(settings)
        ),
        None => "Nothing stops it: MC_DEAD_STOP_HOURS is 0.".to_owned(),
    };
    format!("{}: mc-idle on {} {what}, so nobody stops it when it is empty. {then}", settings.server, instance.id)
}

/// That it cannot be seen whether the agent on `instance` is alive.
#[must_use]
pub fn unknown(settings: &Settings, instance: &Instance, why: &str) -> String {
    format!("{}: cannot see whether mc-idle on {} is alive: {why}. Nothing is stopped.", settings.server, instance.id)
}

/// That `instance` is stopped although the game does not answer.
#[must_use]
pub fn announced(settings: &Settings, instance: &Instance, stop_at: Timestamp) -> String {
    format!(
        "{}: neither mc-idle nor the game on {} answers. It is stopped at {}; {}.",
        settings.server,
        instance.id,
        clock(stop_at),
        how_to_hold(settings)
    )
}

/// That `instance` was stopped, after the game has answered like this.
#[must_use]
pub fn stopped(settings: &Settings, instance: &Instance, pings: [Ping; 2]) -> String {
    let nobody =
        if pings == [Ping::Online(0); 2] { "where nobody played" } else { "whose game did not answer for long" };
    format!("{}: stopped {}, which mc-idle no longer watched, and {nobody}.", settings.server, instance.id)
}

/// That `instance` could not be stopped, and why.
#[must_use]
pub fn not_stopped(settings: &Settings, instance: &Instance, why: &str) -> String {
    format!("{}: {} should be stopped, and cannot be: {why}. Stop it by hand.", settings.server, instance.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::status::tests::{at, instance, settings};

    #[test]
    fn an_alarm_says_when_and_how_to_put_it_off() {
        let said = dead(&settings(&[]), &instance(), Dead::Lapsed, Some(at(0)));
        for part in ["survival", "i-0123456789abcdef0", "2023-11-14 22:13 UTC", "/mc-idle/survival/hold"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(dead(&settings(&[]), &instance(), Dead::Missing, None).contains("MC_DEAD_STOP_HOURS"));
    }
}
