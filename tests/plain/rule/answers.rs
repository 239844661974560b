//! What the servers say: how long it stands, and what their silence means.

use std::time::Duration;

use mc_idle_rule::clocks::Windows;
use mc_idle_rule::facts::{FarEnd, Sockets};
use mc_idle_rule::{Alarm, Answer, Asked, Facts, ListenerId, NetworkId, RuleSettings, State};

use crate::rule::machine::{A, bedrock, connection, java, listens, machine, network};
use crate::rule::run::{
    INTERVAL, Run, address, empty, listening, no_server, row, rule_settings, server, showing, socket, unknown,
};

const MINUTE: Duration = Duration::from_mins(1);

fn geyser() -> ListenerId {
    bedrock(NetworkId::HOST, "0.0.0.0:19132")
}

/// A Bedrock port that is bound, and nothing else.
fn bound() -> Facts {
    Facts::of_host(Sockets { bedrock: vec![listening("0.0.0.0:19132")], ..Sockets::default() })
}

#[test]
fn players_who_leave_no_row_are_seen_by_the_answer_alone() {
    // A tunnel, or a user-space network.
    let mut run = Run::new(rule_settings());
    assert_eq!(run.see_and_hear(MINUTE * 30, &empty(), server(), Some(2)), None);
    let view = run.rule.view(run.now);
    assert_eq!((view.state, view.online), (State::Occupied, Some(2)));
    assert!(run.see_and_hear(MINUTE * 3, &empty(), server(), Some(0)).is_some(), "they have left");
}

#[test]
fn a_server_that_says_for_four_hours_that_somebody_is_online_whom_no_connection_shows_is_told_of() {
    let mut run = Run::new(rule_settings());
    run.see_and_hear(MINUTE * 239, &empty(), server(), Some(2));
    assert_eq!(run.alarms, []);
    run.see_and_hear(MINUTE * 60, &empty(), server(), Some(2));
    assert_eq!(run.alarms, [Alarm::OnlineUnseen]);
    assert_eq!(run.state(), State::Occupied, "it still counts");
}

#[test]
fn players_over_udp_are_no_reason_for_an_alarm() {
    let mut run = Run::new(rule_settings());
    run.see_and_hear(MINUTE * 300, &bound(), geyser(), Some(2));
    assert_eq!((run.state(), run.alarms.as_slice()), (State::Occupied, [].as_slice()));
}

#[test]
fn silence_after_an_answer_above_zero_is_unknown_for_half_an_hour_and_then_nothing() {
    let mut run = Run::new(rule_settings());
    run.see_and_hear(MINUTE * 5, &empty(), server(), Some(2));
    assert_eq!(run.see_and_hear(MINUTE * 29, &empty(), server(), None), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
    assert_eq!(run.alarms, [Alarm::Blind], "after five minutes of it");
    // The half hour and the window, which begins with the silence's end.
    assert!(run.see_and_hear(MINUTE * 4, &empty(), server(), None).is_some());
    assert_eq!(run.alarms, [Alarm::Blind, Alarm::GivenUp(server())]);
}

#[test]
fn silence_after_an_answer_of_zero_is_nothing_new() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(0));
    run.hear(server(), None);
    assert!(run.see_for(MINUTE + INTERVAL, &empty()).is_some(), "a server in TCP still shows its connections");
}

#[test]
fn a_server_that_was_never_asked_or_never_answers_is_judged_by_its_connections() {
    let mut run = Run::new(rule_settings());
    assert!(run.see_and_hear(MINUTE * 2, &empty(), server(), None).is_some());
}

#[test]
fn an_answer_that_nobody_asks_for_again_is_as_good_as_silence_after_five_minutes() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(1));
    run.see_for(MINUTE * 4, &empty());
    assert_eq!(run.state(), State::Occupied);
    run.see_for(MINUTE * 2, &empty());
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
}

#[test]
fn a_server_that_has_gone_for_two_minutes_takes_its_answer_along() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(1));
    run.see_for(MINUTE + Duration::from_secs(50), &no_server());
    assert_eq!(run.state(), State::Occupied);
    run.see_for(Duration::from_secs(15), &no_server());
    assert_eq!(run.state(), State::NoServer);
    // One that comes back before that is the same one.
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(1));
    run.see_for(MINUTE, &no_server());
    run.see_for(MINUTE * 3, &empty());
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn a_server_whose_network_cannot_be_read_has_not_gone() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(1));
    run.see_for(MINUTE * 4, &unknown());
    run.see(&empty());
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn an_answer_stands_for_its_own_listener_only() {
    let both = Facts::of_host(listens(&["0.0.0.0:25565", "0.0.0.0:25566"]));
    let other = java(NetworkId::HOST, "0.0.0.0:25566");
    let mut run = Run::new(RuleSettings { ports: [25565, 25566].into(), ..rule_settings() });
    run.see(&both);
    run.hear(server(), Some(1));
    // The other one's zero does not end it.
    run.see_and_hear(MINUTE * 3, &both, other, Some(0));
    assert_eq!((run.state(), run.rule.view(run.now).online), (State::Occupied, Some(1)));
    run.hear(server(), Some(0));
    run.see(&both);
    assert_eq!(run.state(), State::Idle);
}

#[test]
fn an_answer_of_a_listener_that_nobody_has_seen_says_nothing() {
    let mut run = Run::new(rule_settings());
    run.see(&no_server());
    run.hear(server(), Some(5));
    run.see(&no_server());
    assert_eq!((run.state(), run.rule.view(run.now).online), (State::NoServer, None));
}

#[test]
fn when_the_servers_are_not_asked_any_more_they_say_nothing() {
    let mut run = Run::new(rule_settings());
    run.see(&empty());
    run.hear(server(), Some(5));
    run.rule.forget_answers();
    run.see(&empty());
    assert_eq!((run.state(), run.rule.view(run.now).online), (State::Idle, None));
}

#[test]
fn names_and_counts_are_shown_as_the_servers_give_them() {
    let both = Facts::of_host(listens(&["0.0.0.0:25565", "0.0.0.0:25566"]));
    let mut run = Run::new(RuleSettings { ports: [25565, 25566].into(), ..rule_settings() });
    run.see(&both);
    for (listener, names) in [(server(), ["Alex", "Kai"]), (java(NetworkId::HOST, "0.0.0.0:25566"), ["Kai", "Sam"])] {
        let answer = Answer { online: 2, names: names.map(str::to_owned).to_vec() };
        run.rule.learn(Asked { listener, at: run.now, answer: Some(answer), arrived: 0 });
    }
    run.see(&both);
    let view = run.rule.view(run.now);
    assert_eq!(view.online, Some(4));
    assert_eq!(view.names, ["Alex", "Kai", "Sam"]);
}

/// playit, ngrok and the like connect from this machine, and no other server counts the same players.
#[test]
fn what_a_server_says_is_shown_where_all_its_connections_come_from_this_machine() {
    let pair = (address("127.0.0.1:25565"), address("127.0.0.1:50000"));
    let mut facts = Facts::of_host(listens(&["0.0.0.0:25565"]));
    let sockets = facts.networks[0].sockets.as_mut().unwrap();
    sockets.connections.push(connection(NetworkId::HOST, "127.0.0.1:25565", "127.0.0.1:50000", 7));
    sockets.far_ends.push(FarEnd { local: pair.1, peer: pair.0 });
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    run.hear(server(), Some(3));
    run.see(&facts);
    assert_eq!(run.rule.view(run.now).online, Some(3));
}

#[test]
fn a_bedrock_server_with_players_is_occupied_and_one_without_is_a_server() {
    let mut run = Run::new(rule_settings());
    run.see(&bound());
    assert_eq!(run.rule.questions().len(), 1);
    run.hear(geyser(), Some(0));
    run.see(&bound());
    assert_eq!(run.state(), State::Idle);
    run.hear(geyser(), Some(1));
    assert_eq!(run.see_and_hear(MINUTE * 10, &bound(), geyser(), Some(1)), None);
    assert_eq!(run.state(), State::Occupied);
    assert!(run.see_and_hear(MINUTE * 3, &bound(), geyser(), Some(0)).is_some());
}

#[test]
fn the_silence_of_a_bedrock_server_is_unknown_for_half_an_hour_whatever_it_said() {
    for online in [0, 1] {
        let mut run = Run::new(rule_settings());
        run.see(&bound());
        run.hear(geyser(), Some(online));
        assert_eq!(run.see_and_hear(MINUTE * 29, &bound(), geyser(), None), None, "{online} online");
        assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
        // It is no server any more: 2 minutes without one.
        assert!(run.see_and_hear(MINUTE * 6, &bound(), geyser(), None).is_some());
        assert_eq!(run.alarms, [Alarm::Blind, Alarm::GivenUp(geyser())]);
    }
}

#[test]
fn a_bedrock_server_that_had_nobody_and_has_gone_is_not_unknown() {
    let mut run = Run::new(rule_settings());
    run.see(&bound());
    run.hear(geyser(), Some(0));
    // It is asked once more as it goes.
    run.hear(geyser(), None);
    run.see(&no_server());
    assert_eq!(run.state(), State::NoServer);
    // One that had somebody may be about to come back, for two minutes.
    let mut run = Run::new(rule_settings());
    run.see(&bound());
    run.hear(geyser(), Some(1));
    run.hear(geyser(), None);
    run.see(&no_server());
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
    run.see_for(MINUTE * 2, &no_server());
    assert_eq!(run.state(), State::NoServer);
}

#[test]
fn a_bedrock_port_that_has_never_answered_is_unknown_for_as_long_as_a_server_may_take_to_start() {
    let windows = Windows { idle: MINUTE, no_server: MINUTE * 30 };
    let mut run = Run::new(RuleSettings { windows, ..rule_settings() });
    assert_eq!(run.see_and_hear(MINUTE * 29, &bound(), geyser(), None), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
    assert_eq!(run.see_and_hear(MINUTE * 29, &bound(), geyser(), None), None);
    assert_eq!((run.state(), run.rule.view(run.now).listening), (State::NoServer, Some(false)));
    assert!(run.see_and_hear(MINUTE * 3, &bound(), geyser(), None).is_some());
    assert_eq!(run.alarms, [Alarm::Blind, Alarm::GivenUp(geyser())]);
}

#[test]
fn a_bedrock_port_beside_a_java_server_is_asked_by_itself() {
    let mut facts = empty();
    facts.networks[0].sockets.as_mut().unwrap().bedrock = vec![listening("0.0.0.0:19132")];
    let mut run = Run::new(rule_settings());
    run.see(&facts);
    assert_eq!(run.rule.questions().len(), 2);
    // Java says zero, and Bedrock players are on.
    run.hear(server(), Some(0));
    run.hear(geyser(), Some(1));
    assert_eq!(run.see_for(MINUTE * 2, &facts), None);
    assert_eq!(run.state(), State::Occupied);
    // Java's zero is not Bedrock's.
    run.hear(geyser(), None);
    run.hear(server(), Some(0));
    assert_eq!(run.see_for(MINUTE * 2, &facts), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
}

#[test]
fn hidden_processes_are_settled_only_by_an_answer_on_every_watched_port() {
    let hidden = |mut facts: Facts| {
        facts.hidden = Some("hidepid".to_owned());
        facts
    };
    let both = hidden(Facts::of_host(listens(&["0.0.0.0:25565", "0.0.0.0:25566"])));
    let other = java(NetworkId::HOST, "0.0.0.0:25566");
    let rule_settings = RuleSettings { ports: [25565, 25566].into(), ..rule_settings() };
    for (answering, settled) in [(vec![], false), (vec![server()], false), (vec![server(), other], true)] {
        let mut run = Run::new(rule_settings.clone());
        run.see(&both);
        for listener in &answering {
            run.hear(*listener, Some(0));
        }
        assert_eq!(run.see_for(MINUTE + 2 * INTERVAL, &both).is_some(), settled, "{answering:?}");
        assert_eq!(matches!(run.state(), State::Blind { .. }), !settled, "{answering:?}");
    }
    // Nothing listens where anything can be seen.
    let mut run = Run::new(rule_settings);
    assert_eq!(run.see_for(MINUTE * 30, &hidden(no_server())), None);
    assert_eq!(run.alarms, [Alarm::Blind]);
}

#[test]
fn somebody_who_left_a_network_that_can_be_read_is_gone_even_where_others_may_be_hidden() {
    let facts = |there: bool| {
        let mut sockets = listens(&["0.0.0.0:25565"]);
        if there {
            sockets.connections.push(connection(A, "172.17.0.2:25565", "203.0.113.7:4007", 7));
        }
        let container = network(A, "172.17.0.2", sockets);
        let mut facts = machine(Sockets::default(), vec![container]);
        facts.hidden = Some("hidepid".to_owned());
        facts
    };
    let server = java(A, "0.0.0.0:25565");
    let mut run = Run::new(rule_settings());
    run.see_and_hear(MINUTE * 2, &facts(true), server, Some(0));
    assert_eq!(run.state(), State::Occupied);
    assert!(run.see_and_hear(MINUTE * 3, &facts(false), server, Some(0)).is_some());
    assert_eq!(run.rule.memory().connections, []);
}

#[test]
fn somebody_seen_before_the_tables_could_not_be_read_is_no_player_meanwhile() {
    let mut run = Run::new(rule_settings());
    run.see_for(MINUTE / 2, &empty());
    run.see(&showing(vec![row(socket(1, 7))]));
    assert_eq!(run.see_for(MINUTE * 6, &unknown()), None);
    assert!(matches!(run.state(), State::Blind { .. }), "{:?}", run.state());
    assert_eq!((run.elapsed(), run.alarms.as_slice()), (30, [Alarm::Blind].as_slice()));
    // Still there, he is as old as he is.
    run.see(&showing(vec![row(socket(1, 7))]));
    assert_eq!(run.state(), State::Occupied);
}

#[test]
fn while_a_stop_is_under_way_what_cannot_be_read_is_not_shown_as_nobody() {
    let mut run = Run::new(rule_settings());
    let attempt = run.see_for(MINUTE + INTERVAL, &empty()).unwrap();
    run.look(attempt, &empty(), &empty()).unwrap();
    run.see(&unknown());
    let view = run.rule.view(run.now);
    assert_eq!((view.state, view.counts, view.listening), (State::Stopping { accepted: false }, None, None));
}
