//! The last look: who and what calls a stop off, and what the second witness has to say.

use std::time::Duration;

use mc_idle_rule::rule::AbortReason;
use mc_idle_rule::tracker::ConnectionClass;
use mc_idle_rule::{Alarm, Blocker, Efs, Facts, State, Witness};

use crate::rule::run::{Run, empty, no_server, rule_settings, server, unknown, with};

const WHY: &str = "the kernel has no tcp_diag";

/// A run that has a ticket in its hand.
fn prepared() -> (Run, mc_idle_rule::AttemptId) {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    (run, attempt)
}

fn reread(facts: &Facts) -> Witness<'_> {
    Witness::Reread { why: WHY, facts }
}

#[test]
fn the_last_look_calls_the_stop_off_for_anybody_on_either_side_and_for_either_side_unknown() {
    let young = with(&[(1, 7)]);
    let joining = with(&[(1, 0)]);
    let blind = "the table is cut".to_owned();
    let cases = [
        (young.clone(), empty(), AbortReason::Connection),
        (joining.clone(), empty(), AbortReason::Connection),
        (unknown(), empty(), AbortReason::Blind(blind.clone())),
        (empty(), young, AbortReason::WitnessConnection),
        (empty(), joining, AbortReason::WitnessConnection),
        (empty(), unknown(), AbortReason::WitnessBlind(blind)),
    ];
    for (own, witness, expected) in cases {
        let (mut run, attempt) = prepared();
        assert_eq!(run.look(attempt, &own, &witness), Err(expected));
        assert!(!run.rule.stopping());
        // Nobody is there any more: it is asked for again.
        let attempt = run.until_prepared(3, &empty(), Efs::Mounted).unwrap();
        assert_eq!(run.look(attempt, &empty(), &empty()), Ok(()));
    }
}

#[test]
fn a_frozen_backlog_does_not_stand_in_the_way_of_the_last_look() {
    let mut run = Run::new(rule_settings());
    let backlog = with(&[(1, 0), (2, 0)]);
    let attempt = run.until_prepared(20, &backlog, Efs::Mounted).unwrap();
    assert_eq!(run.look(attempt, &backlog, &backlog), Ok(()));
}

#[test]
fn a_window_that_is_over_does_not_stop_a_machine_that_cannot_be_seen() {
    let mut run = Run::new(rule_settings());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    assert_eq!(run.until_prepared(1, &unknown(), Efs::Mounted), None);
    let attempt = run.until_prepared(2, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded), "blindness ends an attempt");
}

#[test]
fn an_answer_to_an_older_attempt_changes_nothing() {
    let mut run = Run::new(rule_settings());
    let old = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    let new = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(old, run.now, crate::rule::run::stop_error(true), crate::rule::run::NO_JITTER());
    run.rule.answered(old, run.now, Ok(()), crate::rule::run::NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: false });
    assert_eq!(run.look(old, &empty(), &empty()), Err(AbortReason::Superseded));
    assert_eq!(run.look(new, &empty(), &empty()), Ok(()));
}

#[test]
fn after_a_sleep_all_starts_afresh() {
    let (mut run, attempt) = prepared();
    run.rule.start_afresh();
    assert_eq!(run.state(), State::Starting);
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded));
    assert_eq!(run.until_prepared(11, &empty(), Efs::Mounted), None);
    let new = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(attempt, &empty(), &empty()), Err(AbortReason::Superseded), "it is of another evening");
    assert_eq!(run.look(new, &empty(), &empty()), Ok(()));
}

#[test]
fn an_answer_above_zero_in_the_preparation_is_no_stop_and_begins_the_window_again() {
    let (mut run, attempt) = prepared();
    let fresh = vec![run.asked(server(), Some(2))];
    assert_eq!(run.look_after(attempt, &empty(), Witness::Second(&empty()), fresh), Err(AbortReason::Online));
    assert_eq!((run.state(), run.elapsed()), (State::Occupied, 0));
}

#[test]
fn no_answer_in_the_preparation_of_a_server_that_has_none_online_is_no_obstacle() {
    let (mut run, attempt) = prepared();
    let fresh = vec![run.asked(server(), None)];
    assert_eq!(run.look_after(attempt, &empty(), Witness::Second(&empty()), fresh), Ok(()));
}

#[test]
fn silence_in_the_preparation_after_an_answer_above_zero_is_unknown() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(0));
    let attempt = run.until_prepared(20, &empty(), Efs::Off).unwrap();
    run.hear(server(), Some(1));
    let fresh = vec![run.asked(server(), None)];
    let look = run.look_after(attempt, &empty(), Witness::Second(&empty()), fresh);
    assert!(matches!(look, Err(AbortReason::Blind(_))), "{look:?}");
}

#[test]
fn a_connection_that_only_the_witness_shows_holds_the_stop_off_for_a_while() {
    let (mut run, attempt) = prepared();
    assert_eq!(run.look(attempt, &empty(), &with(&[(1, 7)])), Err(AbortReason::WitnessConnection));
    assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: false }));
    assert!(run.see(&empty()).is_some(), "after the shortest back-off it is tried again");
}

#[test]
fn where_the_kernel_has_no_second_witness_fresh_answers_of_zero_take_its_place() {
    let cases = [
        (Some(Some(0)), Ok(())),
        (Some(None), Err(AbortReason::WitnessBlind(WHY.to_owned()))),
        (None, Err(AbortReason::WitnessBlind(WHY.to_owned()))),
    ];
    for (answer, expected) in cases {
        let (mut run, attempt) = prepared();
        // That it said so before is not fresh.
        run.hear(server(), Some(0));
        let fresh = answer.map(|online| run.asked(server(), online)).into_iter().collect();
        assert_eq!(run.look_after(attempt, &empty(), reread(&empty()), fresh), expected, "{answer:?}");
    }
}

#[test]
fn without_a_second_witness_every_server_has_to_answer() {
    use mc_idle_rule::facts::Sockets;
    let both = Facts::of_host(Sockets {
        listening: vec![crate::rule::run::listening("0.0.0.0:25565"), crate::rule::run::listening("[::]:25565")],
        ..Sockets::default()
    });
    let mut other = server();
    other.address = crate::rule::run::address("[::]:25565");
    for (answers, allowed) in [(vec![server()], false), (vec![other], false), (vec![server(), other], true)] {
        let mut run = Run::new(rule_settings());
        let attempt = run.until_prepared(20, &both, Efs::Off).unwrap();
        let fresh = answers.iter().map(|listener| run.asked(*listener, Some(0))).collect();
        assert_eq!(run.look_after(attempt, &both, reread(&both), fresh).is_ok(), allowed, "{answers:?}");
    }
}

#[test]
fn where_nothing_listens_a_second_reading_is_enough() {
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(30, &no_server(), Efs::Off).unwrap();
    assert_eq!(run.look_after(attempt, &no_server(), reread(&no_server()), Vec::new()), Ok(()));
    // A server that only the second reading shows has answered nobody.
    let mut run = Run::new(rule_settings());
    let attempt = run.until_prepared(30, &no_server(), Efs::Off).unwrap();
    let look = run.look_after(attempt, &no_server(), reread(&empty()), Vec::new());
    assert_eq!(look, Err(AbortReason::WitnessBlind(WHY.to_owned())));
}

#[test]
fn a_second_reading_that_shows_somebody_is_believed_whatever_the_server_says() {
    let (mut run, attempt) = prepared();
    let fresh = vec![run.asked(server(), Some(0))];
    let look = run.look_after(attempt, &empty(), reread(&with(&[(1, 7)])), fresh);
    assert_eq!(look, Err(AbortReason::WitnessConnection));
}

#[test]
fn that_there_is_no_second_witness_is_told_once() {
    let (mut run, _) = prepared();
    assert!(run.rule.no_witness(WHY));
    run.see(&empty());
    assert!(!run.rule.no_witness(WHY));
    assert!(!run.alarms.contains(&Alarm::NoWitness(WHY.to_owned())), "the shell has told it");
}

#[test]
fn every_connection_is_shown_with_its_age_and_what_it_counts_as() {
    let mut run = Run::new(rule_settings());
    assert_eq!(run.rule.connections(run.now), None, "nothing has been seen yet");
    (0..7).for_each(|_| drop(run.sample(&with(&[(1, 7), (2, 0)]), Efs::Mounted)));
    run.sample(&with(&[(1, 7), (2, 0), (3, 9), (4, 0)]), Efs::Mounted);
    let shown: Vec<(u16, Duration, ConnectionClass)> = run
        .rule
        .connections(run.now)
        .unwrap()
        .iter()
        .map(|connection| (connection.socket.peer.port() - 40000, connection.age, connection.class))
        .collect();
    let seconds = Duration::from_secs;
    assert_eq!(
        shown,
        [
            (1, seconds(35), ConnectionClass::Player),
            (2, seconds(35), ConnectionClass::Backlog),
            (3, seconds(0), ConnectionClass::Young),
            (4, seconds(0), ConnectionClass::Joining)
        ]
    );
}
