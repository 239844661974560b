//! What the agent knows after a restart.

use std::time::Duration;

use mc_idle_rule::rule::AbortReason;
use mc_idle_rule::{Alarm, Blocker, Efs, Memory, Moment, Rule, RuleSettings, State};

use crate::rule::run::{INTERVAL, NO_JITTER, Run, empty, no_server, rule_settings, server, stop_error, unknown, with};

#[test]
fn the_clock_goes_on_after_a_restart_and_the_time_without_an_agent_does_not_count() {
    for (facts, clock, window) in [(empty(), 60, 12), (no_server(), 120, 24)] {
        let mut run = Run::new(rule_settings());
        (0..window - 3).for_each(|_| drop(run.sample(&facts, Efs::Mounted)));
        assert_eq!(run.elapsed(), clock - 20);
        run.restart(Duration::from_hours(1));
        assert_eq!((run.state(), run.elapsed()), (State::Starting, clock - 20));
        assert_eq!(run.until_prepared(1, &facts, Efs::Mounted), None);
        assert_eq!(run.elapsed(), clock - 20, "nothing was observed before the first sample");
        assert_eq!(run.until_prepared(3, &facts, Efs::Mounted), None);
        assert!(run.until_prepared(1, &facts, Efs::Mounted).is_some());
    }
}

#[test]
fn a_listener_that_came_or_went_while_no_agent_ran_starts_the_other_clock() {
    let mut run = Run::new(rule_settings());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    run.restart(INTERVAL);
    run.sample(&no_server(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::NoServer, 0));
    run.restart(INTERVAL);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 0));
}

#[test]
fn the_third_clock_goes_on_after_a_restart() {
    let mut run = Run::new(rule_settings());
    let crash_loop = |sample: usize| if sample.is_multiple_of(2) { empty() } else { no_server() };
    // One sample less than the windows together are long, and one that the restart costs.
    for sample in 0..36 {
        assert_eq!(run.see(&crash_loop(sample)), None);
    }
    run.restart(INTERVAL);
    assert_eq!(run.see(&crash_loop(36)), None);
    assert!(run.see(&crash_loop(37)).is_some());
}

#[test]
fn a_stop_that_was_due_is_due_after_a_restart_and_each_try_looks_again() {
    let mut run = Run::new(rule_settings());
    let before = run.until_prepared(13, &empty(), Efs::Mounted).unwrap();
    run.restart(INTERVAL);
    assert!(!run.rule.stopping(), "an attempt does not outlive its agent");
    assert_eq!(run.look(before, &empty(), &empty()), Err(AbortReason::Superseded));
    assert_eq!(run.until_prepared(1, &unknown(), Efs::Mounted), None);
    assert_eq!(run.until_prepared(1, &with(&[(1, 7)]), Efs::Mounted), None);
    let attempt = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(attempt, &with(&[(1, 8)]), &empty()), Err(AbortReason::Connection));
}

#[test]
fn neither_a_refusal_nor_a_grant_outlives_the_agent() {
    for answer in [Ok(()), Err(stop_error(true))] {
        let mut run = Run::new(rule_settings());
        let attempt = run.until_prepared(13, &empty(), Efs::Mounted).unwrap();
        run.look(attempt, &empty(), &empty()).unwrap();
        run.rule.answered(attempt, run.now, answer, NO_JITTER());
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        run.restart(INTERVAL);
        assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
    }
}

#[test]
fn the_patience_with_efs_goes_on_after_a_restart() {
    let mut run = Run::new(rule_settings());
    assert_eq!(run.until_prepared(13 + 5, &empty(), Efs::Missing), None);
    run.restart(Duration::from_hours(1));
    assert_eq!(run.until_prepared(1, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Blocker::Efs { left: Some(Duration::from_secs(15)) }));
    assert_eq!(run.until_prepared(2, &empty(), Efs::Missing), None);
    assert!(run.until_prepared(1, &empty(), Efs::Missing).is_some());
}

#[test]
fn the_patience_with_joining_players_goes_on_after_a_restart() {
    let rule_settings = RuleSettings { joining_patience: Duration::from_mins(10), ..rule_settings() };
    let mut run = Run::new(rule_settings.clone());
    for _ in 0..13 {
        run.see(&empty());
    }
    // Pings that overlap: two connections of 10 s each.
    for number in 0..60 {
        assert_eq!(run.see(&with(&[(1, 100 + number / 2), (2, 200 + number.div_ceil(2))])), None);
    }
    let waited = run.rule.memory().joining_waited;
    assert_eq!(waited, Duration::from_secs(300));
    run.rule = Rule::remembering(rule_settings, run.rule.memory(), run.now);
    assert_eq!(run.rule.memory().joining_waited, waited);
}

#[test]
fn a_connection_that_is_still_there_after_a_restart_is_as_old_as_it_is() {
    let mut run = Run::new(rule_settings());
    run.sample(&empty(), Efs::Mounted);
    run.sample(&with(&[(1, 7), (2, 0)]), Efs::Mounted);
    run.restart(Duration::from_secs(15));
    run.sample(&with(&[(1, 7), (2, 0), (3, 9)]), Efs::Mounted);
    let counts = run.rule.view(run.now).counts.unwrap();
    assert_eq!((counts.players, counts.young, counts.joining), (1, 1, 1), "at 20 s");
    run.restart(Duration::from_secs(5));
    run.sample(&with(&[(2, 0), (3, 10)]), Efs::Mounted);
    let counts = run.rule.view(run.now).counts.unwrap();
    assert_eq!((counts.players, counts.young, counts.joining), (0, 1, 0), "at 30 s, and a new one from a known peer");
}

#[test]
fn a_connection_that_was_first_seen_in_the_future_is_new() {
    let mut run = Run::new(rule_settings());
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    let memory = run.rule.memory();
    let (before, at) = (Moment(run.now.0.checked_sub(Duration::from_nanos(1)).unwrap()), run.now);
    for (now, known) in [(before, 0), (at, 1)] {
        assert_eq!(Rule::remembering(rule_settings(), memory.clone(), now).memory().connections.len(), known);
    }
}

#[test]
fn a_rule_that_has_seen_nothing_has_nothing_to_remember() {
    let mut run = Run::new(rule_settings());
    assert_eq!(run.rule.memory(), Memory::default());
    run.sample(&unknown(), Efs::Mounted);
    assert_eq!(run.rule.memory(), Memory::default());
    run.restart(INTERVAL);
    assert_eq!((run.state(), run.rule.memory()), (State::Starting, Memory::default()));
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn what_a_server_said_last_holds_after_a_restart_until_it_is_asked_again() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(3));
    run.restart(Duration::from_mins(1));
    assert_eq!(run.see_for(Duration::from_mins(3), &empty()), None);
    assert_eq!((run.state(), run.rule.view(run.now).online), (State::Occupied, Some(3)));
    run.hear(server(), None);
    assert_eq!(run.see_for(Duration::from_mins(25), &empty()), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
}

#[test]
fn an_answer_of_long_ago_is_as_good_as_silence_after_a_restart() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(3));
    run.restart(Duration::from_hours(5));
    assert_eq!(run.see(&empty()), None);
    assert_eq!(run.see_for(Duration::from_secs(55), &empty()), None);
    assert!(run.see(&empty()).is_some(), "the silence has lasted for more than half an hour");
    assert_eq!(run.alarms, [Alarm::GivenUp(server())]);
}

#[test]
fn when_a_player_was_last_there_is_known_after_a_restart() {
    let mut run = Run::new(rule_settings());
    for _ in 0..5 {
        run.see(&with(&[(1, 7)]));
    }
    run.restart(Duration::from_mins(7));
    run.see(&empty());
    assert_eq!(run.rule.view(run.now).since_player, Some(Duration::from_mins(7) + INTERVAL));
}

#[test]
fn somebody_whose_joins_fail_is_waited_for_after_a_restart() {
    let rule_settings = RuleSettings { min_connection: Duration::from_secs(70), ..rule_settings() };
    let mut run = Run::new(rule_settings.clone());
    for _ in 0..13 {
        run.see(&empty());
    }
    assert_eq!(run.see_for(Duration::from_secs(45), &with(&[(1, 7)])), None);
    assert_eq!(run.see(&empty()), None, "he is given two minutes to come again");
    run.rule = Rule::remembering(rule_settings, run.rule.memory(), run.now);
    assert_eq!(run.see_for(Duration::from_secs(90), &empty()), None);
    assert!(run.see_for(Duration::from_secs(60), &empty()).is_some());
}
