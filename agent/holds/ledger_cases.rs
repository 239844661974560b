//! The ledger case by case, where single cases are clearer than the random world of `ledger_world`.

use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::Moment;

use crate::holds::LONGEST;
use crate::holds::ledger::{Claim, HoldEnd, HoldSource, Ledger, MOST, Trouble};
use crate::holds::process::Process;

const DAY: u64 = 86400;

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn wall() -> Timestamp {
    "2026-11-22T20:00:00Z".parse().unwrap()
}

fn lock(started: u64) -> Claim {
    Claim { reason: "backup".to_owned(), end: HoldEnd::Process(Process { id: 77, started }) }
}

#[test]
fn agents_that_do_not_live_long_do_not_wait_for_ever() {
    let questions = [HoldSource::Locks];
    let mut ledger = Ledger::new(&questions, Vec::new(), at(0));
    let mut waited = 0;
    let mut now = 0;
    // Each lives for two minutes, and is down for an hour.
    while ledger.pending(at(now + 119)) {
        waited += 120;
        now += 120;
        let memory = ledger.memory(at(now));
        now += 3600;
        ledger = Ledger::new(&questions, memory, at(now));
    }
    assert_eq!(waited, 30 * 60);
    assert!(ledger.pending(at(now + 29)), "each waits for a first answer, though");
    ledger.answered(&HoldSource::Locks, Vec::new(), at(now));
    let next = Ledger::new(&questions, ledger.memory(at(now)), at(now));
    assert!(next.pending(at(now + 1799)), "and what has answered is waited for again");
}

#[test]
fn what_was_known_is_said_to_be_in_force_and_what_was_not_to_be_awaited() {
    let question = HoldSource::Parameter("/hold".to_owned());
    let mut ledger = Ledger::new(std::slice::from_ref(&question), Vec::new(), at(0));
    let trouble =
        |ledger: &Ledger, now| ledger.troubles(at(now), wall()).into_iter().map(|(_, trouble)| trouble).next();
    let why = || Some("denied".to_owned());
    assert_eq!(trouble(&ledger, 299), None, "an answer takes its time");
    assert_eq!(trouble(&ledger, 300), Some(Trouble::Unheard { lasting: true, why: None }));
    ledger.failed(&question, "denied".to_owned(), at(10));
    assert_eq!(trouble(&ledger, 10), Some(Trouble::Unheard { lasting: false, why: why() }));
    assert_eq!(trouble(&ledger, 300), Some(Trouble::Unheard { lasting: true, why: why() }));
    assert_eq!((trouble(&ledger, 1800), ledger.pending(at(1800))), (Some(Trouble::GivenUp { why: why() }), false));
    let until: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
    ledger.answered(&question, vec![Claim { reason: "party".to_owned(), end: HoldEnd::Wall(until) }], at(2000));
    assert_eq!(trouble(&ledger, 2000), Some(Trouble::Capped { until }));
    assert_eq!(ledger.holds(at(2000), wall())[0].left, Some(LONGEST));
    assert_eq!(trouble(&ledger, 2000 + 7 * DAY), Some(Trouble::Overdue { until }));
    assert!(ledger.holds(at(2000 + 7 * DAY), wall()).is_empty());
    ledger.failed(&question, "denied".to_owned(), at(2010));
    assert_eq!(trouble(&ledger, 2010), Some(Trouble::Silent { why: "denied".to_owned() }));
}

#[test]
fn an_answer_to_another_question_is_none() {
    let old = HoldSource::Parameter("/old".to_owned());
    let new = HoldSource::Parameter("/new".to_owned());
    let mut ledger = Ledger::new(std::slice::from_ref(&old), Vec::new(), at(0));
    ledger.answered(&old, Vec::new(), at(1));
    assert!(!ledger.pending(at(1)));
    ledger.ask(std::slice::from_ref(&new), at(2));
    ledger.answered(&old, vec![lock(1)], at(3));
    assert!(ledger.pending(at(3)) && ledger.holds(at(3), wall()).is_empty());
}

#[test]
fn a_bus_that_is_no_longer_there_takes_nothing_back() {
    let mut ledger = Ledger::new(&[HoldSource::Locks], Vec::new(), at(0));
    ledger.absent(&HoldSource::Locks, "no bus".to_owned(), at(0));
    assert!(!ledger.pending(at(0)), "where there is no bus there are no locks");
    ledger.answered(&HoldSource::Locks, vec![lock(5)], at(1));
    ledger.absent(&HoldSource::Locks, "no bus".to_owned(), at(2));
    assert_eq!(ledger.holds(at(2), wall()).len(), 1);
    ledger.ended(Process { id: 77, started: 6 });
    assert_eq!(ledger.holds(at(3), wall()).len(), 1, "another process with its id");
    ledger.ended(Process { id: 77, started: 5 });
    assert!(ledger.holds(at(3), wall()).is_empty());
}

#[test]
fn of_thousands_none_is_nothing() {
    let mut ledger = Ledger::new(&[HoldSource::Locks], Vec::new(), at(0));
    ledger.answered(&HoldSource::Locks, (0..2 * MOST as u64).map(lock).collect(), at(1));
    ledger.failed(&HoldSource::Locks, "no bus".to_owned(), at(2));
    (0..MOST as u64).for_each(|started| ledger.ended(Process { id: 77, started }));
    let holds = ledger.holds(at(3), wall());
    assert_eq!(holds.len(), 1);
    assert_eq!(holds[0].reason, "501 more holds");
}
