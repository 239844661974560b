//! The dead-man's switch: an instance that nobody watches any more must not bill for ever. Pure.
//!
//! The warden looks at every instance with the tag, again and again. [`look`] says what there is to do; before a stop the
//! game itself is asked, and [`verdict`] has the last word: no answer is not zero. Over 400 lines, nearly half of them tests.

use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::{AgentState, time};
use serde::{Deserialize, Serialize};

use crate::server::heartbeat::Received;
use crate::server::instance::{Instance, InstanceState};

/// An alarm is repeated after this long.
const REPEATED: Duration = Duration::from_hours(24);
/// A case has to be seen this often before anybody is told.
const SEEN: u32 = 2;
/// And not more often than this.
const APART: Duration = Duration::from_secs(20);
/// Without an answer of the game the stop waits this many times as long.
const WITHOUT_ANSWER: u32 = 4;
/// And is announced so long before.
const ANNOUNCED: Duration = Duration::from_hours(1);
/// A hold counts for this long after it was set.
const LONGEST_HOLD: Duration = Duration::from_hours(7 * 24);

/// How long the warden waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start of an instance until its agent has to be there.
    pub grace: Duration,
    /// From the lapse of a heartbeat until somebody is told; `None`: nobody is.
    pub alarm: Option<Duration>,
    /// From the alarm until the instance is stopped; `None`: it is not.
    pub stop: Option<Duration>,
}

/// A hold in the parameter `hold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteHold {
    pub until: Timestamp,
    /// `LastModifiedDate` of its parameter.
    pub set_at: Timestamp,
}

/// What was read of SSM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub heartbeat: Result<Option<Received>, String>,
    pub hold: Result<Option<RemoteHold>, String>,
}

/// What is wrong with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    /// No heartbeat of this boot has come.
    Missing,
    /// The last one has lapsed.
    Lapsed,
    /// Heartbeats come, and have long said that the agent cannot stop the instance, or cannot see.
    Stuck,
}

/// What the warden remembers of one instance between two looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub instance_id: String,
    #[serde(with = "time::required")]
    pub launch_time: Timestamp,
    /// When it was first seen to be so; `None`: so far it could only not be seen.
    #[serde(with = "time::optional")]
    pub since: Option<Timestamp>,
    /// How often it has been seen to be dead.
    pub seen: u32,
    /// When it was last counted as seen: looks that follow each other closely, as after events, are one.
    #[serde(with = "time::optional")]
    pub seen_at: Option<Timestamp>,
    /// The first alarm: the stop counts from here, so that there is always time between the two.
    #[serde(with = "time::optional")]
    pub alarmed_at: Option<Timestamp>,
    /// The last alarm.
    #[serde(with = "time::optional")]
    pub repeated_at: Option<Timestamp>,
    /// The last alarm that the agent's life cannot be seen.
    #[serde(with = "time::optional")]
    pub unknown_at: Option<Timestamp>,
    /// When the stop without an answer was announced.
    #[serde(with = "time::optional")]
    pub announced_at: Option<Timestamp>,
    /// When the game last said that somebody is online.
    #[serde(default, with = "time::optional")]
    pub played_at: Option<Timestamp>,
    /// When people were last told that EC2 refuses to stop it.
    #[serde(default, with = "time::optional")]
    pub refused_at: Option<Timestamp>,
}

impl Case {
    /// The game was asked, and has answered like this.
    pub fn asked(&mut self, pings: [Ping; 2], now: Timestamp) {
        if pings.iter().any(|ping| matches!(ping, Ping::Online(1..))) {
            // Its silence begins anew, and so does the notice.
            (self.played_at, self.announced_at) = (Some(now), None);
        }
    }

    /// EC2 refuses to stop it; whether people are to be told.
    pub fn tells_refusal(&mut self, now: Timestamp) -> bool {
        let tells = is_due(self.refused_at, now);
        if tells {
            self.refused_at = Some(now);
        }
        tells
    }
}

/// Whether an alarm that was last given at `last` is to be given again.
fn is_due(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now >= after(last, REPEATED))
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell people that the agent is dead.
    Alarm { dead: Dead, stop_at: Option<Timestamp> },
    /// Tell people that the agent's life cannot be seen, with the reason.
    AlarmUnknown(String),
    /// Ask the game twice, 30 s apart, describe the instance again, and ask for the [`verdict`].
    Ask,
}

/// An answer of the game.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    NoAnswer,
    Online(u32),
}

/// What comes of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Stop it, never by force.
    Stop,
    /// Somebody plays, or it is another evening, or it is not time yet.
    Leave,
    /// Tell people when it will be stopped unless the game answers, and how to hold it.
    Announce { stop_at: Timestamp },
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// When a hold ends that is in force at `now`.
fn held_until(read: &Read, instance: &Instance) -> Option<Timestamp> {
    let of_agent = read.heartbeat.as_ref().ok().and_then(Option::as_ref).filter(|received| received.is_of(instance));
    let of_agent = of_agent.and_then(|received| {
        // Both are of the instance's clock.
        let lasts = received.heartbeat.held_until?.duration_since(received.heartbeat.at);
        Some(after(received.at, Duration::try_from(lasts).unwrap_or_default().min(LONGEST_HOLD)))
    });
    let remote = read.hold.as_ref().ok().and_then(Option::as_ref);
    of_agent.max(remote.map(|hold| hold.until.min(after(hold.set_at, LONGEST_HOLD))))
}

/// What is wrong with the agent of `instance`, which has run for the grace; `Stuck` from the first time that it is seen on.
fn dead(instance: &Instance, heartbeat: Option<&Received>, limits: &Limits, now: Timestamp) -> Option<Dead> {
    let Some(received) = heartbeat.filter(|received| received.is_of(instance)) else { return Some(Dead::Missing) };
    let has_ended = received.heartbeat.state == AgentState::Ended;
    if has_ended || received.has_lapsed(now) {
        // One that is restarted says that it has ended.
        let lapses_at = if has_ended { received.at } else { received.lapses_at() };
        let lapsed = limits.alarm.is_some_and(|alarm| now >= after(lapses_at, alarm));
        return lapsed.then_some(Dead::Lapsed);
    }
    matches!(received.heartbeat.state, AgentState::StopFailed | AgentState::Blind).then_some(Dead::Stuck)
}

/// Looks at `instance`, of which `before` is remembered. Returns what to remember now (`None`: nothing), and what to do.
#[must_use]
pub fn look(
    instance: &Instance,
    read: &Read,
    before: Option<&Case>,
    limits: &Limits,
    now: Timestamp,
) -> (Option<Case>, Vec<Action>) {
    let before = before.filter(|case| case.instance_id == instance.id && case.launch_time == instance.launch_time);
    if instance.state != InstanceState::Running || now < after(instance.launch_time, limits.grace) {
        return (None, Vec::new());
    }
    let mut case = before.cloned().unwrap_or_else(|| Case {
        instance_id: instance.id.clone(),
        launch_time: instance.launch_time,
        since: None,
        seen: 0,
        seen_at: None,
        alarmed_at: None,
        repeated_at: None,
        unknown_at: None,
        announced_at: None,
        played_at: None,
        refused_at: None,
    });
    let heartbeat = match (&read.heartbeat, &read.hold) {
        (Ok(heartbeat), Ok(_)) => heartbeat.as_ref(),
        // Unknown is no reason to stop anything, and none to forget what was known.
        (Err(why), _) | (_, Err(why)) => {
            let alarm = is_due(case.unknown_at, now);
            if alarm {
                case.unknown_at = Some(now);
            }
            return (Some(case), alarm.then(|| Action::AlarmUnknown(why.clone())).into_iter().collect());
        }
    };
    let Some(dead) = dead(instance, heartbeat, limits, now) else { return (None, Vec::new()) };
    let since = *case.since.get_or_insert(now);
    if dead == Dead::Stuck && limits.stop.is_none_or(|stop| now < after(since, stop)) {
        return (Some(case), Vec::new());
    }
    if case.seen_at.is_none_or(|last| now >= after(last, APART)) {
        case.seen = case.seen.saturating_add(1);
        case.seen_at = Some(now);
    }
    let mut actions = Vec::new();
    if case.seen < SEEN || limits.alarm.is_none() {
        return (Some(case), actions);
    }
    let alarmed_at = *case.alarmed_at.get_or_insert(now);
    let stop_at = limits.stop.map(|stop| after(alarmed_at, stop).max(held_until(read, instance).unwrap_or(alarmed_at)));
    if is_due(case.repeated_at, now) {
        case.repeated_at = Some(now);
        actions.push(Action::Alarm { dead, stop_at });
    }
    if stop_at.is_some_and(|stop_at| now >= stop_at) {
        actions.push(Action::Ask);
    }
    (Some(case), actions)
}

/// What comes of asking the game, after [`Action::Ask`]. `described` is the instance as EC2 shows it after both pings. An
/// announcement is to be noted in the case.
#[must_use]
pub fn verdict(
    case: &Case,
    pings: [Ping; 2],
    described: Option<&Instance>,
    limits: &Limits,
    now: Timestamp,
) -> Verdict {
    let same = described.is_some_and(|instance| {
        instance.id == case.instance_id
            && instance.launch_time == case.launch_time
            && instance.state == InstanceState::Running
    });
    let (Some(stop), Some(alarmed_at), true) = (limits.stop, case.alarmed_at, same) else { return Verdict::Leave };
    match pings {
        [Ping::Online(0), Ping::Online(0)] => Verdict::Stop,
        [Ping::Online(1..), _] | [_, Ping::Online(1..)] => Verdict::Leave,
        _ => {
            let silent_since = case.played_at.map_or(alarmed_at, |played_at| played_at.max(alarmed_at));
            let stop_at = after(silent_since, stop.saturating_mul(WITHOUT_ANSWER));
            match case.announced_at {
                Some(announced_at) if now >= stop_at.max(after(announced_at, ANNOUNCED)) => Verdict::Stop,
                None if now >= stop_at.checked_sub(ANNOUNCED).unwrap_or(stop_at) => {
                    Verdict::Announce { stop_at: stop_at.max(after(now, ANNOUNCED)) }
                }
                _ => Verdict::Leave,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mc_heartbeat::Heartbeat;

    const HOUR: i64 = 3600;
    const LIMITS: Limits = Limits {
        grace: Duration::from_mins(10),
        alarm: Some(Duration::from_mins(10)),
        stop: Some(Duration::from_hours(6)),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn instance() -> Instance {
        let id = "i-0123456789abcdef0".to_owned();
        Instance {
            id,
            state: InstanceState::Running,
            launch_time: at(0),
            v4: None,
            v6: None,
            stopped_at: None,
            reason: None,
        }
    }

    /// One that speaks for three minutes, by a clock that is wrong by years.
    fn heartbeat(state: AgentState, arrived: i64) -> Received {
        let example = Heartbeat::parse(include_str!("../../../shared/heartbeat/examples/idle.json")).unwrap();
        let (written, next_by) = (at(-99_999_999), at(-99_999_999 + 180));
        let heartbeat = Heartbeat { state, at: written, next_by, ..example };
        Received { heartbeat, at: at(arrived) }
    }

    fn read(heartbeat: Option<Received>) -> Read {
        Read { heartbeat: Ok(heartbeat), hold: Ok(None) }
    }

    /// Looks every five minutes from `from` to `to`; returns what was done and when, and the last case.
    fn evening(read: impl Fn(i64) -> Read, from: i64, to: i64) -> (Vec<(i64, String)>, Option<Case>) {
        let (mut case, mut done) = (None, Vec::new());
        for now in (from..=to).step_by(300) {
            let (next, actions) = look(&instance(), &read(now), case.as_ref(), &LIMITS, at(now));
            done.extend(actions.iter().map(|action| {
                (now, format!("{action:?}").split([' ', '(', '{']).next().unwrap_or_default().to_owned())
            }));
            case = next;
        }
        (done, case)
    }

    fn words(done: &[(i64, String)]) -> Vec<(i64, &str)> {
        done.iter().map(|(now, word)| (*now, word.as_str())).collect()
    }

    #[test]
    fn a_living_agent_is_left_alone() {
        let (done, case) = evening(|now| read(Some(heartbeat(AgentState::Idle, now - 30))), 0, 20 * HOUR);
        assert_eq!((done, case), (Vec::new(), None));
    }

    #[test]
    fn a_silent_agent_is_an_alarm_and_six_hours_later_the_game_is_asked() {
        let last = 5 * HOUR;
        let (done, _) = evening(|now| read(Some(heartbeat(AgentState::Idle, now.min(last)))), 0, 11 * HOUR + 2000);
        // Lapsed after 3 min, so late by 10 min at 13 min, first seen at 15 and told at 20.
        let alarm = last + 1200;
        let expected = [(alarm, "Alarm"), (alarm + 6 * HOUR, "Ask"), (alarm + 6 * HOUR + 300, "Ask")];
        assert_eq!(words(&done)[..3], expected);
    }

    #[test]
    fn an_agent_that_never_comes_is_dead_after_the_grace_and_one_of_an_evening_before_is_none() {
        for stale in [None, Some(heartbeat(AgentState::Idle, -5))] {
            let (done, _) = evening(|_| read(stale.clone()), 0, 2 * HOUR);
            assert_eq!(words(&done), [(900, "Alarm")]);
        }
    }

    #[test]
    fn an_agent_that_cannot_stop_or_see_is_dead_after_six_hours_of_it() {
        for state in [AgentState::StopFailed, AgentState::Blind] {
            let (done, _) = evening(|now| read(Some(heartbeat(state, now - 30))), 0, 13 * HOUR);
            assert_eq!(words(&done)[..2], [(600 + 6 * HOUR + 300, "Alarm"), (600 + 12 * HOUR + 300, "Ask")]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_alarm_a_day_and_no_stop() {
        let unreadable = |_| Read { heartbeat: Err("access denied".to_owned()), hold: Ok(None) };
        let (done, _) = evening(unreadable, 0, 50 * HOUR);
        assert_eq!(
            words(&done),
            [(600, "AlarmUnknown"), (600 + 24 * HOUR, "AlarmUnknown"), (600 + 48 * HOUR, "AlarmUnknown")]
        );
        let unheld = |_| Read { heartbeat: Ok(None), hold: Err("access denied".to_owned()) };
        assert!(evening(unheld, 0, 50 * HOUR).0.iter().all(|(_, word)| word == "AlarmUnknown"));
    }

    #[test]
    fn what_could_not_be_read_delays_no_alarm_once_it_can() {
        let then_dead =
            |now| if now < 2 * HOUR { Read { heartbeat: Err(String::new()), hold: Ok(None) } } else { read(None) };
        let (done, _) = evening(then_dead, 0, 3 * HOUR);
        assert_eq!(words(&done), [(600, "AlarmUnknown"), (2 * HOUR + 300, "Alarm")]);
    }

    #[test]
    fn a_hold_puts_the_stop_off_until_its_end_and_for_seven_days_at_most() {
        let held = |until: i64| {
            move |_| Read { heartbeat: Ok(None), hold: Ok(Some(RemoteHold { until: at(until), set_at: at(0) })) }
        };
        let first_ask = |until| {
            let (done, _) = evening(held(until), 0, 9 * 24 * HOUR);
            done.iter().find(|(_, word)| word == "Ask").map(|(now, _)| *now)
        };
        assert_eq!(first_ask(10 * HOUR), Some(10 * HOUR));
        assert_eq!(first_ask(100 * 24 * HOUR), Some(7 * 24 * HOUR));
        assert_eq!(first_ask(HOUR), Some(900 + 6 * HOUR));
    }

    #[test]
    fn a_hold_of_the_agents_lasts_as_long_as_it_said_whatever_its_clock_shows() {
        // It is held for a day, by a clock that is wrong by years, and dies.
        let mut last = heartbeat(AgentState::Idle, 5 * HOUR);
        last.heartbeat.held_until = Some(after(last.heartbeat.at, Duration::from_hours(24)));
        let (done, _) = evening(|_| read(Some(last.clone())), 5 * HOUR, 40 * HOUR);
        let first_ask = done.iter().find(|(_, word)| word == "Ask").map(|(now, _)| *now);
        assert_eq!(first_ask, Some(29 * HOUR));
    }

    #[test]
    fn an_agent_that_is_restarted_has_as_long_as_one_that_is_silent() {
        let ended = |_| read(Some(heartbeat(AgentState::Ended, HOUR)));
        assert_eq!(evening(ended, HOUR, HOUR + 599).0, []);
        assert_eq!(words(&evening(ended, HOUR, 2 * HOUR).0), [(HOUR + 900, "Alarm")]);
    }

    #[test]
    fn hours_in_which_nothing_could_be_read_are_no_hours_of_blindness() {
        let then_blind = |now| {
            let unreadable = Read { heartbeat: Err(String::new()), hold: Ok(None) };
            if now < 7 * HOUR { unreadable } else { read(Some(heartbeat(AgentState::Blind, now - 30))) }
        };
        let (done, _) = evening(then_blind, 0, 14 * HOUR);
        assert_eq!(words(&done), [(600, "AlarmUnknown"), (13 * HOUR + 300, "Alarm")]);
    }

    #[test]
    fn a_refusal_to_stop_is_told_once_a_day() {
        let (_, case) = evening(|_| read(None), 0, 7 * HOUR);
        let mut case = case.unwrap();
        let told: Vec<i64> = (7..60).filter(|hour| case.tells_refusal(at(hour * HOUR))).collect();
        assert_eq!(told, [7, 31, 55]);
    }

    #[test]
    fn silence_counts_from_when_somebody_was_last_online() {
        let (_, case) = evening(|_| read(None), 0, 7 * HOUR);
        let (mut case, silent) = (case.unwrap(), [Ping::NoAnswer, Ping::NoAnswer]);
        let played = 900 + 30 * HOUR;
        case.announced_at = Some(at(900 + 23 * HOUR));
        case.asked([Ping::Online(0), Ping::NoAnswer], at(played));
        assert_eq!(case.announced_at, Some(at(900 + 23 * HOUR)), "nobody was seen");
        case.asked([Ping::Online(2), Ping::NoAnswer], at(played));
        let decide = |case: &Case, now| verdict(case, silent, Some(&instance()), &LIMITS, at(now));
        // A server that hangs for a minute, while two play on it.
        assert_eq!(decide(&case, played + 300), Verdict::Leave);
        let announced = Verdict::Announce { stop_at: at(played + 24 * HOUR) };
        assert_eq!(decide(&case, played + 23 * HOUR), announced);
        let case = Case { announced_at: Some(at(played + 23 * HOUR)), ..case };
        assert_eq!(decide(&case, played + 24 * HOUR - 1), Verdict::Leave);
        assert_eq!(decide(&case, played + 24 * HOUR), Verdict::Stop);
    }

    #[test]
    fn a_new_evening_is_a_new_case() {
        let (_, case) = evening(|_| read(None), 0, 2 * HOUR);
        let again = Instance { launch_time: at(2 * HOUR), ..instance() };
        let (next, actions) = look(&again, &read(None), case.as_ref(), &LIMITS, at(2 * HOUR + 600));
        assert_eq!((next.map(|case| (case.seen, case.alarmed_at)), actions), (Some((1, None)), Vec::new()));
    }

    #[test]
    fn nobody_is_stopped_who_plays_and_no_answer_is_not_zero() {
        let (_, case) = evening(|_| read(None), 0, 7 * HOUR);
        let case = case.unwrap();
        let alarmed = 900;
        let decide = |pings, now| verdict(&case, pings, Some(&instance()), &LIMITS, at(now));
        let (nobody, silent) = (Ping::Online(0), Ping::NoAnswer);
        assert_eq!(decide([nobody, nobody], 7 * HOUR), Verdict::Stop);
        for pings in [[Ping::Online(1), nobody], [nobody, Ping::Online(2)], [silent, Ping::Online(1)]] {
            assert_eq!(decide(pings, 99 * HOUR), Verdict::Leave, "{pings:?}");
        }
        for pings in [[silent, silent], [nobody, silent], [silent, nobody]] {
            assert_eq!(decide(pings, 7 * HOUR), Verdict::Leave, "{pings:?}");
            let announced = Verdict::Announce { stop_at: at(alarmed + 24 * HOUR) };
            assert_eq!(decide(pings, alarmed + 23 * HOUR), announced, "{pings:?}");
        }
        let announced = Case { announced_at: Some(at(alarmed + 23 * HOUR)), ..case.clone() };
        let decide = |now| verdict(&announced, [silent, silent], Some(&instance()), &LIMITS, at(now));
        assert_eq!(decide(alarmed + 24 * HOUR - 1), Verdict::Leave);
        assert_eq!(decide(alarmed + 24 * HOUR), Verdict::Stop);
        // Started anew, stopping by itself, or not to be seen: left alone.
        let anew = Instance { launch_time: at(7 * HOUR), ..instance() };
        let going = Instance { state: InstanceState::Stopping, ..instance() };
        for described in [Some(&anew), Some(&going), None] {
            assert_eq!(verdict(&case, [nobody, nobody], described, &LIMITS, at(7 * HOUR)), Verdict::Leave);
        }
    }
}
