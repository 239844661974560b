//! What a due stop waits for beside connections: a hold, EFS, and EC2 that takes the instance back by itself.

use std::time::Duration;

use mc_idle_rule::rule::{AbortReason, RECLAIM_PATIENCE};
use mc_idle_rule::{Blocker, Efs, Patience, Rule, RuleSettings, State};

use crate::rule::run::{INTERVAL, NO_JITTER, Run, empty, no_server, rule_settings, with};

#[test]
fn a_hold_delays_a_due_stop_and_not_the_clock() {
    let mut run = Run::new(rule_settings());
    run.rule.hold(true);
    assert_eq!(run.until_prepared(100, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Blocker::Hold));
    run.rule.hold(false);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "no window runs again");
}

#[test]
fn a_hold_that_comes_before_the_last_look_calls_the_stop_off_and_outlives_a_sleep() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.hold(true);
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded));
    run.rule.start_afresh();
    assert_eq!(run.until_prepared(100, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Blocker::Hold));
}

#[test]
fn a_due_stop_waits_for_efs_no_longer_than_its_patience() {
    for efs in [Efs::Missing, Efs::Hung, Efs::Unproven] {
        let mut run = Run::new(rule_settings());
        assert_eq!(run.until_prepared(13, &empty(), efs), None);
        assert_eq!(run.state(), State::Due(Blocker::Efs { left: Some(Duration::from_secs(40)) }));
        assert_eq!(run.until_prepared(7, &empty(), efs), None);
        assert!(run.until_prepared(1, &empty(), efs).is_some());
    }
    let mut run = Run::new(rule_settings());
    run.until_prepared(13, &empty(), Efs::Hung);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "it is back");
}

#[test]
fn a_mount_that_comes_and_goes_does_not_get_its_patience_anew() {
    let mut run = Run::new(rule_settings());
    run.until_prepared(13, &empty(), Efs::Missing);
    let mut waited = 0;
    // Mounted only while a connection holds the stop off.
    while run.until_prepared(1, &empty(), Efs::Missing).is_none() {
        run.sample(&with(&[(1, 1000 + waited)]), Efs::Mounted);
        waited += 1;
        assert!(waited < 100, "it waits for ever");
    }
}

#[test]
fn a_server_that_comes_and_goes_does_not_give_a_mount_its_patience_anew() {
    let mut run = Run::new(rule_settings());
    // Due by the idle clock, and a window later, after a sample without a listener, once more.
    assert_eq!(run.until_prepared(13 + 6, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Blocker::Efs { left: Some(INTERVAL * 2) }));
    run.sample(&no_server(), Efs::Missing);
    assert_eq!(run.until_prepared(13, &empty(), Efs::Missing), None);
    assert!(run.until_prepared(1, &empty(), Efs::Missing).is_some());
    // After a player it is another stop.
    for _ in 0..5 {
        run.sample(&with(&[(1, 7)]), Efs::Missing);
    }
    assert_eq!(run.until_prepared(13, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Blocker::Efs { left: Some(Duration::from_secs(40)) }));
}

#[test]
fn a_termination_waits_for_efs_without_end() {
    let mut run = Run::new(RuleSettings { efs_patience: Patience::WithoutEnd, ..rule_settings() });
    assert_eq!(run.until_prepared(10_000, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Blocker::Efs { left: None }));
}

#[test]
fn a_mount_that_goes_while_a_stop_is_prepared_is_waited_for() {
    for patience in [Patience::AtMost(Duration::from_secs(40)), Patience::WithoutEnd] {
        let mut run = Run::new(RuleSettings { efs_patience: patience, ..rule_settings() });
        let attempt = run.until_prepared(13, &empty(), Efs::Mounted).unwrap();
        run.sample(&empty(), Efs::Missing);
        assert!(matches!(run.state(), State::Due(Blocker::Efs { .. })), "{:?}", run.state());
        assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded));
    }
}

#[test]
fn no_stop_is_asked_for_into_a_notice_for_five_minutes() {
    let mut run = Run::new(rule_settings());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    run.rule.reclaim(run.now, true);
    assert_eq!(run.state(), State::Idle, "the clock runs on");
    let noticed = run.now;
    let samples = usize::try_from(RECLAIM_PATIENCE.as_secs() / INTERVAL.as_secs()).unwrap();
    for _ in 1..samples {
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        assert_eq!(run.state(), State::Due(Blocker::Reclaim));
        // Told again, it is the same notice.
        run.rule.reclaim(run.now, true);
    }
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
    assert_eq!(run.now.since(noticed), RECLAIM_PATIENCE);
}

#[test]
fn a_notice_that_is_taken_back_holds_off_nothing() {
    let mut run = Run::new(rule_settings());
    run.rule.reclaim(run.now, true);
    assert_eq!(run.until_prepared(20, &empty(), Efs::Mounted), None);
    run.rule.reclaim(run.now, false);
    assert_eq!(run.state(), State::Due(Blocker::Moment));
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn a_notice_ends_a_preparation_and_what_was_asked_stays_asked() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.reclaim(run.now, false);
    assert!(run.rule.stopping(), "that there is no notice is no news");
    run.rule.reclaim(run.now, true);
    assert_eq!((run.rule.stopping(), run.state()), (false, State::Due(Blocker::Reclaim)));
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded));

    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.look(attempt, &empty(), &empty()).unwrap();
    run.rule.reclaim(run.now, true);
    assert_eq!(run.state(), State::Stopping { accepted: false });
    run.rule.answered(attempt, run.now, Ok(()), NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: true });
}

#[test]
fn a_notice_that_is_over_is_no_reason_to_end_a_preparation() {
    let mut run = Run::new(rule_settings());
    run.rule.reclaim(run.now, true);
    run.now = run.now.plus(RECLAIM_PATIENCE);
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.reclaim(run.now, true);
    assert_eq!(run.look(attempt, &empty(), &empty()), Ok(()));
}

#[test]
fn a_notice_outlives_a_sleep_and_a_restart_and_a_new_agent_waits_no_longer_for_it() {
    let mut run = Run::new(rule_settings());
    let noticed = run.now;
    run.rule.reclaim(noticed, true);
    run.rule.start_afresh();
    assert_eq!(run.until_prepared(20, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Blocker::Reclaim));
    // Due at once, and before instance metadata has told this agent of the notice.
    run.restart(INTERVAL);
    assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Blocker::Reclaim));
    run.rule.reclaim(run.now, true);
    assert!(run.until_prepared(60, &empty(), Efs::Mounted).is_some());
    assert_eq!(run.now.since(noticed), RECLAIM_PATIENCE);
}

#[test]
fn a_notice_of_the_future_is_none() {
    let mut run = Run::new(rule_settings());
    run.rule.reclaim(run.now.plus(INTERVAL), true);
    assert_eq!(Rule::remembering(rule_settings(), run.rule.memory(), run.now).memory().reclaimed, None);
}
