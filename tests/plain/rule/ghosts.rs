//! Connections behind which nobody is: dead ones, and ones that somebody holds open without playing.

use std::time::Duration;

use mc_idle_rule::facts::ConnectionRow;
use mc_idle_rule::tracker::ConnectionClass;
use mc_idle_rule::{Alarm, Asked, Facts, ListenerId, Rule, State};

use crate::rule::machine::{A, bedrock, connection, java, listens, machine, network};
use crate::rule::run::{INTERVAL, Run, row, rule_settings, server, showing, socket};

const MINUTE: Duration = Duration::from_mins(1);

/// One connection of the host on which so many bytes have come in.
fn received(bytes: u64) -> Facts {
    showing(vec![ConnectionRow { received: Some(bytes), ..row(socket(1, 7)) }])
}

/// One connection of a container whose interfaces have received so many bytes.
fn contained(bytes: Option<u64>) -> Facts {
    let mut sockets = listens(&["0.0.0.0:25565"]);
    sockets.connections.push(connection(A, "172.17.0.2:25565", "203.0.113.7:40007", 7));
    let mut container = network(A, "172.17.0.2", sockets);
    container.received = bytes;
    machine(listens(&[]), vec![container])
}

fn class(run: &Run) -> ConnectionClass {
    run.rule.connections(run.now).unwrap()[0].class
}

/// Samples of `facts` at so many seconds from the start, for as long as `lasting`; every minute `listener` says `online`.
fn live(
    run: &mut Run,
    lasting: Duration,
    facts: impl Fn(u64) -> Facts,
    listener: ListenerId,
    online: Option<u32>,
) -> bool {
    let from = run.now;
    let mut prepared = false;
    while run.now.since(from) < lasting {
        prepared |= run.see(&facts(run.now.since(from).as_secs())).is_some();
        if run.now.0.as_secs().is_multiple_of(60) {
            run.hear(listener, online);
        }
    }
    prepared
}

fn alone(run: &mut Run, lasting: Duration, facts: impl Fn(u64) -> Facts) -> bool {
    live(run, lasting, facts, server(), None)
}

#[test]
fn a_connection_on_which_nothing_comes_in_is_a_ghost_after_ten_minutes_and_holds_nothing_up() {
    let mut run = Run::new(rule_settings());
    assert!(!alone(&mut run, 10 * MINUTE, |_| received(4000)));
    assert_eq!((class(&run), run.state()), (ConnectionClass::Player, State::Occupied));
    run.see(&received(4000));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    assert_eq!(run.rule.view(run.now).counts.unwrap().players, 0);
    let attempt = run.see_for(MINUTE, &received(4000)).expect("a window later");
    assert_eq!(run.look(attempt, &received(4000), &received(4000)), Ok(()), "shown, and counts for nothing");
}

#[test]
fn a_container_that_receives_next_to_nothing_but_the_agents_questions_has_ghosts_and_one_with_a_player_has_none() {
    let server = java(A, "0.0.0.0:25565");
    for (others, expected) in [(1, ConnectionClass::Ghost), (3, ConnectionClass::Player)] {
        let mut run = Run::new(rule_settings());
        let (from, mut asked) = (run.now, 0);
        while run.now.since(from) < 40 * MINUTE {
            // A frozen server whose player's machine has gone is asked all the same.
            if run.now.0.as_secs().is_multiple_of(60) {
                asked += 294;
                run.rule.learn(Asked { arrived: 294, ..run.asked(server, None) });
            }
            run.see(&contained(Some(5000 + asked + others * run.now.since(from).as_secs())));
        }
        assert_eq!(class(&run), expected, "{others} bytes a second from others");
    }
}

/// Datagrams prove nothing by themselves: only where one has been answered do the others arrive.
#[test]
fn what_bedrock_is_asked_keeps_nobody_alive_where_it_is_known_to_arrive() {
    let geyser = bedrock(A, "0.0.0.0:19132");
    for (first, expected) in [(Some(0), ConnectionClass::Ghost), (None, ConnectionClass::Player)] {
        let mut run = Run::new(rule_settings());
        let (from, mut asked) = (run.now, 0);
        while run.now.since(from) < 50 * MINUTE {
            let mut facts = contained(Some(5000 + asked));
            facts.networks[1].sockets.as_mut().unwrap().bedrock = listens(&["0.0.0.0:19132"]).listening;
            run.see(&facts);
            if run.now.0.as_secs().is_multiple_of(60) {
                asked += 300;
                let answer = first.filter(|_| asked == 300);
                run.rule.learn(Asked { arrived: 300, ..run.asked(geyser, answer) });
            }
        }
        assert_eq!(class(&run), expected, "{first:?}");
    }
}

#[test]
fn one_byte_in_five_minutes_is_enough_to_be_alive() {
    let mut run = Run::new(rule_settings());
    assert!(!alone(&mut run, 60 * MINUTE, |second| received(4000 + second / 295)));
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn a_ghost_that_is_heard_again_is_a_player_again() {
    let mut run = Run::new(rule_settings());
    alone(&mut run, 10 * MINUTE + INTERVAL * 2, |_| received(4000));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    run.see(&received(4001));
    assert_eq!((class(&run), run.state(), run.elapsed()), (ConnectionClass::Player, State::Occupied, 0));
}

#[test]
fn where_the_bytes_are_not_known_nobody_is_a_ghost() {
    let unknown = |_| showing(vec![row(socket(1, 7))]);
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 60 * MINUTE, unknown, server(), Some(0)));
    // Nor where they have become unknown since.
    let mut run = Run::new(rule_settings());
    alone(&mut run, 9 * MINUTE, |_| received(4000));
    assert!(!live(&mut run, 60 * MINUTE, unknown, server(), Some(0)));
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn after_a_restart_the_bytes_have_to_be_watched_anew() {
    let mut run = Run::new(rule_settings());
    alone(&mut run, 60 * MINUTE, |_| received(4000));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    run.rule = Rule::remembering(rule_settings(), run.rule.memory(), run.now);
    alone(&mut run, 5 * MINUTE, |_| received(4000));
    assert_eq!(class(&run), ConnectionClass::Player);
    run.see(&received(4000));
    assert_eq!(class(&run), ConnectionClass::Ghost);
}

#[test]
fn in_a_container_a_quiet_network_tells_a_ghost() {
    let mut run = Run::new(rule_settings());
    assert!(!alone(&mut run, 10 * MINUTE, |second| contained(Some(90_000 + second / 2))));
    assert_eq!(class(&run), ConnectionClass::Player);
    // 150 bytes in 5 minutes.
    assert!(alone(&mut run, 2 * MINUTE, |second| contained(Some(90_300 + second / 2))));
    assert_eq!(class(&run), ConnectionClass::Ghost);
}

#[test]
fn in_a_container_whose_network_is_busy_or_not_measured_nobody_is_a_ghost() {
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 60 * MINUTE, |second| contained(Some(second * 2)), java(A, "0.0.0.0:25565"), Some(0)));
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 60 * MINUTE, |_| contained(None), java(A, "0.0.0.0:25565"), Some(0)));
}

#[test]
fn a_connection_that_is_held_open_beside_answers_of_zero_is_a_ghost() {
    // A byte every 2 s: 300 in 10 minutes.
    let dripping = |second| received(second / 2);
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 10 * MINUTE, dripping, server(), Some(0)));
    assert_eq!(class(&run), ConnectionClass::Player);
    assert!(live(&mut run, 2 * MINUTE, |second| received(300 + second / 2), server(), Some(0)));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    // Without the answers he would be a player.
    let mut run = Run::new(rule_settings());
    assert!(!alone(&mut run, 60 * MINUTE, dripping));
    assert_eq!(class(&run), ConnectionClass::Player);
}

#[test]
fn a_player_of_whom_the_server_does_not_speak_is_no_ghost() {
    // A plugin hides him, or a proxy passes on another server's count: his bytes decide, never the answer alone.
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 3 * 60 * MINUTE, |second| received(second * 40), server(), Some(0)));
    assert_eq!((class(&run), run.alarms.as_slice()), (ConnectionClass::Player, [].as_slice()));
    assert!(!live(&mut run, 2 * 60 * MINUTE, |second| received(432_000 + second * 40), server(), Some(0)));
    assert_eq!((class(&run), run.alarms.as_slice()), (ConnectionClass::Player, [Alarm::PlayersDenied].as_slice()));
}

#[test]
fn a_little_more_than_a_ghosts_bytes_is_a_player() {
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 60 * MINUTE, |second| received(second * 41 / 40), server(), Some(0)));
    assert_eq!(class(&run), ConnectionClass::Player);
}

#[test]
fn one_answer_above_zero_in_ten_minutes_or_too_few_answers_make_no_ghost() {
    let dripping = |from: u64| move |second: u64| received(second / 2 + from / 2);
    let mut run = Run::new(rule_settings());
    live(&mut run, 30 * MINUTE, dripping(0), server(), Some(0));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    run.hear(server(), Some(1));
    live(&mut run, MINUTE, dripping(1800), server(), Some(0));
    assert_eq!(class(&run), ConnectionClass::Player);
    live(&mut run, 8 * MINUTE, dripping(1860), server(), Some(0));
    assert_eq!(class(&run), ConnectionClass::Player);
    live(&mut run, 2 * MINUTE, dripping(2340), server(), Some(0));
    assert_eq!(class(&run), ConnectionClass::Ghost);
    // It does not answer any more, and after some minutes fewer than five answers are left.
    live(&mut run, 4 * MINUTE, dripping(2460), server(), None);
    assert_eq!(class(&run), ConnectionClass::Ghost);
    live(&mut run, 3 * MINUTE, dripping(2700), server(), None);
    assert_eq!(class(&run), ConnectionClass::Player);
}

#[test]
fn an_answer_makes_no_ghost_of_another_listeners_connection() {
    // Two servers: the one that answers has nobody, the other one is asked in vain.
    let facts = |second| {
        let mut facts = showing(vec![ConnectionRow { received: Some(second / 2), ..row(socket(1, 7)) }]);
        let host = facts.networks[0].sockets.as_mut().unwrap();
        host.listening.extend(listens(&["0.0.0.0:25566"]).listening);
        facts
    };
    let other = java(server().network, "0.0.0.0:25566");
    let mut run = Run::new(mc_idle_rule::RuleSettings { ports: [25565, 25566].into(), ..rule_settings() });
    assert!(!live(&mut run, 60 * MINUTE, facts, other, Some(0)));
    assert_eq!((class(&run), run.state()), (ConnectionClass::Player, State::Occupied));
}

#[test]
fn a_young_connection_is_no_ghost() {
    let mut run = Run::new(mc_idle_rule::RuleSettings { min_connection: 10 * MINUTE, ..rule_settings() });
    alone(&mut run, 9 * MINUTE, |_| received(0));
    assert_eq!(class(&run), ConnectionClass::Young);
}

#[test]
fn a_connection_for_which_nobody_speaks_is_no_ghost_by_answers() {
    // Its listener has gone, and a child of the server still serves it, a little.
    let facts = |second: u64| {
        let mut facts = received(second / 2);
        if second > 30 {
            facts.networks[0].sockets.as_mut().unwrap().listening.clear();
        }
        facts
    };
    let mut run = Run::new(rule_settings());
    assert!(!live(&mut run, 60 * MINUTE, facts, server(), Some(0)));
    assert_eq!((class(&run), run.state()), (ConnectionClass::Player, State::Occupied));
}

#[test]
fn a_server_that_is_asked_every_two_minutes_makes_a_ghost_for_good() {
    let mut run = Run::new(rule_settings());
    let mut since = None;
    for sample in 0..60 * 12_u64 {
        run.see(&received(1000 + sample / 60));
        // Each answer takes a while, and the next question counts from there.
        if sample % 25 == 0 {
            run.hear(server(), Some(0));
        }
        match (class(&run), since) {
            (ConnectionClass::Ghost, None) => since = Some(sample),
            (class, Some(_)) => assert_eq!(class, ConnectionClass::Ghost, "sample {sample}"),
            _ => {}
        }
    }
    assert!(since.is_some_and(|sample| sample <= 12 * 13), "{since:?}");
}
