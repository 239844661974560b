//! What AWS is asked for and what becomes of its answers: the agent as a process, against AWS on loopback with faults.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

mod support;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};
use support::agent::{Agent, Silent, settings};
use support::check::check;
use support::lab::{self, Call, Lab, states};
use support::wait_until;

/// A window that no test waits for.
const LONG: f64 = 900.0;
/// A passing refusal is tried again within 7.5 s; what has not come by then does not come soon.
const PAST_THE_FIRST_RETRY: Duration = Duration::from_secs(9);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The agent in `lab`, with the credentials of the instance's role.
fn agent_in(lab: &Lab, text: &str) -> Agent {
    Agent::start(text, |command| lab.attach(command))
}

fn with_credentials<'a>(command: &'a mut Command, access_key: &str) -> &'a mut Command {
    command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", "secret")
}

/// The one call that ended the instance.
fn the_stop(lab: &Lab) -> Call {
    let stops = lab.stops();
    assert_eq!(stops.len(), 1, "{stops:?}");
    stops[0].clone()
}

#[test]
fn the_own_instance_is_stopped_when_the_window_ends_and_the_agent_stays_until_it_is_told_to_end() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    let mut agent = agent_in(&lab, &settings(Silent::start().port, 12.0, &["sample_seconds = 5"]));
    agent.process.wait_for("EC2 has agreed to stop this instance");

    let stop = the_stop(&lab);
    assert_eq!(stop.action, "StopInstances");
    assert_eq!(stop.params["InstanceId.1"], lab.instance_id);
    let others: Vec<&String> =
        stop.params.keys().filter(|key| !["InstanceId.1", "Version"].contains(&key.as_str())).collect();
    assert!(others.is_empty(), "no Force, no SkipOsShutdown, no Hibernate, no other instance; there was {others:?}");
    assert!(stop.access_key.starts_with("ASIA"), "the credentials of the instance's role; it was {}", stop.access_key);
    assert_eq!(lab.state(), "stopped");

    let heartbeats = lab.heartbeats();
    assert_eq!(states(&heartbeats), ["starting", "idle", "stopping"]);
    let forecast: Timestamp = heartbeats[1]["stop_at"].as_str().unwrap().parse().unwrap();
    let late = Duration::try_from_secs_f64(stop.at).unwrap().as_secs().cast_signed() - forecast.as_second();
    // Within one sample interval; the forecast is in whole seconds.
    assert!((-1..=6).contains(&late), "the stop came {late} s after the end of the window");
    let final_heartbeat = lab.calls().iter().rposition(|call| call.action == "PutParameter");
    let request = lab.calls().iter().position(Call::is_real);
    assert!(final_heartbeat < request, "the final heartbeat is written before the request");

    agent.notices.wait_for_status("EC2 has agreed to stop this instance; waiting for the shutdown.");
    assert!(agent.process.runs());
    assert_eq!(agent.end().code(), Some(0));
    agent.notices.wait_for("STOPPING=1");
    assert_eq!(states(&lab.heartbeats()), ["starting", "idle", "stopping"], "a stop under way has the last word");
}

#[test]
fn all_goes_by_tls_where_the_authority_is_known_and_nothing_where_it_is_not() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start_with(&["--tls", folder.path().to_str().unwrap()]);
    let text = settings(Silent::start().port, 3.0, &[]);
    let by_tls = |command: &mut Command| {
        lab.attach(command);
        command.env("AWS_ENDPOINT_URL", lab.tls_endpoint.as_ref().unwrap());
    };

    let stranger = Agent::start(&text, by_tls);
    let told = stranger.process.wait_for("UnknownIssuer");
    assert!(told.contains("warning") || told.contains("error"), "{told}");
    assert!(lab.calls().is_empty(), "{:?}", lab.calls());
    drop(stranger);

    let agent = Agent::start(&text, |command| {
        by_tls(command);
        command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
    });
    agent.process.wait_for("EC2 has agreed to stop this instance");
    assert_eq!(the_stop(&lab).action, "StopInstances");
    assert_eq!(states(&lab.heartbeats()).last(), Some(&"stopping"));
}

#[test]
fn the_request_goes_out_over_a_connection_that_is_already_open() {
    let (port, requests) = support::ec2::start();
    let here = "aws.region = \"eu-west-1\"\naws.instance_id = \"i-0123456789abcdef0\"\nheartbeat.parameter = \"\"";
    let text = settings(Silent::start().port, 3.0, &[here]);
    let agent = Agent::start(&text, |command| {
        with_credentials(command, "AKIAEXAMPLE").env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    });
    agent.process.wait_for("EC2 has agreed to stop this instance");
    let requests = requests.lock().unwrap().clone();
    let [_own_at_start, _other_at_start, (warmed, question), (used, request)] = &requests[..] else {
        panic!("{requests:?}")
    };
    assert!(question.contains("DryRun=true") && !request.contains("DryRun"), "{requests:?}");
    assert_eq!(warmed, used, "nothing stands between the last look and the request, not even a handshake");
}

#[test]
fn hibernation_is_asked_for_by_its_flag() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    let agent = agent_in(&lab, &settings(Silent::start().port, 3.0, &["action = \"hibernate\""]));
    agent.process.wait_for("EC2 has agreed to hibernate this instance");
    let stop = the_stop(&lab);
    assert_eq!((stop.action.as_str(), &stop.params["Hibernate"]), ("StopInstances", &json!("true")));
    assert_eq!(stop.params["InstanceId.1"], lab.instance_id);
    assert!(!stop.params.contains_key("Force"), "{stop:?}");
}

#[test]
fn termination_is_asked_for_as_such_and_nothing_is_stopped() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    let agent = agent_in(&lab, &settings(Silent::start().port, 3.0, &["action = \"terminate\""]));
    agent.process.wait_for("EC2 has agreed to terminate this instance");
    let stop = the_stop(&lab);
    assert_eq!((stop.action.as_str(), &stop.params["InstanceId.1"]), ("TerminateInstances", &json!(lab.instance_id)));
    assert!(lab.calls().iter().all(|call| call.action != "StopInstances"), "not even as a question");
    assert_eq!(lab.state(), "terminated");
}

#[test]
fn a_player_who_joins_in_the_last_moment_holds_the_stop_off_until_gone() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let (lab, server) = (Lab::start(), Silent::start());
    let agent = agent_in(&lab, &settings(server.port, 6.0, &[]));
    agent.notices.wait_for_countdown(2);
    let joining = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let said = format!("The idle window of 6 s is over, but a connection to port {} is open that may be", server.port);
    agent.process.wait_for(&said);
    agent.notices.wait_for_status(&said);
    thread::sleep(Duration::from_secs(3));
    assert_eq!((lab.stops().len(), lab.state().as_str()), (0, "running"));
    assert_eq!(states(&lab.heartbeats()), ["starting", "idle", "due"]);

    let gone = now();
    drop(joining);
    agent.process.wait_for("EC2 has agreed to stop this instance");
    assert!(the_stop(&lab).at > gone);
    assert_eq!(lab.state(), "stopped");
}

/// Starts an agent for each of `rules` in one AWS, all at once. Each agent meets its own rule at its first real call, once.
/// An agent's access key, which is also in its calls, tells whose they are, and its heartbeats have a parameter of their own.
fn one_agent_each(lab: &Lab, rules: &[Value]) -> Vec<(String, Agent)> {
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
    lab.faults(&Value::from(rules.clone()));
    let start = |number| {
        let key = key_of(number);
        let own_parameter = format!("heartbeat.parameter = \"{}\"", parameter_of(&key));
        let agent = Agent::start(&settings(Silent::start().port, 3.0, &[&own_parameter]), |command| {
            lab.attach(with_credentials(command, &key));
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

fn stops_of(lab: &Lab, key: &str) -> Vec<Call> {
    lab.stops().into_iter().filter(|call| call.access_key == key).collect()
}

#[test]
fn a_stop_that_fails_for_a_passing_reason_is_tried_again_later_one_call_each_time() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let rules = [
        json!({"code": "RequestLimitExceeded"}),
        json!({"code": "InternalError", "status": 500}),
        json!({"code": "Unavailable", "status": 503}),
        json!({"code": "IncorrectInstanceState"}),
        json!({"reset": true}),
        json!({"hang": true}),
    ];
    let lab = Lab::start();
    let mut met = BTreeSet::new();
    for (key, mut agent) in one_agent_each(&lab, &rules) {
        agent.process.wait_for("EC2 has agreed to stop this instance");
        let stops = stops_of(&lab, &key);
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
        let heartbeats = lab.parameter(&parameter_of(&key));
        assert_eq!(without_idle(&heartbeats), ["starting", "stopping", "stop-failed", "stopping"], "{fault}");
        assert!(agent.process.runs(), "{fault}");
        met.insert(fault);
    }
    assert_eq!(met, names(&rules));
    assert_eq!(lab.state(), "stopped");
}

#[test]
fn a_stop_that_is_refused_for_good_is_an_error_that_says_what_to_change_and_is_not_hammered() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let rules = [
        json!({"code": "UnauthorizedOperation"}),
        json!({"code": "OperationNotPermitted"}),
        json!({"code": "UnsupportedOperation"}),
        json!({"code": "InvalidInstanceID.NotFound"}),
        json!({"code": "InvalidInstanceID.Malformed"}),
    ];
    let lab = Lab::start();
    let mut agents = one_agent_each(&lab, &rules);
    for (_, agent) in &agents {
        agent.process.wait_for("error: The stop failed: EC2 answered");
    }
    thread::sleep(PAST_THE_FIRST_RETRY);
    let mut met = BTreeSet::new();
    for (key, agent) in &mut agents {
        let stops = stops_of(&lab, key);
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
        let heartbeats = lab.parameter(&parameter_of(key));
        assert_eq!(without_idle(&heartbeats), ["starting", "stopping", "stop-failed"], "{code}");
        let why = heartbeats.last().unwrap()["why"].as_str().unwrap();
        assert!(why.contains(advice), "{why}");
        assert!(agent.process.runs(), "{code}");
        met.insert(code);
    }
    assert_eq!(met, names(&rules));
    assert_eq!(lab.state(), "running");
}

#[test]
fn what_ec2_will_refuse_is_an_error_at_the_start_and_not_only_when_the_window_is_over() {
    skip_unless!(lab::installed(), lab::NEEDS);
    for (code, advice) in [
        ("UnauthorizedOperation", "allow ec2:StopInstances on this instance"),
        ("OperationNotPermitted", "stop protection (disableApiStop) is on"),
        ("UnsupportedOperation", "a one-time spot request, an instance-store root"),
    ] {
        let lab = Lab::start();
        lab.faults(&json!([{"action": "StopInstances", "dry_run": true, "code": code}]));
        let agent = agent_in(&lab, &settings(Silent::start().port, LONG, &[]));
        let said = format!("error: When the time comes the stop will fail: EC2 answered {code}");
        let line = agent.process.wait_for(&said);
        assert!(line.contains(advice), "{line}");
        let status = agent.notices.wait_for_status("When the time comes the stop will fail");
        assert!(status.contains("Nobody plays") && status.contains(advice), "{status}");
        assert!(lab.stops().is_empty());
    }
}

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
    assert!(asked.elapsed() < Duration::from_secs(5), "the end took {:?}", asked.elapsed());
    agent.notices.wait_for("STOPPING=1");
}

#[test]
fn a_cloud_that_never_answers_delays_neither_samples_nor_the_end() {
    let (mut agent, cloud) = agent_with_a_silent_cloud(LONG);
    agent.notices.wait_for("READY=1");
    wait_until("EC2 and SSM are asked", || (cloud.accepted() >= 2).then_some(()));
    agent.notices.assert_alive_for(Duration::from_secs(5));
    assert_ends_promptly(&mut agent);
}

#[test]
fn a_stop_that_hangs_delays_neither_samples_nor_the_end() {
    let (mut agent, cloud) = agent_with_a_silent_cloud(2.0);
    agent.notices.wait_for_status("about to ask EC2 to stop this instance");
    let before = cloud.accepted();
    // Past the patience with the final heartbeat, so that the request itself hangs.
    agent.notices.assert_alive_for(Duration::from_secs(8));
    assert!(cloud.accepted() > before, "the request was never made");
    assert!(agent.notices.status().contains("about to ask EC2 to stop this instance"), "{}", agent.notices.status());
    assert_ends_promptly(&mut agent);
}

/// One agent whose window ends while SSM refuses every write with `code`, and one whose window does not end and whose
/// heartbeats come back when SSM does. Under throttling that takes two intervals: 20 s.
fn heartbeats_are_refused(code: &str, advice: &str) {
    let lab = Lab::start();
    lab.faults(&json!([{"action": "PutParameter", "code": code}]));
    let text = |seconds, parameter| {
        let parameter = format!("heartbeat.parameter = \"{parameter}\"");
        settings(Silent::start().port, seconds, &["heartbeat.seconds = 10", &parameter])
    };
    let (stopping, staying) = (agent_in(&lab, &text(3.0, "/stopping")), agent_in(&lab, &text(LONG, "/staying")));
    for agent in [&stopping, &staying] {
        let line = agent.process.wait_for(&format!("warning: Heartbeats are not written: SSM answered {code}"));
        assert!(line.contains(advice), "{line}");
        agent.notices.wait_for_status(&format!("Heartbeats are not written: SSM answered {code}"));
    }
    stopping.process.wait_for("EC2 has agreed to stop this instance");
    assert_eq!(lab.state(), "stopped");
    assert!(lab.parameter("/stopping").is_empty() && lab.parameter("/staying").is_empty());

    lab.faults(&json!([]));
    staying.process.wait_for("Heartbeats are written again.");
    assert!(!lab.parameter("/staying").is_empty());
    wait_until("the status is clean again", || (!staying.notices.status().contains("not written")).then_some(()));
}

#[test]
fn heartbeats_that_are_refused_are_told_of_and_do_not_keep_the_stop_back() {
    skip_unless!(lab::installed(), lab::NEEDS);
    thread::scope(|scope| {
        scope.spawn(|| heartbeats_are_refused("ThrottlingException", "heartbeats slow down"));
        scope.spawn(|| heartbeats_are_refused("TooManyUpdates", "heartbeats slow down"));
        scope.spawn(|| heartbeats_are_refused("AccessDeniedException", "allow ssm:PutParameter on /st"));
    });
}

#[test]
fn a_heartbeat_is_small_and_flat_and_names_no_peer_and_the_last_one_says_ended() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let (lab, server) = (Lab::start(), Silent::start());
    let player = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let settings = settings(
        server.port,
        LONG,
        &["minecraft.min_connection_seconds = 0", "heartbeat.instance_id_parameter = \"/servers/one/instance-id\""],
    );
    let mut agent = agent_in(&lab, &settings);
    wait_until("the player is told of", || states(&lab.heartbeats()).contains(&"occupied").then_some(()));
    assert_eq!(agent.end().code(), Some(0));

    let heartbeats = lab.heartbeats();
    assert_eq!(states(&heartbeats), ["starting", "occupied", "ended"]);
    assert_eq!(heartbeats[1]["players"], 1);
    let written: Vec<Call> = lab.calls().into_iter().filter(|call| call.action == "PutParameter").collect();
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
        assert_eq!(heartbeat["instance_id"], lab.instance_id);
    }
    assert_eq!(lab.parameter("/servers/one/instance-id"), [json!(lab.instance_id)]);
}

#[test]
fn check_passes_when_a_stop_would_work_and_stops_nothing() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.faults(&json!([lab::narrow_role()]));
    let checked = check(&settings(Silent::start().port, LONG, &[]), |command| lab.attach(command));
    assert_eq!((checked.code, checked.marked("FAILED")), (Some(0), vec![]), "{checked:#?}");
    assert!(checked.says("ok", &lab.instance_id) && checked.says("ok", "ec2:StopInstances"), "{checked:#?}");
    assert_eq!(lab.heartbeats().len(), 1);
    assert_eq!((lab.stops().len(), lab.state().as_str()), (0, "running"));
}

#[test]
fn check_fails_with_a_line_for_each_thing_that_is_missing() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.faults(&json!([
        {"action": "StopInstances", "code": "UnauthorizedOperation"},
        {"action": "PutParameter", "code": "AccessDeniedException"},
    ]));
    let checked = check(&settings(Silent::start().port, LONG, &[]), |command| lab.attach(command));
    assert_eq!(checked.code, Some(1), "{checked:#?}");
    assert!(checked.says("FAILED", "allow ec2:StopInstances on this instance"), "{checked:#?}");
    assert!(checked.says("FAILED", "allow ssm:PutParameter on /mc-idle/"), "{checked:#?}");
    assert!(checked.says("ok", "listener"), "what works is told as well: {checked:#?}");

    lab.faults(&json!([lab::narrow_role()]));
    let free_port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let checked = check(&settings(free_port, LONG, &[]), |command| lab.attach(command));
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
    assert!(checked.says("not run", "clock: EC2 has not told its time"), "{checked:#?}");
}

#[test]
fn where_a_stop_is_something_else_is_told_at_the_start() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.metadata("instance-life-cycle", &json!("spot"));
    lab.metadata("autoscaling/target-lifecycle-state", &json!("InService"));
    lab.metadata("ami-manifest-path", &json!("images/minecraft.manifest.xml"));
    let agent = agent_in(&lab, &settings(Silent::start().port, 600.0, &[]));
    // The emulator allows every call on every instance.
    for said in ["spot request is persistent", "Auto Scaling group", "instance store", "may stop other instances too"] {
        let line = agent.process.wait_for(said);
        assert!(line.contains(" warning: "), "{line}");
        agent.notices.wait_for_status(said);
    }
}

#[test]
fn an_instance_like_any_other_is_told_of_nothing_and_a_narrow_role_neither() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    // What EC2 says to a role that may stop its own instance only.
    lab.faults(
        &json!([{"action": "StopInstances", "instance_id": "i-00000000000000000", "code": "UnauthorizedOperation"}]),
    );
    let mut agent = agent_in(&lab, &settings(Silent::start().port, 3.0, &[]));
    agent.process.wait_for("EC2 has agreed to stop this instance");
    assert_eq!(agent.end().code(), Some(0));
    let warnings: Vec<_> = agent.process.output().into_iter().filter(|line| line.contains(" warning: ")).collect();
    assert_eq!(warnings, Vec::<String>::new());
    let other: Vec<_> = lab
        .calls()
        .into_iter()
        .filter(|call| call.params.get("InstanceId.1") != Some(&json!(lab.instance_id)))
        .collect();
    assert!(other.iter().all(|call| call.action == "PutParameter" || call.params.contains_key("DryRun")), "{other:?}");
}

#[test]
fn no_stop_is_asked_for_while_ec2_takes_the_spot_instance_back_and_the_reason_is_written() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.metadata("instance-life-cycle", &json!("spot"));
    let agent = agent_in(&lab, &settings(Silent::start().port, 12.0, &[]));
    agent.process.wait_for("spot request is persistent");
    lab.metadata("spot/instance-action", &json!(r#"{"action": "terminate", "time": "2026-11-22T21:40:00Z"}"#));
    let told = "EC2 takes this spot instance back and terminates it at 21:40 UTC";
    agent.process.wait_for(told);
    agent.notices.wait_for_status("the stop is left to EC2");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(lab.stops().len(), 0);
    let reason = |beat: &Value| beat["why"].as_str().is_some_and(|why| why.starts_with(told));
    assert!(lab.heartbeats().iter().any(reason), "{:?}", lab.heartbeats());
    // It is not taken back after all.
    lab.metadata("spot/instance-action", &Value::Null);
    agent.process.wait_for("EC2 no longer says that it takes this instance back.");
    agent.process.wait_for("EC2 has agreed to stop this instance");
}

#[test]
fn a_parameter_holds_the_instance_from_afar() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.set_parameter("/servers/hold", &json!("2100-01-01T00:00:00Z new plugins"));
    let held = "hold.parameter = \"/servers/hold\"";
    let agent = agent_in(&lab, &settings(Silent::start().port, 6.0, &[held]));
    agent.process.wait_for("Held from afar until 2100-01-01 00:00 UTC: new plugins.");
    agent.process.wait_for("but the stop waits for the end of a hold.");
    assert_eq!(lab.stops().len(), 0);
    let beat = wait_until("the heartbeat tells", || {
        lab.heartbeats().pop().filter(|beat| beat["hold_reason"] == "new plugins")
    });
    assert_eq!(beat["held_until"].as_str().map(|until| &until[..10]), Some("2100-01-01"), "{beat}");
    // It is read every minute, and at once when its name changes.
    lab.set_parameter("/servers/hold", &Value::Null);
    agent.config.write(&settings_of(&agent, held, "hold.parameter = \"/servers/hold2\""));
    agent.process.signal(rustix::process::Signal::HUP);
    agent.process.wait_for("No longer held: new plugins.");
    agent.process.wait_for("EC2 has agreed to stop this instance");
}

#[test]
fn a_parameter_that_cannot_be_read_changes_nothing_and_is_told() {
    skip_unless!(lab::installed(), lab::NEEDS);
    let lab = Lab::start();
    lab.faults(&json!([{"action": "GetParameter", "code": "AccessDeniedException"}]));
    let agent = agent_in(&lab, &settings(Silent::start().port, 4.0, &["hold.parameter = \"/servers/hold\""]));
    let line = agent.process.wait_for("A hold may be overlooked");
    assert!(line.contains("allow ssm:GetParameter on /servers/hold"), "{line}");
    agent.process.wait_for("EC2 has agreed to stop this instance");
}

fn settings_of(agent: &Agent, before: &str, after: &str) -> String {
    std::fs::read_to_string(agent.config.path()).unwrap().replace(before, after)
}
