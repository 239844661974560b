//! The rule against an independent statement of it: histories at random, and the cases that have a name.
//!
//! The statement ([`history`]) looks at the whole past again for every sample and keeps no state, so it shares neither
//! code nor shape with the rule.

#[path = "rule/history.rs"]
mod history;

use std::time::Duration;

use history::{History, Sample, socket};
use mc_idle::idle::backoff::Jitter;
use mc_idle::idle::rule::{BLIND_ALARM, CallOff, RECLAIM_PATIENCE, Refusal, STOP_PATIENCE};
use mc_idle::idle::view::Standing;
use mc_idle::idle::{Action, Efs, Memory, Moment, Patience, Reading, Rule, Seen, State, Terms, Ticket, View, Wait};
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(5);
const NO_JITTER: fn() -> Jitter = || Jitter::new(0.0);

fn terms() -> Terms {
    Terms {
        idle_window: Duration::from_mins(1),
        no_server_window: Duration::from_mins(2),
        interval: INTERVAL,
        min_connection: Duration::from_secs(20),
        efs_patience: Patience::AtMost(Duration::from_secs(40)),
    }
}

fn empty() -> Reading {
    Reading::Seen(Seen { listener: true, sockets: Vec::new() })
}

fn no_server() -> Reading {
    Reading::Seen(Seen::default())
}

fn with(sockets: &[(u16, u64)]) -> Reading {
    let sockets = sockets.iter().map(|(peer, inode)| socket(*peer, *inode)).collect();
    Reading::Seen(Seen { listener: true, sockets })
}

fn unknown() -> Reading {
    Reading::Unknown("the table is cut".to_owned())
}

/// A rule that is given one sample every interval.
struct Run {
    rule: Rule,
    now: Moment,
}

impl Run {
    fn new(terms: Terms) -> Self {
        Run { rule: Rule::new(terms), now: Moment(Duration::from_secs(1000)) }
    }

    fn sample(&mut self, reading: &Reading, efs: Efs) -> Vec<Action> {
        self.now = self.now.plus(INTERVAL);
        self.rule.observe(self.now, reading, efs)
    }

    /// Samples until the rule asks for a stop; `None` if it does not within `samples`.
    fn until_prepared(&mut self, samples: usize, reading: &Reading, efs: Efs) -> Option<Ticket> {
        (0..samples).find_map(|_| {
            self.sample(reading, efs).into_iter().find_map(|action| match action {
                Action::Prepare(ticket) => Some(ticket),
                Action::AlarmBlind => None,
            })
        })
    }

    fn look(&mut self, ticket: Ticket, own: &Reading, witness: &Reading) -> Result<(), CallOff> {
        self.rule.last_look(ticket, self.now, own, witness, NO_JITTER()).map(|leave| assert_eq!(leave.ticket(), ticket))
    }

    /// The agent ends, and another one goes on after `down` from what this one knew.
    fn restart(&mut self, down: Duration) {
        self.now = self.now.plus(down);
        self.rule = Rule::remembering(terms(), self.rule.memory(), self.now);
    }

    fn state(&self) -> State {
        self.rule.view(self.now).state
    }

    fn elapsed(&self) -> u64 {
        self.rule.view(self.now).running.map_or(0, |running| running.elapsed.as_secs())
    }
}

fn refusal(lasting: bool) -> Refusal {
    Refusal { lasting, text: "no".to_owned() }
}

#[test]
fn an_empty_server_is_stopped_when_the_window_is_over_and_not_before() {
    let mut run = Run::new(terms());
    assert_eq!(run.state(), State::Starting);
    // 13 samples are 12 intervals, which are the window to the second.
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Idle);
    let ticket = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(ticket, &empty(), &empty()), Ok(()));
    assert_eq!(run.state(), State::Stopping { accepted: false });
    run.rule.answered(ticket, run.now, Ok(()), NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: true });
}

#[test]
fn a_machine_without_a_server_has_a_window_of_its_own_and_a_listener_starts_the_other() {
    let mut run = Run::new(terms());
    assert_eq!(run.until_prepared(24, &no_server(), Efs::Mounted), None);
    assert_eq!(run.state(), State::NoServer);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 0));
    run.sample(&no_server(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::NoServer, 0));
    assert!(run.until_prepared(24, &no_server(), Efs::Mounted).is_some());
}

#[test]
fn a_young_connection_does_not_reset_the_clock_and_a_player_does() {
    let mut run = Run::new(terms());
    (0..5).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    // A player at 20 s: the fifth sample that shows it.
    (0..4).for_each(|_| drop(run.sample(&with(&[(1, 7)]), Efs::Mounted)));
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 40));
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Occupied, 0));
}

#[test]
fn the_same_peer_with_another_socket_is_another_connection() {
    let mut run = Run::new(terms());
    (0..10).for_each(|inode| drop(run.sample(&with(&[(1, 100 + inode)]), Efs::Mounted)));
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 45));
}

#[test]
fn a_due_stop_waits_for_a_young_connection_and_for_one_not_yet_accepted_but_not_for_a_frozen_backlog() {
    let mut run = Run::new(terms());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    for sockets in [with(&[(1, 7)]), with(&[(2, 0)])] {
        assert_eq!(run.until_prepared(1, &sockets, Efs::Mounted), None);
        assert_eq!(run.state(), State::Due(Wait::Joining));
    }
    // First seen one sample ago; after 30 s it counts no more.
    assert_eq!(run.until_prepared(5, &with(&[(2, 0)]), Efs::Mounted), None);
    assert!(run.until_prepared(1, &with(&[(2, 0)]), Efs::Mounted).is_some());
}

#[test]
fn unknown_freezes_the_clock_and_is_never_a_reason_to_stop() {
    let mut run = Run::new(terms());
    (0..7).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    assert_eq!(run.elapsed(), 30);
    let actions: Vec<Action> = (0..100).flat_map(|_| run.sample(&unknown(), Efs::Mounted)).collect();
    assert_eq!(actions, [Action::AlarmBlind], "one alarm, and nothing else");
    assert!(matches!(run.state(), State::Blind { lasting, .. } if lasting >= BLIND_ALARM));
    assert_eq!(run.rule.view(run.now).counts, None);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 30));
    run.sample(&empty(), Efs::Mounted);
    assert_eq!(run.elapsed(), 35);
}

#[test]
fn a_window_that_is_over_does_not_stop_a_machine_that_cannot_be_seen() {
    let mut run = Run::new(terms());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    assert_eq!(run.until_prepared(1, &unknown(), Efs::Mounted), None);
    let ticket = run.until_prepared(2, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
    assert_eq!(run.look(ticket, &empty(), &empty()), Err(CallOff::Superseded), "blindness ends an attempt");
}

#[test]
fn the_last_look_calls_the_stop_off_for_anybody_on_either_side_and_for_either_side_unknown() {
    let young = with(&[(1, 7)]);
    let joining = with(&[(1, 0)]);
    let blind = CallOff::WitnessBlind("the table is cut".to_owned());
    let cases = [
        (young.clone(), empty(), CallOff::Connection),
        (joining.clone(), empty(), CallOff::Connection),
        (unknown(), empty(), CallOff::Blind),
        (empty(), young, CallOff::WitnessConnection),
        (empty(), joining, CallOff::WitnessConnection),
        (empty(), unknown(), blind),
    ];
    for (own, witness, expected) in cases {
        let mut run = Run::new(terms());
        let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
        assert_eq!(run.look(ticket, &own, &witness), Err(expected));
        assert!(!run.rule.stopping());
        // Nobody is there any more: it is asked for again.
        let ticket = run.until_prepared(3, &empty(), Efs::Mounted).unwrap();
        assert_eq!(run.look(ticket, &empty(), &empty()), Ok(()));
    }
}

#[test]
fn a_frozen_backlog_does_not_stand_in_the_way_of_the_last_look() {
    let mut run = Run::new(terms());
    let backlog = with(&[(1, 0), (2, 0)]);
    let ticket = run.until_prepared(20, &backlog, Efs::Mounted).unwrap();
    assert_eq!(run.look(ticket, &backlog, &backlog), Ok(()));
}

#[test]
fn a_gap_that_was_not_observed_counts_as_one_interval() {
    for (gap, counted) in [(5, 5), (10, 10), (11, 5), (3600, 5), (3600 * 24 * 365, 5)] {
        let mut run = Run::new(terms());
        run.sample(&empty(), Efs::Mounted);
        run.now = run.now.plus(Duration::from_secs(gap));
        run.rule.observe(run.now, &empty(), Efs::Mounted);
        assert_eq!(run.elapsed(), counted, "a gap of {gap} s");
    }
}

#[test]
fn a_due_stop_waits_for_efs_no_longer_than_its_patience() {
    for efs in [Efs::Missing, Efs::Hung, Efs::Unproven] {
        let mut run = Run::new(terms());
        assert_eq!(run.until_prepared(13, &empty(), efs), None);
        assert_eq!(run.state(), State::Due(Wait::Efs { left: Some(Duration::from_secs(40)) }));
        assert_eq!(run.until_prepared(7, &empty(), efs), None);
        assert!(run.until_prepared(1, &empty(), efs).is_some());
    }
    let mut run = Run::new(terms());
    run.until_prepared(13, &empty(), Efs::Hung);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "it is back");
}

#[test]
fn a_mount_that_comes_and_goes_does_not_get_its_patience_anew() {
    let mut run = Run::new(terms());
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
fn a_termination_waits_for_efs_without_end() {
    let mut run = Run::new(Terms { efs_patience: Patience::WithoutEnd, ..terms() });
    assert_eq!(run.until_prepared(10_000, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Wait::Efs { left: None }));
}

#[test]
fn a_refused_stop_is_tried_again_soon_if_it_may_pass_and_after_five_minutes_if_it_lasts() {
    for (lasting, samples) in [(false, 1), (true, 60)] {
        let mut run = Run::new(terms());
        let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
        run.look(ticket, &empty(), &empty()).unwrap();
        run.rule.answered(ticket, run.now, Err(refusal(lasting)), NO_JITTER());
        assert!(matches!(run.state(), State::StopFailed { .. }));
        assert_eq!(run.until_prepared(samples - 1, &empty(), Efs::Mounted), None);
        let ticket = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
        assert_eq!(run.look(ticket, &with(&[(1, 7)]), &empty()), Err(CallOff::Connection), "each try looks again");
    }
}

#[test]
fn a_failed_stop_whose_time_has_come_again_says_what_it_waits_for() {
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(ticket, run.now, refusal(true), NO_JITTER());
    (0..59).for_each(|number| drop(run.sample(&with(&[(1, 7 + number)]), Efs::Mounted)));
    assert!(matches!(run.state(), State::StopFailed { .. }));
    run.sample(&with(&[(1, 99)]), Efs::Mounted);
    assert_eq!(run.state(), State::Due(Wait::Joining));
}

#[test]
fn failures_in_a_row_wait_longer_and_a_player_ends_them() {
    let mut run = Run::new(terms());
    let mut waits = Vec::new();
    for _ in 0..10 {
        let before = run.now;
        let ticket = run.until_prepared(100, &empty(), Efs::Mounted).unwrap();
        waits.push(run.now.since(before).as_secs());
        run.rule.unprepared(ticket, run.now, refusal(false), NO_JITTER());
    }
    assert!(waits[1..].is_sorted() && waits[1] == 5 && waits[9] >= 150, "{waits:?}");
    (0..5).for_each(|_| drop(run.sample(&with(&[(1, 7)]), Efs::Mounted)));
    assert_eq!(run.state(), State::Occupied);
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None, "a whole window again");
    let ticket = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(ticket, run.now, refusal(false), NO_JITTER());
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "the first failure waits shortest again");
}

#[test]
fn a_failed_stop_is_tried_again_as_soon_as_what_it_lacked_is_there_unless_its_refusal_lasts() {
    for (lasting, prepared) in [(false, true), (true, false)] {
        let mut run = Run::new(terms());
        run.rule.try_again_at(run.now);
        for _ in 0..6 {
            let ticket = run.until_prepared(100, &empty(), Efs::Mounted).unwrap();
            run.rule.unprepared(ticket, run.now, refusal(lasting), NO_JITTER());
        }
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        run.rule.try_again_at(run.now);
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), prepared);
    }
    // A wait that is over already does not begin again, and one for the witness goes on.
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    assert!(run.look(ticket, &empty(), &unknown()).is_err());
    run.rule.try_again_at(run.now);
    assert!(matches!(run.state(), State::StopFailed { again_in, .. } if again_in == INTERVAL));
}

#[test]
fn a_stop_that_was_granted_and_did_not_come_is_asked_for_again() {
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.look(ticket, &empty(), &empty()).unwrap();
    run.rule.answered(ticket, run.now, Ok(()), NO_JITTER());
    let samples = STOP_PATIENCE.as_secs() / INTERVAL.as_secs();
    assert_eq!(run.until_prepared(usize::try_from(samples).unwrap() - 1, &empty(), Efs::Mounted), None);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn an_answer_to_an_older_attempt_changes_nothing() {
    let mut run = Run::new(terms());
    let old = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    let new = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    run.rule.unprepared(old, run.now, refusal(true), NO_JITTER());
    run.rule.answered(old, run.now, Ok(()), NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: false });
    assert_eq!(run.look(old, &empty(), &empty()), Err(CallOff::Superseded));
    assert_eq!(run.look(new, &empty(), &empty()), Ok(()));
}

#[test]
fn after_a_sleep_all_starts_afresh() {
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.start_afresh();
    assert_eq!(run.state(), State::Starting);
    assert_eq!(run.look(ticket, &empty(), &empty()), Err(CallOff::Superseded));
    assert_eq!(run.until_prepared(11, &empty(), Efs::Mounted), None);
    let new = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(ticket, &empty(), &empty()), Err(CallOff::Superseded), "it is of another evening");
    assert_eq!(run.look(new, &empty(), &empty()), Ok(()));
}

#[test]
fn an_alarm_comes_after_five_minutes_of_blindness_and_again_after_the_next_five() {
    let mut run = Run::new(terms());
    for _ in 0..2 {
        run.sample(&empty(), Efs::Mounted);
        let samples = BLIND_ALARM.as_secs() / INTERVAL.as_secs();
        for _ in 0..samples {
            assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
        }
        assert_eq!(run.sample(&unknown(), Efs::Mounted), [Action::AlarmBlind]);
        assert_eq!(run.sample(&unknown(), Efs::Mounted), []);
    }
}

#[test]
fn the_clock_goes_on_after_a_restart_and_the_time_without_an_agent_does_not_count() {
    for (reading, clock, window) in [(empty(), 60, 12), (no_server(), 120, 24)] {
        let mut run = Run::new(terms());
        (0..window - 3).for_each(|_| drop(run.sample(&reading, Efs::Mounted)));
        assert_eq!(run.elapsed(), clock - 20);
        run.restart(Duration::from_hours(1));
        assert_eq!((run.state(), run.elapsed()), (State::Starting, clock - 20));
        assert_eq!(run.until_prepared(1, &reading, Efs::Mounted), None);
        assert_eq!(run.elapsed(), clock - 20, "nothing was observed before the first sample");
        assert_eq!(run.until_prepared(3, &reading, Efs::Mounted), None);
        assert!(run.until_prepared(1, &reading, Efs::Mounted).is_some());
    }
}

#[test]
fn a_listener_that_came_or_went_while_no_agent_ran_starts_the_other_clock() {
    let mut run = Run::new(terms());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    run.restart(INTERVAL);
    run.sample(&no_server(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::NoServer, 0));
    run.restart(INTERVAL);
    run.sample(&empty(), Efs::Mounted);
    assert_eq!((run.state(), run.elapsed()), (State::Idle, 0));
}

#[test]
fn a_stop_that_was_due_is_due_after_a_restart_and_each_try_looks_again() {
    let mut run = Run::new(terms());
    let before = run.until_prepared(13, &empty(), Efs::Mounted).unwrap();
    run.restart(INTERVAL);
    assert!(!run.rule.stopping(), "an attempt does not outlive its agent");
    assert_eq!(run.look(before, &empty(), &empty()), Err(CallOff::Superseded));
    assert_eq!(run.until_prepared(1, &unknown(), Efs::Mounted), None);
    assert_eq!(run.until_prepared(1, &with(&[(1, 7)]), Efs::Mounted), None);
    let ticket = run.until_prepared(1, &empty(), Efs::Mounted).unwrap();
    assert_eq!(run.look(ticket, &with(&[(1, 8)]), &empty()), Err(CallOff::Connection));
}

#[test]
fn neither_a_refusal_nor_a_grant_outlives_the_agent() {
    for answer in [Ok(()), Err(refusal(true))] {
        let mut run = Run::new(terms());
        let ticket = run.until_prepared(13, &empty(), Efs::Mounted).unwrap();
        run.look(ticket, &empty(), &empty()).unwrap();
        run.rule.answered(ticket, run.now, answer, NO_JITTER());
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        run.restart(INTERVAL);
        assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
    }
}

#[test]
fn the_patience_with_efs_goes_on_after_a_restart() {
    let mut run = Run::new(terms());
    assert_eq!(run.until_prepared(13 + 5, &empty(), Efs::Missing), None);
    run.restart(Duration::from_hours(1));
    assert_eq!(run.until_prepared(1, &empty(), Efs::Missing), None);
    assert_eq!(run.state(), State::Due(Wait::Efs { left: Some(Duration::from_secs(15)) }));
    assert_eq!(run.until_prepared(2, &empty(), Efs::Missing), None);
    assert!(run.until_prepared(1, &empty(), Efs::Missing).is_some());
}

#[test]
fn a_connection_that_is_still_there_after_a_restart_is_as_old_as_it_is() {
    let mut run = Run::new(terms());
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
    let mut run = Run::new(terms());
    run.sample(&with(&[(1, 7)]), Efs::Mounted);
    let memory = run.rule.memory();
    let (before, at) = (Moment(run.now.0.checked_sub(Duration::from_nanos(1)).unwrap()), run.now);
    for (now, known) in [(before, 0), (at, 1)] {
        assert_eq!(Rule::remembering(terms(), memory.clone(), now).memory().first_seen.len(), known);
    }
}

#[test]
fn a_rule_that_has_seen_nothing_has_nothing_to_remember() {
    let mut run = Run::new(terms());
    assert_eq!(run.rule.memory(), Memory::default());
    run.sample(&unknown(), Efs::Mounted);
    assert_eq!(run.rule.memory(), Memory::default());
    run.restart(INTERVAL);
    assert_eq!((run.state(), run.rule.memory()), (State::Starting, Memory::default()));
    assert_eq!(run.until_prepared(12, &empty(), Efs::Mounted), None);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn no_stop_is_asked_for_into_a_notice_for_five_minutes() {
    let mut run = Run::new(terms());
    (0..12).for_each(|_| drop(run.sample(&empty(), Efs::Mounted)));
    run.rule.reclaim(run.now, true);
    assert_eq!(run.state(), State::Idle, "the clock runs on");
    let noticed = run.now;
    let samples = usize::try_from(RECLAIM_PATIENCE.as_secs() / INTERVAL.as_secs()).unwrap();
    for _ in 1..samples {
        assert_eq!(run.until_prepared(1, &empty(), Efs::Mounted), None);
        assert_eq!(run.state(), State::Due(Wait::Reclaim));
        // Told again, it is the same notice.
        run.rule.reclaim(run.now, true);
    }
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
    assert_eq!(run.now.since(noticed), RECLAIM_PATIENCE);
}

#[test]
fn a_notice_that_is_taken_back_holds_off_nothing() {
    let mut run = Run::new(terms());
    run.rule.reclaim(run.now, true);
    assert_eq!(run.until_prepared(20, &empty(), Efs::Mounted), None);
    run.rule.reclaim(run.now, false);
    assert_eq!(run.state(), State::Due(Wait::Moment));
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn a_notice_ends_a_preparation_and_what_was_asked_stays_asked() {
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.reclaim(run.now, false);
    assert!(run.rule.stopping(), "that there is no notice is no news");
    run.rule.reclaim(run.now, true);
    assert_eq!((run.rule.stopping(), run.state()), (false, State::Due(Wait::Reclaim)));
    assert_eq!(run.look(ticket, &empty(), &empty()), Err(CallOff::Superseded));

    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.look(ticket, &empty(), &empty()).unwrap();
    run.rule.reclaim(run.now, true);
    assert_eq!(run.state(), State::Stopping { accepted: false });
    run.rule.answered(ticket, run.now, Ok(()), NO_JITTER());
    assert_eq!(run.state(), State::Stopping { accepted: true });
}

#[test]
fn a_notice_that_is_over_is_no_reason_to_end_a_preparation() {
    let mut run = Run::new(terms());
    run.rule.reclaim(run.now, true);
    run.now = run.now.plus(RECLAIM_PATIENCE);
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.reclaim(run.now, true);
    assert_eq!(run.look(ticket, &empty(), &empty()), Ok(()));
}

#[test]
fn a_notice_outlives_a_sleep_and_a_new_agent_has_to_be_told() {
    let mut run = Run::new(terms());
    run.rule.reclaim(run.now, true);
    run.rule.start_afresh();
    assert_eq!(run.until_prepared(20, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Wait::Reclaim));
    run.restart(INTERVAL);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn new_terms_hold_for_the_clock_as_it_stands() {
    let mut run = Run::new(terms());
    run.until_prepared(7, &empty(), Efs::Mounted);
    run.rule.set_terms(Terms { idle_window: Duration::from_secs(30), ..terms() });
    assert_eq!(run.elapsed(), 30);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some());
}

#[test]
fn the_rule_says_when_the_window_ends() {
    let mut run = Run::new(terms());
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
        (State::Due(Wait::Moment), "due"),
        (State::Blind { why: String::new(), lasting: Duration::ZERO }, "blind"),
        (State::Stopping { accepted: false }, "stopping"),
        (State::StopFailed { refusal: refusal(true), again_in: Duration::ZERO }, "stop-failed"),
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

#[derive(Debug, Clone)]
struct Step {
    sample: Sample,
    efs: Efs,
    own: Reading,
    witness: Reading,
    answer: Result<(), bool>,
}

fn reading() -> impl Strategy<Value = Reading> {
    let sockets = prop::collection::vec((1_u16..4, 0_u64..3), 0..3);
    // Empty readings often, or no window would ever end.
    let seen = (prop::bool::weighted(0.9), prop_oneof![3 => Just(Vec::new()), 1 => sockets]).prop_map(
        |(listener, sockets)| {
            let sockets = sockets.into_iter().map(|(peer, inode)| socket(peer, inode)).collect();
            Reading::Seen(Seen { listener, sockets })
        },
    );
    prop_oneof![1 => Just(unknown()), 15 => seen]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![12 => Just(5_000_u64), 2 => 0_u64..10_000, 1 => 10_001_u64..100_000];
    let efs = prop_oneof![8 => Just(Efs::Mounted), 1 => Just(Efs::Missing), 1 => Just(Efs::Hung)];
    let step = (gap, reading(), efs, reading(), reading(), prop::result::maybe_ok(any::<()>(), any::<bool>()));
    // The same reading several times over: a world that stays as it is for a while.
    let run = (step, 1_usize..8).prop_map(|((gap, reading, efs, own, witness, answer), times)| {
        let sample = Sample { gap: Duration::from_millis(gap), reading };
        vec![Step { sample, efs, own, witness, answer }; times]
    });
    prop::collection::vec(run, 0..30).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What the rule shows and asks for is what the statement says, whatever happens.
    #[test]
    fn the_rule_is_what_the_statement_says(steps in steps()) {
        let terms = Terms { idle_window: Duration::from_secs(30), no_server_window: Duration::from_secs(45), ..terms() };
        let mut rule = Rule::new(terms);
        let mut now = Moment(Duration::ZERO);
        let mut history = History::new(terms);
        let mut quiet_until = now;
        for Step { sample, efs, own, witness, answer } in steps {
            now = now.plus(sample.gap);
            let reading = sample.reading.clone();
            history.add(sample, efs);
            let actions = rule.observe(now, &reading, efs);
            prop_assert_eq!(rule.view(now).running.map(|running| running.elapsed), history.elapsed());
            prop_assert_eq!(rule.view(now).counts.map(|counts| counts.players), history.players());
            let ticket = actions.iter().find_map(|action| match action {
                Action::Prepare(ticket) => Some(*ticket),
                Action::AlarmBlind => None,
            });
            if !history.due() {
                quiet_until = quiet_until.min(now);
            }
            // The first promise: never while anybody may be there. The second: always when the time has come.
            if ticket.is_some() {
                prop_assert!(history.due() && history.nobody() && history.efs_allows());
            } else if now >= quiet_until && !rule.stopping() {
                prop_assert!(!(history.due() && history.nobody() && history.efs_allows()));
            }
            let Some(ticket) = ticket else { continue };
            history.add(Sample { gap: Duration::ZERO, reading: own.clone() }, efs);
            let look = rule.last_look(ticket, now, &own, &witness, NO_JITTER());
            let clean = history.due() && history.nobody() && history.nobody_in(&witness);
            prop_assert_eq!(look.is_ok(), clean, "{:?}", look);
            match look {
                Ok(_) => {
                    let wait = match answer {
                        Ok(()) => STOP_PATIENCE,
                        Err(_) => Duration::from_mins(5),
                    };
                    quiet_until = now.plus(wait);
                    rule.answered(ticket, now, answer.map_err(refusal), NO_JITTER());
                }
                Err(CallOff::WitnessConnection | CallOff::WitnessBlind(_)) => quiet_until = now.plus(Duration::from_mins(5)),
                Err(_) => {}
            }
        }
    }

    /// From a memory that is taken at any step and taken up at once, everything goes on as it would have. What an attempt
    /// and its refusal or grant have come to is not remembered, nor how long the rule has been blind.
    #[test]
    fn a_memory_changes_nothing(before in steps(), after in steps()) {
        let mut run = Run::new(terms());
        let mut tried = false;
        for step in &before {
            run.now = run.now.plus(step.sample.gap);
            for action in run.rule.observe(run.now, &step.sample.reading, step.efs) {
                let Action::Prepare(ticket) = action else { continue };
                tried = true;
                if run.rule.last_look(ticket, run.now, &step.own, &step.witness, NO_JITTER()).is_ok() {
                    run.rule.answered(ticket, run.now, step.answer.map_err(refusal), NO_JITTER());
                }
            }
        }
        let mut heir = Rule::remembering(terms(), run.rule.memory(), run.now);
        prop_assert_eq!(heir.memory(), run.rule.memory());
        // What passes before the heir's first sample would count for the other one alone.
        let mut gap = Duration::ZERO;
        for step in &after {
            run.now = run.now.plus(gap);
            gap = step.sample.gap;
            run.rule.observe(run.now, &step.sample.reading, step.efs);
            heir.observe(run.now, &step.sample.reading, step.efs);
            let (mut view, mut heirs) = (run.rule.view(run.now), heir.view(run.now));
            for view in [&mut view, &mut heirs] {
                if let State::Blind { lasting, .. } = &mut view.state {
                    *lasting = Duration::ZERO;
                }
            }
            if tried {
                let clocks = |view: View| (view.counts, view.running, view.window, view.efs);
                prop_assert_eq!(clocks(heirs), clocks(view));
            } else {
                prop_assert_eq!(heirs, view);
            }
        }
    }

    /// A machine that becomes and stays empty, readable and with its EFS is stopped, whatever was before.
    #[test]
    fn an_empty_machine_does_stop(steps in steps(), listener in any::<bool>()) {
        let mut run = Run::new(terms());
        for step in &steps {
            if let Some(Action::Prepare(ticket)) = run.sample(&step.sample.reading, step.efs).first()
                && run.rule.last_look(*ticket, run.now, &step.own, &step.witness, NO_JITTER()).is_ok()
            {
                run.rule.answered(*ticket, run.now, step.answer.map_err(refusal), NO_JITTER());
            }
        }
        let nobody = Reading::Seen(Seen { listener, sockets: Vec::new() });
        // Five minutes of an earlier refusal or grant, and the longer window.
        let samples = 60 + 24 + 2;
        prop_assert!(run.until_prepared(samples, &nobody, Efs::Mounted).is_some());
    }
}

#[test]
fn a_hold_delays_a_due_stop_and_not_the_clock() {
    let mut run = Run::new(terms());
    run.rule.hold(true);
    assert_eq!(run.until_prepared(100, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Wait::Hold));
    run.rule.hold(false);
    assert!(run.until_prepared(1, &empty(), Efs::Mounted).is_some(), "no window runs again");
}

#[test]
fn a_hold_that_comes_before_the_last_look_calls_the_stop_off_and_outlives_a_sleep() {
    let mut run = Run::new(terms());
    let ticket = run.until_prepared(20, &empty(), Efs::Mounted).unwrap();
    run.rule.hold(true);
    assert_eq!(run.look(ticket, &empty(), &empty()), Err(CallOff::Superseded));
    run.rule.start_afresh();
    assert_eq!(run.until_prepared(100, &empty(), Efs::Mounted), None);
    assert_eq!(run.state(), State::Due(Wait::Hold));
}

#[test]
fn every_connection_is_shown_with_its_age_and_what_it_counts_as() {
    let mut run = Run::new(terms());
    assert_eq!(run.rule.connections(run.now), None, "nothing has been seen yet");
    (0..7).for_each(|_| drop(run.sample(&with(&[(1, 7), (2, 0)]), Efs::Mounted)));
    run.sample(&with(&[(1, 7), (2, 0), (3, 9), (4, 0)]), Efs::Mounted);
    let shown: Vec<(u16, u64, Standing)> = run
        .rule
        .connections(run.now)
        .unwrap()
        .iter()
        .map(|connection| (connection.socket.peer.port() - 40000, connection.age.as_secs(), connection.standing))
        .collect();
    assert_eq!(
        shown,
        [(1, 35, Standing::Player), (2, 35, Standing::Backlog), (3, 0, Standing::Young), (4, 0, Standing::Joining)]
    );
    run.sample(&unknown(), Efs::Mounted);
    assert_eq!(run.rule.connections(run.now), None);
}
