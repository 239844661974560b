//! How long a due stop waits for connections that may be somebody joining. Over 400 lines: one case after the other.

use std::time::Duration;

use mc_idle_rule::facts::{Network, Sockets};
use mc_idle_rule::rule::AbortReason;
use mc_idle_rule::{Alarm, AttemptId, Blocker, Facts, Rule, RuleSettings, State, Witness};

use crate::rule::machine::{A, connection, java, listens, machine, network};
use crate::rule::run::{INTERVAL, Run, empty, rule_settings, server, with};

const PATIENCE: Duration = Duration::from_mins(10);
const MINUTE: Duration = Duration::from_mins(1);

fn usual() -> RuleSettings {
    RuleSettings { min_connection: Duration::from_secs(70), joining_patience: PATIENCE, ..rule_settings() }
}

/// A run whose stop is due.
fn due() -> Run {
    let mut run = Run::new(usual());
    assert!(run.see_for(MINUTE + INTERVAL, &empty()).is_some());
    run
}

/// Two who look at the server list in turn, from these addresses, so that one of them is always connected.
fn pingers(sample: u64, peers: (u8, u8)) -> Facts {
    with(&[(peers.0, 1000 + sample / 2), (peers.1, 2000 + sample.div_ceil(2))])
}

/// Samples with these pingers; returns the ticket.
fn ping_for(run: &mut Run, lasting: Duration, peers: (u8, u8)) -> Option<AttemptId> {
    let from = run.now;
    while run.now.since(from) < lasting {
        let sample = run.now.0.as_secs() / INTERVAL.as_secs();
        if let Some(attempt) = run.see(&pingers(sample, peers)) {
            return Some(attempt);
        }
    }
    None
}

#[test]
fn a_due_stop_waits_for_a_young_connection_and_for_one_not_yet_accepted_but_not_for_a_frozen_backlog() {
    let mut run = due();
    for sockets in [with(&[(1, 7)]), with(&[(2, 0)])] {
        assert_eq!(run.see(&sockets), None);
        assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: false }));
    }
    // First seen one sample ago; after 30 s it counts no more.
    assert_eq!(run.see_for(Duration::from_secs(25), &with(&[(2, 0)])), None);
    assert!(run.see(&with(&[(2, 0)])).is_some());
}

#[test]
fn pingers_that_overlap_hold_a_stop_until_patience_is_over_and_the_server_says_that_nobody_is_online() {
    let mut run = due();
    let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).expect("patience is over");
    assert!(run.rule.memory().joining_waited >= PATIENCE);
    let now = pingers(run.now.0.as_secs() / 5, (1, 2));
    let fresh = vec![run.asked(server(), Some(0))];
    assert_eq!(run.look_after(attempt, &now, Witness::Second(&now), fresh), Ok(()));
}

#[test]
fn without_a_fresh_answer_of_zero_it_goes_on_waiting_and_alarms() {
    for fresh in [None, Some(None)] {
        let mut run = due();
        run.hear(server(), Some(0));
        let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
        let now = pingers(run.now.0.as_secs() / 5, (1, 2));
        let fresh = fresh.map(|online| run.asked(server(), online)).into_iter().collect();
        let look = run.look_after(attempt, &now, Witness::Second(&now), fresh);
        assert_eq!(look, Err(AbortReason::Unanswered));
        assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: true }));
        ping_for(&mut run, INTERVAL, (1, 2));
        assert_eq!(run.alarms, [Alarm::JoiningUnanswered]);
    }
}

#[test]
fn a_newcomer_among_the_pingers_is_waited_for() {
    let mut run = due();
    let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
    // He comes between the last sample and the last look.
    let with_him = with(&[(1, 9000), (3, 7)]);
    let fresh = vec![run.asked(server(), Some(0))];
    let look = run.look_after(attempt, &with_him, Witness::Second(&with_him), fresh);
    assert_eq!(look, Err(AbortReason::Connection));
    // For as long as it takes to become a player, and two minutes.
    assert_eq!(ping_for(&mut run, Duration::from_secs(70 + 120 - 5), (1, 3)), None);
    assert!(ping_for(&mut run, 2 * INTERVAL, (1, 3)).is_some());
}

#[test]
fn a_newcomer_whom_only_the_witness_shows_is_waited_for() {
    let mut run = due();
    let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
    let now = pingers(run.now.0.as_secs() / 5, (1, 2));
    let fresh = vec![run.asked(server(), Some(0))];
    let look = run.look_after(attempt, &now, Witness::Second(&with(&[(3, 7)])), fresh);
    assert_eq!(look, Err(AbortReason::WitnessConnection));
}

#[test]
fn an_address_that_only_the_witness_shows_is_a_newcomers_only_once() {
    let mut run = due();
    // Two ping in step with the samples, which show the same one of them each time.
    let ping = |run: &mut Run, lasting: Duration| {
        let from = run.now;
        while run.now.since(from) < lasting {
            let attempt = run.see(&with(&[(1, 1000 + run.now.0.as_secs())]));
            if attempt.is_some() {
                return attempt;
            }
        }
        None
    };
    let attempt = ping(&mut run, PATIENCE + MINUTE).unwrap();
    let fresh = vec![run.asked(server(), Some(0))];
    let look = run.look_after(attempt, &with(&[(1, 7)]), Witness::Second(&with(&[(2, 8)])), fresh);
    assert_eq!(look, Err(AbortReason::WitnessConnection));
    let tries = (10..20).find(|number| {
        let attempt = ping(&mut run, 5 * MINUTE + INTERVAL).unwrap();
        let fresh = vec![run.asked(server(), Some(0))];
        let (seen, other) = (with(&[(1, *number)]), with(&[(2, 10 + number)]));
        run.look_after(attempt, &seen, Witness::Second(&other), fresh).is_ok()
    });
    assert!(tries.is_some());
}

/// A run in which the witness has looked in vain once, after patience was over; its address and the pingers' are known.
fn witnessed(connection: (u8, u64)) -> Run {
    let mut run = due();
    let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
    let now = pingers(run.now.0.as_secs() / 5, (1, 2));
    let fresh = vec![run.asked(server(), Some(0))];
    let look = run.look_after(attempt, &now, Witness::Second(&with(&[connection])), fresh);
    assert_eq!(look, Err(AbortReason::WitnessConnection));
    run
}

#[test]
fn a_player_whom_the_tables_leave_out_is_waited_for_as_long_as_the_witness_shows_him() {
    let mut run = witnessed((3, 7));
    for _ in 0..20 {
        let attempt = run.see_for(10 * MINUTE, &empty()).unwrap();
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &empty(), Witness::Second(&with(&[(3, 7)])), fresh);
        assert_eq!(look, Err(AbortReason::WitnessConnection));
    }
    let attempt = run.see_for(10 * MINUTE, &empty()).unwrap();
    let fresh = vec![run.asked(server(), Some(0))];
    assert_eq!(run.look_after(attempt, &empty(), Witness::Second(&empty()), fresh), Ok(()));
}

#[test]
fn who_shows_again_after_the_tables_left_him_out_has_been_there_since_the_witness_showed_him() {
    for (inode, allowed) in [(7, false), (8, true)] {
        let mut run = witnessed((3, inode));
        // Until his address is no newcomer's any more.
        let until = run.now.plus(4 * MINUTE);
        let attempt = loop {
            let attempt = ping_for(&mut run, 10 * MINUTE, (1, 2)).unwrap();
            if run.now >= until {
                break attempt;
            }
            let fresh = vec![run.asked(server(), Some(0))];
            let look = run.look_after(attempt, &empty(), Witness::Second(&with(&[(3, inode)])), fresh);
            assert_eq!(look, Err(AbortReason::WitnessConnection));
        };
        let shown = with(&[(3, 7)]);
        run.see(&shown);
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &shown, Witness::Second(&shown), fresh);
        assert_eq!(look.is_ok(), allowed, "{look:?}");
    }
}

#[test]
fn at_its_first_look_the_witness_cannot_tell_who_has_just_come_from_who_was_left_out() {
    let mut run = due();
    let mut attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2));
    // The address is one of the pingers'. Who shows to the witness again, and still not to the tables, has been left out.
    for (inode, allowed) in [(7, false), (7, false), (8, true)] {
        let attempt = attempt.take().or_else(|| run.see_for(MINUTE, &empty())).unwrap();
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &empty(), Witness::Second(&with(&[(1, inode)])), fresh);
        assert_eq!(look.is_ok(), allowed, "{look:?}");
    }
}

#[test]
fn who_is_left_out_of_the_last_look_itself_has_been_there_since_he_came() {
    for (seconds, allowed) in [(34, true), (35, false)] {
        let mut run = due();
        let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
        // The address is one of the pingers'.
        let joined = with(&[(1, 7)]);
        run.see_for(Duration::from_secs(30) + INTERVAL, &joined);
        run.now = run.now.plus(Duration::from_secs(seconds - 30));
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &empty(), Witness::Second(&joined), fresh);
        assert_eq!(look.is_ok(), allowed, "after {seconds} s: {look:?}");
    }
}

#[test]
fn a_player_who_shows_again_after_the_tables_left_him_out_has_not_just_come() {
    for (inode, allowed) in [(7, false), (8, true)] {
        let mut run = Run::new(usual());
        run.see_for(2 * MINUTE, &with(&[(1, 7)]));
        assert_eq!(run.state(), State::Occupied);
        // The address is one of the pingers'.
        let attempt = ping_for(&mut run, PATIENCE + 5 * MINUTE, (1, 2)).unwrap();
        let shown = with(&[(1, inode)]);
        run.see(&shown);
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &shown, Witness::Second(&shown), fresh);
        assert_eq!(look.is_ok(), allowed, "{look:?}");
    }
}

#[test]
fn when_nobody_is_waited_for_any_more_nobody_has_to_answer() {
    let mut run = due();
    // Each look in vain is followed by a longer wait.
    for _ in 0..4 {
        let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
        let now = pingers(run.now.0.as_secs() / 5, (1, 2));
        assert_eq!(run.look_after(attempt, &now, Witness::Second(&now), Vec::new()), Err(AbortReason::Unanswered));
    }
    assert_eq!(ping_for(&mut run, INTERVAL, (1, 2)), None);
    assert!(run.see(&empty()).is_some());
}

#[test]
fn who_was_accepted_late_has_been_joining_since_he_came() {
    let (waiting, accepted) = (with(&[(1, 0)]), with(&[(1, 777)]));
    // In the second case he is accepted after the tables were read.
    for own in [&accepted, &waiting] {
        for (waited, allowed) in [(30, true), (35, false)] {
            let mut run = witnessed((3, 6));
            let attempt = ping_for(&mut run, 10 * MINUTE, (1, 2)).unwrap();
            // The address is one of the pingers'; the server hangs for a while.
            run.see_for(Duration::from_secs(waited) + INTERVAL, &waiting);
            let fresh = vec![run.asked(server(), Some(0))];
            let look = run.look_after(attempt, own, Witness::Second(&accepted), fresh);
            assert_eq!(look.is_ok(), allowed, "after {waited} s: {look:?}");
        }
    }
}

#[test]
fn who_is_in_a_network_that_was_just_found_may_have_been_joining_for_long() {
    let mut sockets = listens(&["0.0.0.0:25565"]);
    let quiet = machine(listens(&[]), vec![network(A, "172.17.0.2", sockets.clone())]);
    for (found_late, allowed) in [(false, true), (true, false)] {
        let mut run = Run::new(usual());
        assert!(run.see_for(MINUTE + INTERVAL, &quiet).is_some());
        let mut attempt = None;
        sockets.connections = Vec::new();
        for sample in 0..(PATIENCE + MINUTE).as_secs() / INTERVAL.as_secs() {
            let mut pinged = sockets.clone();
            pinged.connections.push(connection(A, "172.17.0.2:25565", "203.0.113.7:40007", 100 + sample));
            attempt = attempt.or(run.see(&machine(listens(&[]), vec![network(A, "172.17.0.2", pinged)])));
        }
        if found_late {
            run.see(&machine(listens(&[]), Vec::new()));
            run.see(&machine(listens(&[]), Vec::new()));
        }
        let mut joined = sockets.clone();
        joined.connections.push(connection(A, "172.17.0.2:25565", "203.0.113.7:40007", 99));
        let joined = machine(listens(&[]), vec![network(A, "172.17.0.2", joined)]);
        run.see(&joined);
        let again = run.see(&joined);
        let Some(attempt) = again.or(attempt).filter(|_| run.rule.stopping()) else {
            assert!(!allowed, "{:?}", run.state());
            continue;
        };
        let fresh = vec![run.asked(java(A, "0.0.0.0:25565"), Some(0))];
        let look = run.look_after(attempt, &joined, Witness::Second(&joined), fresh);
        assert_eq!(look.is_ok(), allowed, "{look:?}");
    }
}

#[test]
fn who_is_in_a_network_that_was_not_read_for_a_while_may_have_been_joining_since_then() {
    let shown = |connections: Vec<(u64, &str)>, walked| {
        let mut sockets = listens(&["0.0.0.0:25565"]);
        let row = |(inode, peer): (u64, &str)| connection(A, "172.17.0.2:25565", peer, inode);
        sockets.connections = connections.into_iter().map(row).collect();
        machine(listens(&[]), vec![Network { walked, ..network(A, "172.17.0.2", sockets) }])
    };
    for (walked, allowed) in [(true, true), (false, false)] {
        let mut run = Run::new(usual());
        assert!(run.see_for(MINUTE + INTERVAL, &shown(Vec::new(), true)).is_some());
        let mut attempt = None;
        for sample in 0..(PATIENCE + MINUTE).as_secs() / INTERVAL.as_secs() {
            attempt = run.see(&shown(vec![(100 + sample, "203.0.113.7:40007")], true)).or(attempt);
        }
        attempt = run.see(&shown(Vec::new(), true)).or(attempt);
        for _ in 0..6 {
            attempt = run.see(&shown(Vec::new(), walked)).or(attempt);
        }
        // The address is the pinger's.
        let joined = shown(vec![(99, "203.0.113.7:40007")], true);
        attempt = run.see(&joined).or(attempt);
        attempt = run.see(&joined).or(attempt);
        let Some(attempt) = attempt.filter(|_| run.rule.stopping()) else {
            assert!(!allowed, "{:?}", run.state());
            continue;
        };
        let fresh = vec![run.asked(java(A, "0.0.0.0:25565"), Some(0))];
        let look = run.look_after(attempt, &joined, Witness::Second(&joined), fresh);
        assert_eq!(look.is_ok(), allowed, "walked {walked}: {look:?}");
    }
}

#[test]
fn who_leaves_another_network_while_the_agent_restarts_may_have_tried_to_join_for_long() {
    let in_a_container = |connections: Vec<(u64, &str)>| {
        let row = |(inode, peer): (u64, &str)| connection(A, "172.17.0.2:25565", peer, inode);
        let sockets =
            Sockets { connections: connections.into_iter().map(row).collect(), ..listens(&["0.0.0.0:25565"]) };
        machine(listens(&[]), vec![network(A, "172.17.0.2", sockets)])
    };
    let joins = in_a_container(vec![(99, "203.0.113.7:40007")]);
    for (joins, gone, kept) in [(joins, in_a_container(Vec::new()), true), (with(&[(1, 99)]), empty(), false)] {
        let mut run = Run::new(usual());
        run.see(&joins);
        run.rule = Rule::remembering(usual(), run.rule.memory(), run.now);
        run.see(&gone);
        assert_eq!(run.rule.memory().join_ended.is_some(), kept);
    }
}

#[test]
fn a_connection_that_is_no_scanners_is_waited_for_whatever_its_address() {
    for (seconds, allowed) in [(30, true), (35, false)] {
        let mut run = due();
        let attempt = ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
        // The address is one of the pingers'.
        let held = with(&[(1, 777)]);
        run.see_for(Duration::from_secs(seconds) + INTERVAL, &held);
        let fresh = vec![run.asked(server(), Some(0))];
        let look = run.look_after(attempt, &held, Witness::Second(&held), fresh);
        assert_eq!(look.is_ok(), allowed, "after {seconds} s: {look:?}");
    }
}

#[test]
fn somebody_who_becomes_a_player_ends_the_wait() {
    let mut run = due();
    ping_for(&mut run, PATIENCE / 2, (1, 2));
    assert!(run.rule.memory().joining_waited > Duration::from_mins(4));
    for _ in 0..15 {
        assert_eq!(run.see(&with(&[(1, 7)])), None);
    }
    assert_eq!((run.state(), run.rule.memory().joining_waited), (State::Occupied, Duration::ZERO));
}

#[test]
fn patience_is_used_up_only_while_somebody_is_waited_for() {
    let mut run = due();
    run.rule.hold(true);
    run.see_for(PATIENCE * 2, &empty());
    assert_eq!(run.rule.memory().joining_waited, Duration::ZERO);
    ping_for(&mut run, MINUTE, (1, 2));
    assert_eq!(run.rule.memory().joining_waited, MINUTE);
}

#[test]
fn after_a_connection_of_35_seconds_its_owner_is_given_two_minutes_to_come_again() {
    // Of 30 s there are six samples.
    for (seconds, waits) in [(5, false), (30, false), (35, true), (45, true), (60, true)] {
        let mut run = due();
        let held = with(&[(1, 7)]);
        assert_eq!(run.see_for(Duration::from_secs(seconds), &held), None);
        assert_eq!(run.see(&empty()).is_none(), waits, "after {seconds} s");
        if waits {
            assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: false }));
            assert_eq!(run.see_for(Duration::from_secs(110), &empty()), None);
            assert!(run.see_for(2 * INTERVAL, &empty()).is_some());
        }
    }
}

#[test]
fn somebody_whose_joins_fail_is_not_stopped_between_two_tries() {
    let mut run = Run::new(usual());
    run.see(&empty());
    // 45 s each, and 40 s between: never a player.
    for try_number in 0..6 {
        assert_eq!(run.see_for(Duration::from_secs(45), &with(&[(1, 100 + try_number)])), None);
        assert_eq!(run.see_for(Duration::from_secs(40), &empty()), None);
    }
}

#[test]
fn the_two_minutes_lapse_with_patience_if_the_server_says_that_nobody_is_online() {
    let mut run = due();
    let mut tries = 0;
    let attempt = loop {
        tries += 1;
        assert!(tries < 20, "for ever");
        let prepared = run
            .see_for(Duration::from_secs(45), &with(&[(1, 100 + tries)]))
            .or_else(|| run.see_for(Duration::from_secs(40), &empty()));
        if let Some(attempt) = prepared {
            break attempt;
        }
    };
    let fresh = vec![run.asked(server(), Some(0))];
    assert_eq!(run.look_after(attempt, &empty(), Witness::Second(&empty()), fresh), Ok(()));
}

#[test]
fn each_server_has_to_answer_for_its_own_joins() {
    let (host, other) = (server(), java(A, "0.0.0.0:25565"));
    let try_both = |number: u64| {
        let mut sockets = listens(&["0.0.0.0:25565"]);
        sockets.connections.push(connection(A, "172.17.0.2:25565", "203.0.113.9:40009", 900 + number));
        let mut facts = machine(listens(&["0.0.0.0:25565"]), vec![network(A, "172.17.0.2", sockets)]);
        let own = facts.networks[0].sockets.as_mut().unwrap();
        own.connections.push(connection(host.network, "10.0.0.5:25565", "203.0.113.8:40008", 100 + number));
        facts
    };
    let nobody = machine(listens(&["0.0.0.0:25565"]), vec![network(A, "172.17.0.2", listens(&["0.0.0.0:25565"]))]);
    for (answering, allowed) in [(vec![host], false), (vec![other], false), (vec![host, other], true)] {
        let mut run = Run::new(usual());
        assert!(run.see_for(2 * MINUTE, &nobody).is_some());
        let mut attempt = None;
        for number in 0..20 {
            attempt = run
                .see_for(Duration::from_secs(45), &try_both(number))
                .or_else(|| run.see_for(Duration::from_secs(40), &nobody));
            if attempt.is_some() {
                break;
            }
        }
        // Both have just ended.
        let fresh = answering.iter().map(|listener| run.asked(*listener, Some(0))).collect();
        let look = run.look_after(attempt.unwrap(), &nobody, Witness::Second(&nobody), fresh);
        assert_eq!(look.is_ok(), allowed, "{answering:?}: {look:?}");
    }
}

#[test]
fn a_connection_that_nobody_listens_for_holds_nothing_up() {
    let mut run = Run::new(rule_settings());
    let mut facts = with(&[(1, 7), (2, 0)]);
    facts.networks[0].sockets.as_mut().unwrap().listening.clear();
    let attempt = run.see_for(Duration::from_mins(2) + INTERVAL, &facts).expect("nothing listens");
    assert_eq!(run.look(attempt, &facts, &facts), Ok(()));
}

#[test]
fn a_connection_whose_listener_has_gone_still_counts() {
    let mut run = Run::new(rule_settings());
    run.see_for(Duration::from_secs(30), &with(&[(1, 7)]));
    let mut facts = with(&[(1, 7)]);
    facts.networks[0].sockets.as_mut().unwrap().listening.clear();
    assert_eq!(run.see_for(Duration::from_hours(1), &facts), None);
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn a_listener_that_only_the_witness_shows_makes_its_connections_count() {
    let mut run = Run::new(rule_settings());
    let mut facts = with(&[(1, 7)]);
    facts.networks[0].sockets.as_mut().unwrap().listening.clear();
    let attempt = run.see_for(Duration::from_mins(2) + INTERVAL, &facts).unwrap();
    assert_eq!(run.look(attempt, &facts, &with(&[(1, 7)])), Err(AbortReason::WitnessConnection));
}

#[test]
fn the_addresses_of_an_earlier_wait_are_new_in_the_next() {
    let mut run = due();
    ping_for(&mut run, PATIENCE + MINUTE, (1, 2)).unwrap();
    // Somebody plays for a while, and then the pingers use up the patience once more; one of them is new at its end.
    run.see_for(Duration::from_secs(80), &with(&[(9, 9)]));
    assert_eq!(run.state(), State::Occupied);
    assert!(ping_for(&mut run, PATIENCE, (3, 4)).is_none());
    ping_for(&mut run, PATIENCE + MINUTE, (3, 4)).unwrap();
    assert_eq!(ping_for(&mut run, MINUTE, (3, 1)), None);
    assert_eq!(run.state(), State::Due(Blocker::Joining { unanswered: false }));
}
