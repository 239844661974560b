//! The three clocks, and what freezes or resets them.

use std::time::Duration;

use mc_idle_rule::alarms::BLIND;
use mc_idle_rule::clocks::{ClockKind, Windows};
use mc_idle_rule::{Action, Alarm, Blocker, Efs, RuleSettings, State};

use crate::rule::run::{INTERVAL, NO_JITTER, Run, empty, no_server, rule_settings, server, stop_error, unknown, with};

#[test]
fn an_empty_server_is_stopped_when_the_window_is_over_and_not_before() {
    let mut run = Run::new(rule_settings());
    assert_eq!(run.state(), State::Starting);
    // 13 samples are 12 intervals, which are the window to the second.
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Idle);
    let attempt = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(attempt, &empty(), &empty()), Ok(()));
    assert_eq!(run.state(), State::Stopping { accepted: false });
    run.rule.answered(attempt, run.now, Ok(()), NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: true });
}

#[test]
fn a_machine_without_a_server_has_a_window_of_its_own_and_a_listener_starts_the_other() {
    let mut run = Run::new(rule_settings());
    assert_eq!(run.until_prepared(24, &no_server(), Efs::Mounted), None);
    assert_eq!((run.state(), run.elapsed()), (State::NoServer, 115));
    assert!(run.until_prepared(1, &no_server(), Efs::Mounted).is_some());

    let mut run = Run::new(rule_settings());
    assert_eq!(run.until_prepared(12, &no_server(), Efs::Mounted), None);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 0));
    run.sample(&no_server(), Efs::Mounted);
    assert_eq!(run.state(), State::NoServer);
    assert_eq!(run.rule.memory().running.map(|running| running.elapsed), Some(Duration::ZERO));
}

#[test]
fn a_young_connection_does_not_reset_the_clock_and_a_player_does() {
    let mut run = Run::new(rule_settings());
    (0..5).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    // A player at 20 s: the fifth sample that shows it.
    (0..4).for_each(|_| drop(run.sample(&with(&[(1, 7)]), Efs::Mounted)));
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 40));
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Occupied, 0));
}

#[test]
fn the_same_peer_with_another_socket_is_another_connection() {
    let mut run = Run::new(rule_settings());
    (0..10).for_each(|inode| drop(run.sample(&with(&[(1, 100 + inode)]), Efs::Mounted)));
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 45));
}

#[test]
fn unknown_freezes_the_clocks_and_is_never_a_reason_to_stop() {
    let mut run = Run::new(rule_settings());
    (0..7).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    assert_eq!(run.elapsed(), 30);
    let actions: Vec<Action> = (0..100).flat_map(|_| run.sample(&unknown(), Efs::Mounted)).collect();
    assert_eq!(actions, [Action::Alarm(Alarm::Blind)], "one alarm, and nothing else");
    assert!(matches!(run.state(), State::Blind { lasting, .. } if lasting >= BLIND));
    assert_eq!(run.rule.view(run.now).counts, None);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 30));
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.elapsed(), run.rule.memory().no_player), (35, Duration::from_secs(35)));
}

#[test]
fn a_gap_that_was_not_observed_counts_as_one_interval() {
    for (gap, counted) in [(5, 5), (10, 10), (11, 5), (3600, 5), (3600 * 24 * 365, 5)] {
        let mut run = Run::new(rule_settings());
        run.sample(&empty(), Efs::Mounted);
        run.now = run.now.plus(Duration::from_secs(gap));
        run.rule.observe(run.now, &empty(), Efs::Mounted);
        assert_eq!(run.elapsed(), counted, "a gap of {gap} s");
        assert_eq!(run.rule.memory().no_player.as_secs(), counted, "a gap of {gap} s");
    }
}

#[test]
fn a_server_that_comes_and_goes_for_ever_is_bounded_by_the_third_clock() {
    let mut run = Run::new(rule_settings());
    let mut prepared = None;
    let mut samples = 0;
    // Up for one sample, down for the next: neither of the other clocks gets anywhere.
    while prepared.is_none() {
        samples += 1;
        let facts = if samples % 2 == 0 { empty() } else { no_server() };
        prepared = run.see(&facts);
        assert!(samples <= 37, "the windows together are 36 intervals");
    }
    assert_eq!(samples, 37);
    let view = run.rule.view(run.now);
    assert_eq!(view.running.map(|running| running.clock), Some(ClockKind::NoPlayer));
    assert_eq!(view.window, Some(Duration::from_mins(3)));
}

#[test]
fn the_third_clock_begins_again_after_a_player_and_after_an_answer_above_zero() {
    for player in [true, false] {
        let mut run = Run::new(rule_settings());
        for sample in 0..30 {
            run.see(&if sample % 2 == 0 { empty() } else { no_server() });
        }
        assert!(run.rule.memory().no_player > Duration::from_mins(2));
        if player {
            for _ in 0..5 {
                run.see(&with(&[(1, 7)]));
            }
        } else {
            run.see(&empty());
            run.hear(server(), Some(1));
            run.see(&empty());
            run.hear(server(), Some(0));
        }
        assert_eq!((run.state(), run.rule.memory().no_player), (State::Occupied, Duration::ZERO));
        run.see(&empty());
        run.see(&empty());
        assert_eq!(run.rule.memory().no_player, INTERVAL);
    }
}

#[test]
fn the_third_clock_does_not_run_while_the_machine_cannot_be_seen() {
    let mut run = Run::new(rule_settings());
    for _ in 0..200 {
        assert_eq!(run.see(&no_server()), None);
        assert_eq!(run.see(&unknown()), None);
    }
    assert_eq!(run.rule.memory().no_player, Duration::ZERO, "no two readable samples in a row");
}

#[test]
fn the_state_says_how_long_it_takes_by_the_clock_that_will_be_over_first() {
    let mut run = Run::new(rule_settings());
    // 100 s without a server, and then one that starts the idle clock afresh: 60 s by that one, 75 by the third.
    for _ in 0..21 {
        run.see(&no_server());
    }
    run.see(&empty());
    assert_eq!(run.rule.view(run.now).stop_in, Some(Duration::from_secs(60)));
    // It goes again: 120 s by the clock without a server, 70 by the third.
    run.see(&no_server());
    assert_eq!(run.rule.view(run.now).stop_in, Some(Duration::from_secs(70)));
    assert_eq!(run.state(), State::NoServer);
}

#[test]
fn an_alarm_comes_after_five_minutes_of_blindness_and_again_after_the_next_five() {
    let mut run = Run::new(rule_settings());
    for _ in 0..2 {
        run.sample(&empty(), Efs::Mounted);
        let samples = BLIND.as_secs() / INTERVAL.as_secs();
        for _ in 0..samples {
            assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
        }
        assert_eq!(run.sample(&unknown(), Efs::Mounted), [Action::Alarm(Alarm::Blind)]);
        assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
    }
}

#[test]
fn new_terms_hold_for_the_clock_as_it_stands() {
    let mut run = Run::new(rule_settings());
    run.until_prepared(7, &empty(), Efs::Mounted);
    let windows = Windows { idle: Duration::from_secs(30), ..rule_settings().windows };
    run.rule.set_settings(RuleSettings { windows, ..rule_settings() });
    assert_eq!(run.elapsed(), 30);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn the_rule_says_when_the_window_ends() {
    let mut run = Run::new(rule_settings());
    run.until_prepared(3, &empty(), Efs::Mounted);
    assert_eq!(run.rule.view(run.now).stop_in, Some(Duration::from_secs(50)));
    // Asked between two samples it names the same moment.
    assert_eq!(run.rule.view(run.now.plus(INTERVAL * 3 / 5)).stop_in, Some(Duration::from_secs(47)));
    assert_eq!(run.rule.view(run.now.plus(Duration::from_secs(60))).stop_in, Some(Duration::ZERO));
    run.sample(&unknown(), Efs::Mounted);
    assert_eq!(run.rule.view(run.now).stop_in, None);
}

#[test]
fn states_and_mounts_are_called_what_the_heartbeat_calls_them() {
    let states = [
        (State::Starting, "starting"),
        (State::NoServer, "no-server"),
        (State::Occupied, "occupied"),
        (State::Idle, "idle"),
        (State::Due(Blocker::Moment), "due"),
        (State::Blind { why: String::new(), lasting: Duration::ZERO }, "blind"),
        (State::Stopping { accepted: false }, "stopping"),
        (State::StopFailed { stop_error: stop_error(true), again_in: Duration::ZERO }, "stop-failed"),
        (State::Ended, "ended"),
    ];
    for (state, word) in states {
        assert_eq!(state.word(), word);
    }
    let mounts = [
        (Efs::Off, "off"),
        (Efs::Mounted, "mounted"),
        (Efs::Unproven, "mounted"),
        (Efs::Missing, "missing"),
        (Efs::Hung, "hung"),
    ];
    for (efs, word) in mounts {
        assert_eq!(efs.word(), word);
    }
}
