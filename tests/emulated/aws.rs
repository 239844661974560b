//! What AWS is asked for and what becomes of its answers: the agent as a process, against AWS on loopback with faults.
//! Over 400 lines: the tests share one set of helpers.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "waits in real time, in seconds of this century, and ends at what is wrong"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::check::check;
use crate::support::emulated_aws::{self, Call, EmulatedAws, states};
use crate::support::sockets::{V4, port};
use crate::support::{ports, wait_until};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A window that no test waits for.
const LONG: f64 = 900.0;
/// A passing refusal is tried again within 7.5 s; what has not come by then does not come soon.
const PAST_THE_FIRST_RETRY: Duration = Duration::from_secs(9);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The agent in `emulated_aws`, with the credentials of the instance's role.
fn agent_in(emulated_aws: &EmulatedAws, text: &str) -> Agent {
    Agent::start(text, |command| emulated_aws.attach(command))
}

fn with_credentials<'a>(command: &'a mut Command, access_key: &str) -> &'a mut Command {
    command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", "secret")
}

/// The one call that ended the instance.
fn the_stop(emulated_aws: &EmulatedAws) -> Call {
    let stops = emulated_aws.stops();
    assert_eq!(stops.len(), 1, "{stops:?}");
    stops[0].clone()
}

#[test]
fn the_own_instance_is_stopped_when_the_window_ends_and_the_agent_stays_until_it_is_told_to_end() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let mut agent = agent_in(&emulated_aws, &settings(Silent::start().port, 12.0, &["sample_seconds = 5"]));
    agent.process.wait_for("EC2 accepted the stop");

    let stop = the_stop(&emulated_aws);
    assert_eq!(stop.action, "StopInstances");
    assert_eq!(stop.params["InstanceId.1"], emulated_aws.instance_id);
    let others: Vec<&String> =
        stop.params.keys().filter(|key| !["InstanceId.1", "Version"].contains(&key.as_str())).collect();
    assert!(others.is_empty(), "no Force, no SkipOsShutdown, no Hibernate, no other instance; there was {others:?}");
    assert!(stop.access_key.starts_with("ASIA"), "the credentials of the instance's role; it was {}", stop.access_key);
    assert_eq!(emulated_aws.state(), "stopped");

    let heartbeats = emulated_aws.heartbeats();
    assert_eq!(states(&heartbeats), ["starting", "idle", "stopping"]);
    let forecast: Timestamp = heartbeats[1]["stop_at"].as_str().unwrap().parse().unwrap();
    let late = Duration::try_from_secs_f64(stop.at).unwrap().as_secs().cast_signed() - forecast.as_second();
    // The server, which says nothing, is asked for 3 s first; the forecast is in whole seconds, and this machine may be busy.
    assert!((-1..=20).contains(&late), "the stop came {late} s after the end of the window");
    let final_heartbeat = emulated_aws.calls().iter().rposition(|call| call.action == "PutParameter");
    let request = emulated_aws.calls().iter().position(Call::is_real);
    assert!(final_heartbeat < request, "the final heartbeat is written before the request");

    agent.notices.wait_for_status("EC2 accepted the stop; waiting for the shutdown.");
    assert!(agent.process.runs());
    assert_eq!(agent.end().code(), Some(0));
    agent.notices.wait_for("STOPPING=1");
    assert_eq!(
        states(&emulated_aws.heartbeats()),
        ["starting", "idle", "stopping"],
        "a stop under way has the last word"
    );
}

#[test]
fn all_goes_by_tls_where_the_authority_is_known_and_nothing_where_it_is_not() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let folder = tempfile::tempdir().unwrap();
    let emulated_aws = EmulatedAws::start_with(&["--tls", folder.path().to_str().unwrap()]);
    let text = settings(Silent::start().port, 3.0, &[]);
    let by_tls = |command: &mut Command| {
        emulated_aws.attach(command);
        command.env("AWS_ENDPOINT_URL", emulated_aws.tls_endpoint.as_ref().unwrap());
    };

    let stranger = Agent::start(&text, by_tls);
    let told = stranger.process.wait_for("UnknownIssuer");
    assert!(told.contains("warning") || told.contains("error"), "{told}");
    assert!(emulated_aws.calls().is_empty(), "{:?}", emulated_aws.calls());
    drop(stranger);

    let agent = Agent::start(&text, |command| {
        by_tls(command);
        command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
    });
    agent.process.wait_for("EC2 accepted the stop");
    assert_eq!(the_stop(&emulated_aws).action, "StopInstances");
    assert_eq!(states(&emulated_aws.heartbeats()).last(), Some(&"stopping"));
}

#[test]
fn the_request_goes_out_over_a_connection_that_is_already_open() {
    let (port, requests) = crate::support::ec2::start();
    let here = "aws.region = \"eu-west-1\"\naws.instance_id = \"i-0123456789abcdef0\"\nheartbeat.parameter = \"\"";
    let text = settings(Silent::start().port, 8.0, &[here]);
    let agent = Agent::start(&text, |command| {
        with_credentials(command, "AKIAEXAMPLE").env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    });
    agent.process.wait_for("EC2 accepted the stop");
    let requests = requests.lock().unwrap().clone();
    let [_own_at_start, _other_at_start, (warmed, question), (used, request)] = &requests[..] else {
        panic!("{requests:?}")
    };
    assert!(question.contains("DryRun=true") && !request.contains("DryRun"), "{requests:?}");
    assert_eq!(warmed, used, "nothing stands between the last look and the request, not even a handshake");
}

#[test]
fn hibernation_is_asked_for_by_its_flag() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 3.0, &["action = \"hibernate\""]));
    agent.process.wait_for("EC2 accepted the hibernation");
    let stop = the_stop(&emulated_aws);
    assert_eq!((stop.action.as_str(), &stop.params["Hibernate"]), ("StopInstances", &json!("true")));
    assert_eq!(stop.params["InstanceId.1"], emulated_aws.instance_id);
    assert!(!stop.params.contains_key("Force"), "{stop:?}");
}

#[test]
fn termination_is_asked_for_as_such_and_nothing_is_stopped() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 3.0, &["action = \"terminate\""]));
    agent.process.wait_for("EC2 accepted the termination");
    let stop = the_stop(&emulated_aws);
    assert_eq!(
        (stop.action.as_str(), &stop.params["InstanceId.1"]),
        ("TerminateInstances", &json!(emulated_aws.instance_id))
    );
    assert!(emulated_aws.calls().iter().all(|call| call.action != "StopInstances"), "not even as a question");
    assert_eq!(emulated_aws.state(), "terminated");
}

#[test]
fn a_player_who_joins_in_the_last_moment_holds_the_stop_off_until_gone() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, server) = (EmulatedAws::start(), Silent::start());
    let agent = agent_in(&emulated_aws, &settings(server.port, 6.0, &[]));
    agent.notices.wait_for_countdown(2);
    let joining = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let said = format!("The idle window of 6 s is over, but somebody may be joining on port {};", server.port);
    agent.process.wait_for(&said);
    agent.notices.wait_for_status(&said);
    thread::sleep(Duration::from_secs(3));
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (0, "running"));
    let is_told = || (without_idle(&emulated_aws.heartbeats()) == ["starting", "due"]).then_some(());
    wait_until("the heartbeat says due", is_told);

    let gone = now();
    drop(joining);
    agent.process.wait_for("EC2 accepted the stop");
    assert!(the_stop(&emulated_aws).at > gone);
    assert_eq!(emulated_aws.state(), "stopped");
}

/// Starts an agent for each of `rules` in one AWS, all at once. Each agent meets its own rule at its first real call, once.
/// An agent's access key, which is also in its calls, tells whose they are, and its heartbeats have a parameter of their own.
fn one_agent_each(emulated_aws: &EmulatedAws, rules: &[Value]) -> Vec<(String, Agent)> {
    let rules: Vec<Value> = rules
        .iter()
        .enumerate()
        .map(|(number, rule)| {
            let mut rule = rule.clone();
            rule["access_key"] = json!(key_of(number));
            rule["action"] = json!("StopInstances");
            rule["dry_run"] = json!(false);
            rule["times"] = json!(1);
            rule
        })
        .collect();
    emulated_aws.faults(&Value::from(rules.clone()));
    let start = |number| {
        let key = key_of(number);
        let own_parameter = format!("heartbeat.parameter = \"{}\"", parameter_of(&key));
        let agent = Agent::start(&settings(Silent::start().port, 8.0, &[&own_parameter]), |command| {
            emulated_aws.attach(with_credentials(command, &key));
        });
        (key, agent)
    };
    (0..rules.len()).map(start).collect()
}

fn key_of(agent: usize) -> String {
    format!("AKIATEST{agent}")
}

fn parameter_of(key: &str) -> String {
    format!("/mc-idle/{key}/heartbeat")
}

/// What each fault of `rules` is called in a call that met it.
fn names(rules: &[Value]) -> BTreeSet<String> {
    let name = |rule: &Value| match rule["code"].as_str() {
        Some(code) => code.to_owned(),
        None => rule.as_object().unwrap().keys().next().unwrap().clone(),
    };
    rules.iter().map(name).collect()
}

/// The states of a window so short that a busy machine may not write that it runs.
fn without_idle(heartbeats: &[Value]) -> Vec<&str> {
    states(heartbeats).into_iter().filter(|state| *state != "idle").collect()
}

fn stops_of(emulated_aws: &EmulatedAws, key: &str) -> Vec<Call> {
    emulated_aws.stops().into_iter().filter(|call| call.access_key == key).collect()
}

#[test]
fn a_stop_that_fails_for_a_passing_reason_is_tried_again_later_one_call_each_time() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let rules = [
        json!({"code": "RequestLimitExceeded"}),
        json!({"code": "InternalError", "status": 500}),
        json!({"code": "Unavailable", "status": 503}),
        json!({"code": "IncorrectInstanceState"}),
        json!({"reset": true}),
        json!({"hang": true}),
    ];
    let emulated_aws = EmulatedAws::start();
    let mut met = BTreeSet::new();
    for (key, mut agent) in one_agent_each(&emulated_aws, &rules) {
        agent.process.wait_for("EC2 accepted the stop");
        let stops = stops_of(&emulated_aws, &key);
        let [first, second] = stops.as_slice() else { panic!("two calls, one refused and one accepted: {stops:?}") };
        let fault = first.injected.clone().unwrap();
        assert_eq!((second.status, &second.injected), (Some(200), &None), "{fault}");
        assert!(second.at - first.at >= 5.0, "{fault}: tried again after {} s", second.at - first.at);

        let reason = match fault.as_str() {
            "reset" | "hang" => "EC2 did not answer".to_owned(),
            code => format!("EC2 answered {code}"),
        };
        agent.process.wait_for(&format!("warning: The stop failed: {reason}"));
        agent.notices.wait_for_status(&format!("The stop failed: {reason}"));
        let heartbeats = emulated_aws.parameter(&parameter_of(&key));
        assert_eq!(without_idle(&heartbeats), ["starting", "stopping", "stop-failed", "stopping"], "{fault}");
        assert!(agent.process.runs(), "{fault}");
        met.insert(fault);
    }
    assert_eq!(met, names(&rules));
    assert_eq!(emulated_aws.state(), "stopped");
}

#[test]
fn a_stop_that_is_refused_for_good_is_an_error_that_says_what_to_change_and_is_not_hammered() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let rules = [
        json!({"code": "UnauthorizedOperation"}),
        json!({"code": "OperationNotPermitted"}),
        json!({"code": "UnsupportedOperation"}),
        json!({"code": "InvalidInstanceID.NotFound"}),
        json!({"code": "InvalidInstanceID.Malformed"}),
    ];
    let emulated_aws = EmulatedAws::start();
    let mut agents = one_agent_each(&emulated_aws, &rules);
    for (_, agent) in &agents {
        agent.process.wait_for("error: The stop failed: EC2 answered");
    }
    thread::sleep(PAST_THE_FIRST_RETRY);
    let mut met = BTreeSet::new();
    for (key, agent) in &mut agents {
        let stops = stops_of(&emulated_aws, key);
        assert_eq!(stops.len(), 1, "{stops:?}");
        let code = stops[0].injected.clone().unwrap();
        let advice = match code.as_str() {
            "UnauthorizedOperation" => "allow ec2:StopInstances",
            "OperationNotPermitted" => "disableApiStop",
            "UnsupportedOperation" => "spot",
            _ => "check aws.instance_id and aws.region",
        };
        let line = agent.process.wait_for(&format!("error: The stop failed: EC2 answered {code}: "));
        assert!(line.contains(advice), "{line}");
        let status = agent.notices.status();
        assert!(status.contains(&code) && status.contains(advice), "{status}");
        let heartbeats = emulated_aws.parameter(&parameter_of(key));
        assert_eq!(without_idle(&heartbeats), ["starting", "stopping", "stop-failed"], "{code}");
        let why = heartbeats.last().unwrap()["why"].as_str().unwrap();
        assert!(why.contains(advice), "{why}");
        assert!(agent.process.runs(), "{code}");
        met.insert(code);
    }
    assert_eq!(met, names(&rules));
    assert_eq!(emulated_aws.state(), "running");
}

#[test]
fn what_ec2_will_refuse_is_an_error_at_the_start_and_not_only_when_the_window_is_over() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    for (code, advice) in [
        ("UnauthorizedOperation", "allow ec2:StopInstances on this instance"),
        ("OperationNotPermitted", "stop protection (disableApiStop) is on"),
        ("UnsupportedOperation", "(one-time spot request, instance-store root"),
    ] {
        let emulated_aws = EmulatedAws::start();
        emulated_aws.faults(&json!([{"action": "StopInstances", "dry_run": true, "code": code}]));
        let agent = agent_in(&emulated_aws, &settings(Silent::start().port, LONG, &[]));
        let said = format!("error: The stop will fail when it is due: EC2 answered {code}");
        let line = agent.process.wait_for(&said);
        assert!(line.contains(advice), "{line}");
        let status = agent.notices.wait_for_status("The stop will fail when it is due");
        assert!(status.contains("No players") && status.contains(advice), "{status}");
        assert!(emulated_aws.stops().is_empty());
    }
}

#[test]
fn permission_for_a_new_action_is_asked_for_at_once_while_that_for_the_old_one_is_refused() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"action": "StopInstances", "dry_run": true, "code": "UnauthorizedOperation"}]));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, LONG, &["action = \"stop\""]));
    // Asked for again in five minutes, were it not for the reload.
    agent.process.wait_for("error: The stop will fail when it is due: EC2 answered UnauthorizedOperation");
    agent.config.write(&settings_of(&agent, "action = \"stop\"", "action = \"terminate\""));
    agent.process.signal(rustix::process::Signal::HUP);
    let asked = |call: &Call| call.action == "TerminateInstances" && call.params.contains_key("DryRun");
    wait_until("permission to terminate is asked for", || emulated_aws.calls().iter().any(asked).then_some(()));
    wait_until("the status is clean again", || (!agent.notices.status().contains("will fail")).then_some(()));
    assert!(emulated_aws.stops().is_empty());
}

const ABOUT_TO_ASK: &str = "requesting the stop";
/// Settings of an agent that need not ask instance metadata.
const IDENTITY: &str = "aws.region = \"eu-west-1\"\naws.instance_id = \"i-0123456789abcdef0\"";

/// An agent whose EC2 and SSM accept every connection and never answer.
fn agent_with_a_silent_cloud(idle_seconds: f64) -> (Agent, Silent) {
    let cloud = Silent::start();
    let agent = Agent::start(&settings(Silent::start().port, idle_seconds, &[IDENTITY]), |command| {
        with_credentials(command, "AKIATEST").env("AWS_ENDPOINT_URL", cloud.url());
    });
    (agent, cloud)
}

/// A call that hangs may take 10 s and longer; the end of the agent may not wait for any.
fn assert_ends_promptly(agent: &mut Agent) {
    let asked = Instant::now();
    assert_eq!(agent.end().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(9), "the end took {:?}", asked.elapsed());
    agent.notices.wait_for("STOPPING=1");
}

#[test]
fn a_cloud_that_never_answers_delays_neither_samples_nor_the_end() {
    let (mut agent, cloud) = agent_with_a_silent_cloud(LONG);
    agent.notices.wait_for("READY=1");
    wait_until("EC2 and SSM are asked", || (cloud.accepted() >= 2).then_some(()));
    agent.notices.assert_alive_for(Duration::from_secs(7));
    assert_ends_promptly(&mut agent);
}

#[test]
fn a_preparation_that_hangs_delays_neither_samples_nor_the_end() {
    let (mut agent, _cloud) = agent_with_a_silent_cloud(2.0);
    agent.notices.wait_for_status(ABOUT_TO_ASK);
    agent.notices.assert_alive_for(Duration::from_secs(7));
    assert!(agent.notices.status().contains(ABOUT_TO_ASK), "{}", agent.notices.status());
    assert_ends_promptly(&mut agent);
}

#[test]
fn a_stop_that_hangs_delays_neither_samples_nor_the_end() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"action": "StopInstances", "dry_run": false, "hang": true}]));
    let mut agent = agent_in(&emulated_aws, &settings(Silent::start().port, 3.0, &[]));
    wait_until("the request is made", || (!emulated_aws.stops().is_empty()).then_some(()));
    agent.notices.assert_alive_for(Duration::from_secs(7));
    assert!(agent.notices.status().contains(ABOUT_TO_ASK), "{}", agent.notices.status());
    assert_ends_promptly(&mut agent);
}

/// One agent whose window ends while SSM refuses every write with `code`, and one whose window does not end and whose
/// heartbeats come back when SSM does. Under throttling that takes two intervals: 20 s.
fn heartbeats_are_refused(code: &str, advice: &str) {
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"action": "PutParameter", "code": code}]));
    let text = |seconds, parameter| {
        let parameter = format!("heartbeat.parameter = \"{parameter}\"");
        settings(Silent::start().port, seconds, &["heartbeat.seconds = 10", &parameter])
    };
    let (stopping, staying) =
        (agent_in(&emulated_aws, &text(3.0, "/stopping")), agent_in(&emulated_aws, &text(LONG, "/staying")));
    for agent in [&stopping, &staying] {
        let line = agent.process.wait_for(&format!("warning: Cannot write heartbeats: SSM answered {code}"));
        assert!(line.contains(advice), "{line}");
        agent.notices.wait_for_status(&format!("Cannot write heartbeats: SSM answered {code}"));
    }
    stopping.process.wait_for("EC2 accepted the stop");
    assert_eq!(emulated_aws.state(), "stopped");
    assert!(emulated_aws.parameter("/stopping").is_empty() && emulated_aws.parameter("/staying").is_empty());

    emulated_aws.faults(&json!([]));
    staying.process.wait_for("Heartbeats are written again.");
    assert!(!emulated_aws.parameter("/staying").is_empty());
    wait_until("the status is clean again", || (!staying.notices.status().contains("not written")).then_some(()));
}

#[test]
fn heartbeats_that_are_refused_are_told_of_and_do_not_keep_the_stop_back() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    thread::scope(|scope| {
        scope.spawn(|| heartbeats_are_refused("ThrottlingException", "heartbeats slow down"));
        scope.spawn(|| heartbeats_are_refused("TooManyUpdates", "heartbeats slow down"));
        scope.spawn(|| heartbeats_are_refused("AccessDeniedException", "allow ssm:PutParameter on /st"));
    });
}

#[test]
fn a_heartbeat_is_small_and_flat_and_names_no_peer_and_the_last_one_says_ended() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, server) = (EmulatedAws::start(), Silent::start());
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let settings = settings(
        server.port,
        LONG,
        &["minecraft.min_connection_seconds = 0", "heartbeat.instance_id_parameter = \"/servers/one/instance-id\""],
    );
    let mut agent = agent_in(&emulated_aws, &settings);
    wait_until("the player is told of", || states(&emulated_aws.heartbeats()).contains(&"occupied").then_some(()));
    assert_eq!(agent.end().code(), Some(0));

    // The agent waits a second for it at most; AWS may take longer.
    wait_until("the end is told of", || (states(&emulated_aws.heartbeats()).last() == Some(&"ended")).then_some(()));
    let heartbeats = emulated_aws.heartbeats();
    assert_eq!(states(&heartbeats), ["starting", "occupied", "ended"]);
    assert_eq!(heartbeats[1]["players"], 1);
    let written: Vec<Call> = emulated_aws.calls().into_iter().filter(|call| call.action == "PutParameter").collect();
    for call in &written {
        assert_eq!((&call.params["Type"], &call.params["Tier"]), (&json!("String"), &json!("Standard")));
        let value = call.params["Value"].as_str().unwrap();
        assert!(value.len() < 1024, "{value}");
        let port = format!(":{}", player.local_addr().unwrap().port());
        assert!(!value.contains("127.0.0.1") && !value.contains(&port), "{value}");
    }
    for heartbeat in &heartbeats {
        let fields = heartbeat.as_object().unwrap();
        assert!(fields.values().all(|field| !field.is_object() && !field.is_array()), "{heartbeat}");
        assert_eq!(heartbeat["instance_id"], emulated_aws.instance_id);
    }
    assert_eq!(emulated_aws.parameter("/servers/one/instance-id"), [json!(emulated_aws.instance_id)]);
}

#[test]
fn check_passes_when_a_stop_would_work_and_stops_nothing() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([emulated_aws::narrow_role()]));
    let checked = check(&settings(Silent::start().port, LONG, &[]), |command| emulated_aws.attach(command));
    assert_eq!((checked.code, checked.marked("FAILED")), (Some(0), vec![]), "{checked:#?}");
    assert!(checked.says("ok", &emulated_aws.instance_id) && checked.says("ok", "ec2:StopInstances"), "{checked:#?}");
    assert_eq!(emulated_aws.heartbeats().len(), 1);
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (0, "running"));
}

#[test]
fn check_fails_with_a_line_for_each_thing_that_is_missing() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([
        {"action": "StopInstances", "code": "UnauthorizedOperation"},
        {"action": "PutParameter", "code": "AccessDeniedException"},
    ]));
    let checked = check(&settings(Silent::start().port, LONG, &[]), |command| emulated_aws.attach(command));
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(checked.says("FAILED", "allow ec2:StopInstances on this instance"), "{checked:#?}");
    assert!(checked.says("FAILED", "allow ssm:PutParameter on /mc-idle/"), "{checked:#?}");
    assert!(checked.says("ok", "listener"), "what works is told as well: {checked:#?}");

    emulated_aws.faults(&json!([emulated_aws::narrow_role()]));
    let nobody = ports::reserved(V4);
    let free = port(&nobody);
    let checked = check(&settings(free, LONG, &[]), |command| emulated_aws.attach(command));
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(
        matches!(checked.marked("FAILED").as_slice(), [line] if line.contains("nothing listens on")),
        "{checked:#?}"
    );
}

#[test]
fn check_fails_when_aws_cannot_be_reached() {
    let nowhere = |command: &mut Command| {
        // Nothing listens on port 1.
        let url = "http://127.0.0.1:1";
        with_credentials(command, "AKIATEST");
        command.env("AWS_ENDPOINT_URL", url).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url);
    };
    let port = Silent::start().port;
    let checked = check(&settings(port, LONG, &[]), nowhere);
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(checked.says("FAILED", "instance metadata"), "{checked:#?}");
    assert!(checked.says("not run", "permission to stop"), "{checked:#?}");

    let checked = check(&settings(port, LONG, &[IDENTITY]), nowhere);
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(checked.says("FAILED", "permission to stop: EC2 did not answer"), "{checked:#?}");
    assert!(checked.says("FAILED", "permission to write the heartbeat: SSM did not answer"), "{checked:#?}");
    assert!(checked.says("not run", "clock: EC2's time is unknown"), "{checked:#?}");
}

#[test]
fn check_has_no_credentials_that_the_agent_would_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let profiles = folder.path().join("credentials");
    fs::write(&profiles, "[default]\naws_access_key_id = AKIAOPERATOR\naws_secret_access_key = secret\n").unwrap();
    let checked = check(&settings(Silent::start().port, LONG, &[IDENTITY]), |command| {
        // Nothing listens on port 1: the instance has no role.
        let url = "http://127.0.0.1:1";
        command.env("AWS_ENDPOINT_URL", url).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url);
        command.env("AWS_SHARED_CREDENTIALS_FILE", &profiles);
    });
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(checked.says("FAILED", "credentials") && !format!("{checked:?}").contains("AKIAOPERATOR"), "{checked:#?}");
}

#[test]
fn where_a_stop_is_something_else_is_told_at_the_start() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.metadata("instance-life-cycle", &json!("spot"));
    emulated_aws.metadata("autoscaling/target-lifecycle-state", &json!("InService"));
    emulated_aws.metadata("ami-manifest-path", &json!("images/minecraft.manifest.xml"));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 600.0, &[]));
    // The emulator allows every call on every instance.
    for said in ["spot request is persistent", "Auto Scaling group", "instance store", "may stop other instances too"] {
        let line = agent.process.wait_for(said);
        assert!(line.contains(" warning: "), "{line}");
        agent.notices.wait_for_status(said);
    }
}

#[test]
fn an_instance_like_any_other_is_told_of_nothing_and_a_narrow_role_neither() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    // What EC2 says to a role that may stop its own instance only.
    emulated_aws.faults(
        &json!([{"action": "StopInstances", "instance_id": "i-00000000000000000", "code": "UnauthorizedOperation"}]),
    );
    let mut agent = agent_in(&emulated_aws, &settings(Silent::start().port, 3.0, &[]));
    agent.process.wait_for("EC2 accepted the stop");
    assert_eq!(agent.end().code(), Some(0));
    // An AWS on a busy machine may be late, which is a warning too.
    let special = ["persistent", "Auto Scaling group", "instance store", "other instances"];
    let is_one = |line: &String| line.contains(" warning: ") && special.iter().any(|word| line.contains(word));
    let warnings: Vec<_> = agent.process.output().into_iter().filter(is_one).collect();
    assert_eq!(warnings, Vec::<String>::new());
    let other: Vec<_> = emulated_aws
        .calls()
        .into_iter()
        .filter(|call| call.params.get("InstanceId.1") != Some(&json!(emulated_aws.instance_id)))
        .collect();
    assert!(other.iter().all(|call| call.action == "PutParameter" || call.params.contains_key("DryRun")), "{other:?}");
}

#[test]
fn no_stop_is_asked_for_while_ec2_takes_the_spot_instance_back_and_the_reason_is_written() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.metadata("instance-life-cycle", &json!("spot"));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 25.0, &[]));
    agent.process.wait_for("spot request is persistent");
    emulated_aws.metadata("spot/instance-action", &json!(r#"{"action": "terminate", "time": "2026-11-22T21:40:00Z"}"#));
    let told = "EC2 is reclaiming this spot instance and will terminate it at 21:40 UTC";
    agent.process.wait_for(told);
    agent.notices.wait_for_status("the stop is left to EC2");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(emulated_aws.stops().len(), 0);
    let reason = |beat: &Value| beat["why"].as_str().is_some_and(|why| why.starts_with(told));
    assert!(emulated_aws.heartbeats().iter().any(reason), "{:?}", emulated_aws.heartbeats());
    // It is not taken back after all.
    emulated_aws.metadata("spot/instance-action", &Value::Null);
    agent.process.wait_for("EC2 has withdrawn its reclaim notice.");
    agent.process.wait_for("EC2 accepted the stop");
}

const REMOTE_HOLD: &str = "hold.parameter = \"/servers/hold\"";
const WAITS_FOR_A_HOLD: &str = "but the stop waits for a hold to end.";

/// So far away that no test sees the end of it; in whole seconds.
fn in_an_hour() -> Timestamp {
    let hour = Duration::from_hours(1);
    let whole = Duration::from_secs(Duration::try_from_secs_f64(now()).unwrap().as_secs());
    Timestamp::UNIX_EPOCH.checked_add(whole + hour).unwrap()
}

/// An agent with a remote hold and a window that is soon over, in a runtime directory that others may have left.
fn held_agent(emulated_aws: &EmulatedAws, port: u16, folder: &std::path::Path) -> Agent {
    Agent::start(&settings(port, 4.0, &[REMOTE_HOLD]), |command| {
        emulated_aws.attach(command);
        command.env("RUNTIME_DIRECTORY", folder);
    })
}

fn kill(agent: &mut Agent) {
    agent.process.signal(rustix::process::Signal::KILL);
    agent.process.wait();
}

#[test]
fn a_parameter_holds_the_instance_from_afar_until_it_is_deleted() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let until = in_an_hour();
    emulated_aws.set_parameter("/servers/hold", &json!(format!("{until} new plugins")));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 6.0, &[REMOTE_HOLD]));
    agent.process.wait_for("Held by SSM parameter until 20");
    agent.process.wait_for(WAITS_FOR_A_HOLD);
    assert_eq!(emulated_aws.stops().len(), 0);
    let beat = wait_until("the heartbeat tells", || {
        emulated_aws.heartbeats().pop().filter(|beat| beat["hold_reason"] == "new plugins")
    });
    let held_until: Timestamp = beat["held_until"].as_str().unwrap().parse().unwrap();
    assert!((held_until.as_second() - until.as_second()).abs() <= 1, "{beat}");
    // It is read every minute.
    emulated_aws.set_parameter("/servers/hold", &Value::Null);
    agent.process.wait_for("No longer held: new plugins.");
    agent.process.wait_for("EC2 accepted the stop");
}

#[test]
fn a_remote_hold_lasts_for_7_days_at_most_and_the_status_says_so() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.set_parameter("/servers/hold", &json!("2100-01-01T00:00:00Z new plugins"));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, LONG, &[REMOTE_HOLD]));
    let said = "The SSM parameter asks for a hold until 2100-01-01 00:00 UTC; it will end after 7 days, the limit.";
    let line = agent.process.wait_for(said);
    assert!(!line.contains(" warning: "), "{line}");
    agent.notices.wait_for_status(said);
    let beat = wait_until("the heartbeat tells", || {
        emulated_aws.heartbeats().pop().filter(|beat| beat["hold_reason"] == "new plugins")
    });
    let held_until: Timestamp = beat["held_until"].as_str().unwrap().parse().unwrap();
    let left = held_until.duration_since(Timestamp::now());
    assert!((6 * 24 + 23..=7 * 24).contains(&left.as_hours()), "{beat}");
}

#[test]
fn a_remote_hold_outlives_the_agent_while_ssm_fails_and_ends_when_the_parameter_is_deleted() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, server, folder) = (EmulatedAws::start(), Silent::start(), tempfile::tempdir().unwrap());
    emulated_aws.set_parameter("/servers/hold", &json!(format!("{} new plugins", in_an_hour())));
    let mut first = held_agent(&emulated_aws, server.port, folder.path());
    first.process.wait_for(WAITS_FOR_A_HOLD);
    kill(&mut first);

    // Whatever is asked of SSM now fails. The window is over already.
    emulated_aws.faults(&json!([{"action": "GetParameter", "code": "InternalServerError", "status": 500}]));
    for _ in 0..2 {
        let mut next = held_agent(&emulated_aws, server.port, folder.path());
        next.process.wait_for("Held by SSM parameter until 20");
        next.process.wait_for("Cannot check SSM parameter /servers/hold: SSM answered InternalServerError");
        next.process.wait_for(WAITS_FOR_A_HOLD);
        thread::sleep(Duration::from_secs(3));
        assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (0, "running"));
        kill(&mut next);
    }
    let kept = std::fs::metadata(folder.path().join("holds.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);

    emulated_aws.set_parameter("/servers/hold", &Value::Null);
    emulated_aws.faults(&json!([]));
    let last = held_agent(&emulated_aws, server.port, folder.path());
    last.process.wait_for("No longer held: new plugins.");
    last.process.wait_for("EC2 accepted the stop");
}

#[test]
fn a_hold_that_was_changed_while_no_agent_ran_is_waited_for_by_the_next_one() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, server, folder) = (EmulatedAws::start(), Silent::start(), tempfile::tempdir().unwrap());
    emulated_aws.set_parameter("/servers/hold", &json!(format!("{} new plugins", in_an_hour())));
    let mut first = held_agent(&emulated_aws, server.port, folder.path());
    first.process.wait_for(WAITS_FOR_A_HOLD);
    // It is told to end, in good order.
    assert_eq!(first.end().code(), Some(0));

    emulated_aws.set_parameter("/servers/hold", &json!(format!("{} big build", in_an_hour())));
    // The answer takes its time.
    emulated_aws.faults(&json!([{"action": "GetParameter", "delay_seconds": 3}]));
    let next = held_agent(&emulated_aws, server.port, folder.path());
    next.process.wait_for("No longer held: new plugins.");
    next.process.wait_for(": big build.");
    next.process.wait_for(WAITS_FOR_A_HOLD);
    assert_eq!(emulated_aws.stops().len(), 0);
}

#[test]
fn a_due_stop_waits_for_the_first_answer_about_a_remote_hold() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"action": "GetParameter", "code": "AccessDeniedException"}]));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 3.0, &[REMOTE_HOLD]));
    let line = agent.process.wait_for("warning: Cannot check SSM parameter /servers/hold");
    assert!(line.contains("allow ssm:GetParameter on /servers/hold"), "{line}");
    assert!(line.contains("A due stop waits up to 30 minutes for the answer."), "{line}");
    agent.process.wait_for("waits for the hold sources to answer.");
    agent.notices.wait_for_status("allow ssm:GetParameter on /servers/hold");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(emulated_aws.stops().len(), 0);

    // Without a hold it goes ahead at once.
    agent.config.write(&settings_of(&agent, REMOTE_HOLD, ""));
    agent.process.signal(rustix::process::Signal::HUP);
    agent.process.wait_for("EC2 accepted the stop");
}

#[test]
fn a_reload_drops_the_remote_hold_that_is_no_longer_asked_for_and_asks_for_the_other_at_once() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.set_parameter("/servers/hold", &json!(format!("{} new plugins", in_an_hour())));
    emulated_aws.set_parameter("/servers/hold2", &json!(format!("{} big build", in_an_hour())));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 4.0, &[REMOTE_HOLD]));
    agent.process.wait_for(WAITS_FOR_A_HOLD);
    let other = "hold.parameter = \"/servers/hold2\"";
    agent.config.write(&settings_of(&agent, REMOTE_HOLD, other));
    agent.process.signal(rustix::process::Signal::HUP);
    agent.process.wait_for("No longer held: new plugins.");
    agent.process.wait_for(": big build.");
    assert_eq!(emulated_aws.stops().len(), 0);
    emulated_aws.faults(&json!([{"action": "GetParameter", "code": "InternalServerError", "status": 500}]));
    agent.config.write(&settings_of(&agent, other, ""));
    agent.process.signal(rustix::process::Signal::HUP);
    agent.process.wait_for("No longer held: big build.");
    agent.process.wait_for("EC2 accepted the stop");
}

fn settings_of(agent: &Agent, before: &str, after: &str) -> String {
    std::fs::read_to_string(agent.config.path()).unwrap().replace(before, after)
}
