//! Stops that are refused or come to nothing, and when they are tried again.

use std::time::Duration;

use mc_idle_rule::rule::{AbortReason, STOP_PATIENCE};
use mc_idle_rule::{Blocker, Efs, State};

use crate::rule::run::{INTERVAL, NO_JITTER, Run, empty, rule_settings, stop_error, unknown, with};

#[test]
fn a_refused_stop_is_tried_again_soon_if_it_may_pass_and_after_five_minutes_if_it_lasts() {
    for (permanent, samples) in [(false, 1), (true, 60)] {
        let mut run = Run::new(rule_settings());
        let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
        run.look(attempt, &empty(), &empty()).unwrap();
        run.rule.answered(attempt, run.now, Err(stop_error(permanent)), NO_JITTER());
        assert!(matches!(run.state(), State::StopFailed { .. }));
        assert_eq!(run.until_prepared(samples - 1, &empty(), Efs::Mounted), None);
        let attempt = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
        assert_eq!(run.look(attempt, &with(&[(1, 7)]), &empty()), Err(AbortReason::Connection), "each try looks again");
    }
}

#[test]
fn a_failed_stop_whose_time_has_come_again_says_what_it_waits_for() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(attempt, run.now, stop_error(true), NO_JITTER());
    (0..59).for_each(|number| drop(run.sample(&with(&[(1, 7 + number)]), Efs::Mounted)));
    assert!(matches!(run.state(), State::StopFailed { .. }));
    run.sample(&with(&[(1, 99)]), Efs::Mounted);
    assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: false }));
}

#[test]
fn failures_in_a_row_wait_longer_and_a_player_ends_them() {
    let mut run = Run::new(rule_settings());
    let mut waits = Vec::new();
    for _ in 0..10 {
        let before = run.now;
        let attempt = run.until_prepared(100, &empty(), Efs::Mounted).unwrap();
        waits.push(run.now.since(before).as_secs());
        run.rule.unprepared(attempt, run.now, stop_error(false), NO_JITTER());
    }
    assert!(waits[1..].is_sorted() && waits[1] == 5 && waits[9] >= 150, "{waits:?}");
    (0..5).for_each(|_| drop(run.sample(&with(&[(1, 7)]), Efs::Mounted)));
    assert_eq!(run.state(), State::Occupied);
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None, "a whole window again");
    let attempt = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(attempt, run.now, stop_error(false), NO_JITTER());
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "the first failure waits shortest again");
}

#[test]
fn a_failed_stop_is_tried_again_as_soon_as_what_it_lacked_is_there_unless_its_refusal_lasts() {
    for (permanent, prepared) in [(false, true), (true, false)] {
        let mut run = Run::new(rule_settings());
        run.rule.try_again_at(run.now);
        for _ in 0..6 {
            let attempt = run.until_prepared(100, &empty(), Efs::Mounted).unwrap();
            run.rule.unprepared(attempt, run.now, stop_error(permanent), NO_JITTER());
        }
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        run.rule.try_again_at(run.now);
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), prepared);
    }
    // A wait that is over already does not begin again, and one for the witness goes on.
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    assert!(run.look(attempt, &empty(), &unknown()).is_err());
    run.rule.try_again_at(run.now);
    assert!(matches!(run.state(), State::StopFailed { again_in, .. } if again_in == INTERVAL));
}

#[test]
fn a_stop_that_was_granted_and_did_not_come_is_asked_for_again() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.look(attempt, &empty(), &empty()).unwrap();
    run.rule.answered(attempt, run.now, Ok(()), NO_JITTER());
    let samples = STOP_PATIENCE.as_secs() / INTERVAL.as_secs();
    assert_eq!(run.until_prepared(usize::try_from(samples).unwrap() - 1, &empty(), Efs::Mounted), None);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn a_preparation_without_an_answer_of_ec2_leads_to_no_look_and_to_another_try() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(attempt, run.now, stop_error(false), NO_JITTER());
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded));
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn a_request_that_failed_since_its_connection_was_gone_is_tried_again_with_another_look() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.look(attempt, &empty(), &empty()).unwrap();
    run.rule.answered(attempt, run.now, Err(stop_error(false)), NO_JITTER());
    assert!(!run.rule.stop_requested());
    let next = run.until_prepared(2, &empty(), Efs::Mounted).unwrap();
    assert_ne!(next, attempt);
    assert_eq!(run.state(), State::Stopping { accepted: false });
    run.now = run.now.plus(Duration::from_millis(1));
    assert_eq!(run.look(next, &empty(), &with(&[(1, 7)])), Err(AbortReason::WitnessConnection));
}
