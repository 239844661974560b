//! The dead-man's switch on real parts: the real agent, a server and a player that others wrote, and the launcher, with hours
//! made seconds. Only AWS is a stand-in, since no emulator has an instance whose address is this machine's.

use std::process::Command;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::{AgentState, Heartbeat};
use rustix::process::Signal;
use serde_json::Value;

use crate::launcher::{Launcher, OFTEN};
use crate::skip_unless;
use crate::stand_in::{Fault, INSTANCE, StandIn, full, now};
use crate::support::peers::{self, Server};
use crate::support::{self, Config, Process, emulated_aws, wait_until};
use crate::telling::heartbeat;

/// Ten minutes, ten minutes and six hours, in seconds.
const SOON: [(&str, &str); 3] =
    [("MC_GRACE_MINUTES", "0.01"), ("MC_DEAD_ALARM_MINUTES", "0.01"), ("MC_DEAD_STOP_HOURS", "0.003")];

fn launcher(ec2: &StandIn, port: u16) -> Launcher {
    let port = port.to_string();
    let mut settings = SOON.to_vec();
    settings.push(("MC_PORT", &port));
    Launcher::start(ec2, OFTEN, &settings)
}

/// The agent beside `server`, with `ec2` for AWS.
fn agent(ec2: &StandIn, server: &Server) -> (Process, Config) {
    let config = Config::new(&format!(
        "idle_minutes = 30\nsample_seconds = 1\nminecraft.ports = [{}]\nefs.mount_point = \"\"\n\
         aws.region = \"eu-central-1\"\naws.instance_id = \"{INSTANCE}\"\n\
         heartbeat.parameter = \"{}\"\nheartbeat.seconds = 10\n",
        server.port,
        full("heartbeat")
    ));
    let mut command: Command = support::run(&config);
    command.env("AWS_ENDPOINT_URL", ec2.url());
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    (Process::start(&mut command), config)
}

fn until_reported(ec2: &StandIn) {
    wait_until("the agent has reported", || ec2.get("heartbeat").filter(|text| text.contains("\"listening\":true")));
}

/// Waits for a line of the launcher for longer than anything else takes.
fn until_said(launcher: &Launcher, words: &str) {
    for _ in 0..4 {
        let said = || launcher.process.output().iter().any(|line| line.contains(words));
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while std::time::Instant::now() < until {
            if said() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    panic!("the launcher did not say {words:?}:\n{}", launcher.process.output().join("\n"));
}

const ALARM: &str = "so nobody stops it when it is empty";

#[test]
fn an_agent_that_is_killed_is_told_and_then_nobody_pays_for_an_empty_machine() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (ec2, server) = (StandIn::start("running"), Server::start(Some("127.0.0.1")));
    let launcher = launcher(&ec2, server.port);
    let (agent, _config) = agent(&ec2, &server);
    until_reported(&ec2);
    // While it lives nothing is told and nothing stopped.
    thread::sleep(Duration::from_secs(30));
    assert!(!launcher.process.output().iter().any(|line| line.contains(ALARM)), "{:?}", launcher.process.output());
    agent.signal(Signal::KILL);
    until_said(&launcher, &format!("mc-idle on {INSTANCE} reports no more, {ALARM}. It is stopped at "));
    assert_eq!(ec2.stops(), [""; 0], "before its hour");
    until_said(&launcher, &format!("stopped {INSTANCE}, which mc-idle no longer watched, and where nobody played"));
    assert_eq!(ec2.stops(), [INSTANCE]);
    wait_until("it has stopped", || (ec2.instance().state == "stopped").then_some(()));
}

#[test]
fn a_player_is_never_cut_off_though_the_agent_is_dead() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (ec2, server) = (StandIn::start("running"), Server::start(Some("127.0.0.1")));
    let mut player = peers::join(&server, "127.0.0.1", "alex");
    let launcher = launcher(&ec2, server.port);
    let (agent, _config) = agent(&ec2, &server);
    until_reported(&ec2);
    agent.signal(Signal::KILL);
    until_said(&launcher, ALARM);
    until_said(&launcher, "Online(1), Online(1): Leave");
    assert_eq!(ec2.stops(), [""; 0]);
    assert!(player.runs());
}

/// What needs neither agent nor player: one look at many cases side by side, each with an AWS of its own.
#[test]
fn what_is_not_known_stops_nothing_and_what_is_dead_is_stopped() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let server = Server::start(Some("127.0.0.1"));
    let port = server.port;
    thread::scope(|scope| {
        scope.spawn(|| no_answer_is_not_zero(&launcher_with(&StandIn::start("running"), 1)));
        scope.spawn(|| an_orphan_is_watched_as_well(port));
        scope.spawn(|| one_that_cannot_stop_its_instance_is_as_good_as_dead(port));
        scope.spawn(|| unreadable_is_unknown(port));
        scope.spawn(|| a_hold_puts_it_off(port));
        scope.spawn(|| a_hold_that_makes_no_sense_is_one_of_seven_days(port));
        scope.spawn(|| a_hold_is_seen_even_while_the_game_is_asked(port));
        scope.spawn(|| one_that_has_just_started_is_left_alone(port));
        scope.spawn(|| a_stop_that_ec2_refuses_is_told_once_and_tried_again(port));
        scope.spawn(|| a_clock_that_is_hours_off_does_not_matter(port, -9));
        scope.spawn(|| a_clock_that_is_hours_off_does_not_matter(port, 9));
    });
}

fn launcher_with(ec2: &StandIn, port: u16) -> (StandIn, Launcher) {
    (ec2.clone(), launcher(ec2, port))
}

/// No game, no agent: left alone when the hours are over, announced when three times as many are, stopped after four times.
fn no_answer_is_not_zero((ec2, launcher): &(StandIn, Launcher)) {
    until_said(launcher, ALARM);
    // An hour's notice cannot be given within seconds: it comes with the first question.
    until_said(launcher, "NoAnswer, NoAnswer: Announce");
    until_said(launcher, "neither mc-idle nor the game on");
    until_said(launcher, "NoAnswer, NoAnswer: Leave");
    assert_eq!(ec2.stops(), [""; 0]);
    // An hour passes, as far as the warden remembers. A look that goes on must not write over that.
    ec2.fail("PutParameter told", Fault::Code("InternalServerError"));
    let mut memory: Value = serde_json::from_str(&ec2.get("told").unwrap()).unwrap();
    let case = &mut memory["cases"][0];
    assert!(case["announced_at"].is_string(), "{case}");
    let earlier = now().checked_sub(Duration::from_hours(2)).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    case["announced_at"] = earlier.clone().into();
    case["alarmed_at"] = earlier.into();
    ec2.put("told", &memory.to_string());
    until_said(
        launcher,
        &format!("stopped {INSTANCE}, which mc-idle no longer watched, and whose game did not answer for long"),
    );
    assert_eq!(ec2.stops()[0], INSTANCE);
}

fn a_stop_that_ec2_refuses_is_told_once_and_tried_again(port: u16) {
    let ec2 = StandIn::start("running");
    ec2.fail("StopInstances", Fault::Code("OperationNotPermitted"));
    let launcher = launcher(&ec2, port);
    let count = |words: &str| launcher.process.output().iter().filter(|line| line.contains(words)).count();
    for tries in 1..=2 {
        until_said(&launcher, "Online(0), Online(0): Stop");
        let until = std::time::Instant::now() + Duration::from_secs(240);
        while ec2.stops().len() < tries && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(100));
        }
    }
    until_said(&launcher, "the warden could not look: cannot stop");
    assert_eq!((ec2.stops().len() >= 2, count("should be stopped, and cannot be")), (true, 1));
    ec2.mend();
    until_said(&launcher, &format!("stopped {INSTANCE}, which mc-idle no longer watched, and where nobody played"));
}

fn an_orphan_is_watched_as_well(port: u16) {
    let ec2 = StandIn::start("running");
    ec2.put("instance-id", "i-00000000000000001");
    let launcher = launcher(&ec2, port);
    until_said(&launcher, &format!("mc-idle on {INSTANCE} has not reported since this start"));
    until_said(&launcher, &format!("stopped {INSTANCE}"));
    assert_eq!(ec2.stops(), [INSTANCE]);
}

fn one_that_cannot_stop_its_instance_is_as_good_as_dead(port: u16) {
    let ec2 = StandIn::start("running");
    heartbeat(&ec2, AgentState::StopFailed, 0);
    let launcher = launcher(&ec2, port);
    until_said(&launcher, "has long been unable to see who plays or to stop the instance");
    until_said(&launcher, &format!("stopped {INSTANCE}"));
    assert_eq!(ec2.stops(), [INSTANCE]);
}

fn unreadable_is_unknown(port: u16) {
    let ec2 = StandIn::start("running");
    ec2.fail("GetParameter heartbeat", Fault::Code("AccessDeniedException"));
    let launcher = launcher(&ec2, port);
    until_said(&launcher, "cannot see whether mc-idle on");
    until_said(&launcher, "allow ssm:GetParameter on /mc-idle/survival/heartbeat");
    thread::sleep(Duration::from_secs(70));
    assert_eq!(ec2.stops(), [""; 0]);
    assert!(!launcher.process.output().iter().any(|line| line.contains(ALARM)));
}

fn a_hold_puts_it_off(port: u16) {
    let ec2 = StandIn::start("running");
    let until = now().checked_add(Duration::from_hours(5)).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    ec2.put("hold", &format!("{until} a backup"));
    let launcher = launcher(&ec2, port);
    let said = until.replace('T', " ");
    until_said(&launcher, &format!("It is stopped at {} UTC", &said[..16]));
    thread::sleep(Duration::from_secs(70));
    assert_eq!(ec2.stops(), [""; 0]);
}

fn a_hold_that_makes_no_sense_is_one_of_seven_days(port: u16) {
    let ec2 = StandIn::start("running");
    crate::stand_in::within_a_day();
    ec2.put("hold", "2h because of a backup");
    let launcher = launcher(&ec2, port);
    let until = now().checked_add(Duration::from_hours(7 * 24)).unwrap().strftime("%Y-%m-%d").to_string();
    until_said(&launcher, &format!("It is stopped at {until}"));
    assert_eq!(ec2.stops(), [""; 0]);
}

fn a_hold_is_seen_even_while_the_game_is_asked(port: u16) {
    let ec2 = StandIn::start("running");
    let launcher = launcher(&ec2, port);
    until_said(&launcher, ALARM);
    // Its hour comes after 11 s; then the game is asked twice, half a minute apart.
    thread::sleep(Duration::from_secs(26));
    let until = now().checked_add(Duration::from_hours(5)).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    ec2.put("hold", &until);
    until_said(&launcher, "Online(0), Online(0): Leave");
    assert_eq!(ec2.stops(), [""; 0]);
}

fn one_that_has_just_started_is_left_alone(port: u16) {
    let ec2 = StandIn::start("running");
    ec2.state().machines[0].launch_time = now();
    let launcher = Launcher::start(
        &ec2,
        OFTEN,
        &[("MC_PORT", &port.to_string()), ("MC_DEAD_ALARM_MINUTES", "0.01"), ("MC_DEAD_STOP_HOURS", "0.001")],
    );
    thread::sleep(Duration::from_secs(70));
    assert!(!launcher.process.output().iter().any(|line| line.contains(ALARM)));
    assert_eq!(ec2.stops(), [""; 0]);
}

fn a_clock_that_is_hours_off_does_not_matter(port: u16, hours: i64) {
    let ec2 = StandIn::start("running");
    let example = Heartbeat::parse(include_str!("../../shared/heartbeat/examples/idle.json")).unwrap();
    let at: Timestamp = now().checked_add(jiff::SignedDuration::from_hours(hours)).unwrap();
    let next_by = at.checked_add(Duration::from_mins(10)).unwrap();
    ec2.put("heartbeat", &Heartbeat { at, next_by, ..example }.text());
    let launcher = launcher(&ec2, port);
    thread::sleep(Duration::from_secs(35));
    assert_eq!(launcher.status()["state"], "up");
    assert!(!launcher.process.output().iter().any(|line| line.contains(ALARM)));
    // With such a clock it falls silent as any other does: SSM's time counts.
    let (text, _) = ec2.state().parameters[&full("heartbeat")].clone();
    let old = now().checked_sub(Duration::from_mins(30)).unwrap();
    ec2.state().parameters.insert(full("heartbeat"), (text, old));
    until_said(&launcher, ALARM);
}
