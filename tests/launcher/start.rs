//! A press of the button, by the real program and the real SDK.

use std::thread;
use std::time::Duration;

use mc_heartbeat::AgentState;

use crate::launcher::{ALEX, KEY, Launcher, OFTEN, SELDOM};
use crate::stand_in::{Fault, INSTANCE, StandIn};
use crate::support::wait_until;
use crate::telling::heartbeat;

const LAUNCH: &[(&str, &str)] = &[("MC_MODE", "launch"), ("MC_LAUNCH_TEMPLATE", "lt-0123456789abcdef0:1")];

#[test]
fn a_friend_comes_by_the_invitation_and_presses_start() {
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    assert_eq!(launcher.get("/status", &[]).json()["state"], "asleep");
    let invitation = launcher.get(&format!("/i/{KEY}"), &[]);
    assert_eq!((invitation.status, invitation.header("location")), (303, Some("/")));
    let (cookie, origin) = (invitation.cookie(), launcher.origin());
    let page = launcher.get("/", &[("cookie", &cookie)]);
    assert!(page.body.contains("Start the server"), "{}", page.body);
    let form = "application/x-www-form-urlencoded";
    let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str()), ("content-type", form)];
    let pressed = launcher.send("POST", "/start", &headers, "");
    assert_eq!((pressed.status, pressed.header("location")), (303, Some("/")), "{pressed:?}");
    let page = launcher.get("/", &[("cookie", &cookie)]);
    assert!(page.body.contains("starting") && !page.body.contains("<form"), "{}", page.body);
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    assert_eq!(ec2.count("StartInstances"), 1);
}

#[test]
fn a_start_is_accepted_once_and_asked_for_as_often_as_one_likes() {
    let ec2 = StandIn::start("stopped");
    ec2.state().boots = Duration::from_secs(600);
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    let (first, second) = (launcher.press(), launcher.press());
    assert_eq!((first.status, first.json()["state"].as_str()), (202, Some("starting")), "{first:?}");
    assert_eq!((second.status, second.json()["state"].as_str()), (202, Some("starting")), "{second:?}");
    assert_eq!(ec2.count("StartInstances"), 1);
    ec2.set("running");
    let heartbeat = include_str!("../../shared/heartbeat/examples/occupied.json");
    ec2.put("heartbeat", heartbeat);
    let third = launcher.press();
    assert_eq!((third.status, third.json()["state"].as_str()), (200, Some("up")), "{third:?}");
    assert_eq!(ec2.count("StartInstances"), 1);
}

/// Every answer of EC2 to a start, with its words and its status.
#[test]
fn each_refusal_of_ec2_is_told_in_its_own_words() {
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    let cookie = launcher.get(&format!("/i/{KEY}"), &[]).cookie();
    let origin = launcher.origin();
    for (code, status, words) in [
        ("IncorrectSpotRequestState", 503, "not ready to start this spot instance again"),
        ("UnsupportedOperation", 503, "one-time spot instance"),
        ("InsufficientInstanceCapacity", 503, "no free machine of this type"),
        ("InvalidInstanceID.NotFound", 503, "instance is gone"),
        ("UnauthorizedOperation", 503, "may not start this instance"),
        ("RequestLimitExceeded", 503, "too many calls"),
        ("InternalError", 503, "EC2 did not start the server"),
        ("IncorrectInstanceState", 202, "The server is asleep, and is about to start"),
    ] {
        ec2.fail("StartInstances", Fault::Code(code));
        let pressed = launcher.press();
        let why = pressed.json()["why"].as_str().unwrap().to_owned();
        assert_eq!(pressed.status, status, "{code}: {pressed:?}");
        assert!(why.contains(words), "{code}: {why}");
        let form = "application/x-www-form-urlencoded";
        let headers = [("cookie", cookie.as_str()), ("origin", origin.as_str()), ("content-type", form)];
        let page = launcher.send("POST", "/start", &headers, "");
        if status == 202 {
            assert_eq!(page.status, 303, "{code}: {page:?}");
            assert!(ec2.get("wanted").unwrap().contains(INSTANCE), "the wish is kept");
        } else {
            assert_eq!(page.status, status, "{code}: {page:?}");
            assert!(page.body.contains(words) && page.body.contains("<!DOCTYPE html>"), "{code}: {}", page.body);
        }
    }
    assert_eq!(ec2.instance().state, "stopped");
}

#[test]
fn while_it_stops_a_start_is_remembered_and_served_once() {
    let ec2 = StandIn::start("stopping");
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    let pressed = launcher.press();
    assert_eq!((pressed.status, pressed.json()["state"].as_str()), (202, Some("stopping")), "{pressed:?}");
    // Several looks of the warden.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ec2.count("StartInstances"), 0);
    ec2.set("stopped");
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    assert_eq!((ec2.count("StartInstances"), ec2.get("wanted").as_deref()), (1, Some("none")));
    // Somebody stops it again: the wish was served.
    ec2.set("stopped");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(ec2.count("StartInstances"), 1);
}

/// As a persistent spot request does for a minute or two after its instance has stopped.
#[test]
fn a_start_that_was_waited_for_and_that_ec2_is_not_ready_for_is_tried_again() {
    let ec2 = StandIn::start("stopping");
    let launcher = Launcher::start(&ec2, OFTEN, &[]);
    assert_eq!(launcher.press().status, 202);
    let [spot, throttled] = ["IncorrectSpotRequestState", "RequestLimitExceeded"].map(|code| Some(Fault::Code(code)));
    ec2.state().faults.insert("StartInstances", [spot, throttled, None].into());
    ec2.set("stopped");
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    assert_eq!((ec2.count("StartInstances"), ec2.get("wanted").as_deref()), (3, Some("none")));
}

/// The agent has said that it stops its instance, and EC2 does not show that yet.
#[test]
fn a_press_right_before_ec2_shows_the_stop_is_served_as_well() {
    for settings in [&[][..], LAUNCH] {
        let ec2 = StandIn::start("running");
        heartbeat(&ec2, AgentState::Stopping, 0);
        let launcher = Launcher::start(&ec2, OFTEN, settings);
        let pressed = launcher.press();
        assert_eq!((pressed.status, pressed.json()["state"].as_str()), (202, Some("stopping")), "{pressed:?}");
        // Several looks of the warden.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(ec2.count("StartInstances"), 0);
        ec2.set("stopping");
        thread::sleep(Duration::from_secs(2));
        ec2.set("stopped");
        wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
        assert_eq!((ec2.count("StartInstances"), ec2.get("wanted").as_deref()), (1, Some("none")));
    }
}

#[test]
fn a_budget_that_is_used_up_starts_nothing_and_says_until_when() {
    for (setting, usage, words) in [
        (("MC_STARTS_PER_DAY", "2"), starts(2, 0), "today's 2 starts are used up until "),
        (("MC_HOURS_PER_MONTH", "3"), starts(1, 4 * 3600), "this month's 3 hours are used up until "),
    ] {
        let ec2 = StandIn::start("stopped");
        ec2.put("starts", &usage);
        let launcher = Launcher::start(&ec2, SELDOM, &[setting]);
        let pressed = launcher.press();
        let why = pressed.json()["why"].as_str().unwrap().to_owned();
        assert_eq!(pressed.status, 429, "{pressed:?}");
        assert!(why.contains(words) && why.contains("the owner can raise MC_"), "{why}");
        let page = launcher.get("/", &[("authorization", &format!("Bearer {KEY}"))]);
        assert!(
            page.body.contains(words.replace('\'', "&#39;").as_str()) || page.body.contains(words),
            "{}",
            page.body
        );
        assert!(!page.body.contains("<form"), "{}", page.body);
        assert_eq!(ec2.count("StartInstances"), 0);
    }
}

/// What was used today: so many starts, and so many seconds this month.
fn starts(today: u32, seconds: u64) -> String {
    crate::stand_in::within_a_day();
    let last = crate::stand_in::now();
    let time = last.strftime("%Y-%m-%dT%H:%M:%SZ");
    serde_json::json!({
        "last": {"started": time.to_string(), "until": time.to_string(), "over": true},
        "starts_before": today - 1, "seconds_before": seconds, "asked": null,
    })
    .to_string()
}

#[test]
fn the_broker_starts_for_whom_the_list_names() {
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    ec2.put("allow", "Steve");
    let refused = launcher.press_by(ALEX);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.json()["why"].as_str().unwrap().contains("Alex is not on the list"));
    assert_eq!(launcher.press_by("{}").status, 400);
    ec2.fail("GetParameter", Fault::Code("AccessDeniedException"));
    assert_eq!(launcher.press_by(ALEX).status, 503, "a list that cannot be read is no list of everybody");
    ec2.mend();
    assert_eq!(ec2.count("StartInstances"), 0);
    ec2.put("allow", "Steve,ALEX");
    assert_eq!(launcher.press_by(ALEX).status, 202);
    assert!(ec2.get("starts").unwrap().contains("\"by\":\"Alex\""));
}

#[test]
fn what_is_not_known_starts_nothing() {
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    ec2.fail("DescribeInstances", Fault::Code("UnauthorizedOperation"));
    let pressed = launcher.press();
    assert_eq!((pressed.status, pressed.json()["state"].as_str()), (503, Some("unknown")), "{pressed:?}");
    assert!(pressed.json()["why"].as_str().unwrap().contains("allow ec2:DescribeInstances"), "{pressed:?}");
    ec2.mend();
    ec2.remove("instance-id");
    assert!(launcher.press().json()["why"].as_str().unwrap().contains("set the parameter instance-id"));
    ec2.put("instance-id", "i-00000000000000001");
    assert!(launcher.press().json()["why"].as_str().unwrap().contains("i-00000000000000001"));
    assert_eq!(ec2.count("StartInstances"), 0);
}

/// What EC2 has done with a request that it has not answered is not known.
#[test]
fn a_start_whose_answer_gets_lost_is_not_said_to_have_failed() {
    for (action, settings) in [("StartInstances", &[][..]), ("RunInstances", LAUNCH)] {
        let ec2 = if settings.is_empty() { StandIn::start("stopped") } else { StandIn::empty() };
        ec2.fail(action, Fault::LostAnswer);
        let launcher = Launcher::start(&ec2, SELDOM, settings);
        let pressed = launcher.press();
        let words = "Nobody knows whether the server was started: EC2 does not answer. Look again in a minute.";
        assert_eq!((pressed.status, pressed.json()["why"].as_str()), (503, Some(words)), "{action}: {pressed:?}");
        wait_until("it runs all the same", || (ec2.instance().state == "running").then_some(()));
        ec2.mend();
        assert_eq!((launcher.press().status, ec2.machines(), ec2.count(action)), (202, 1, 1), "{action}");
    }
}

/// Whatever does not answer, the page does.
#[test]
fn while_ec2_and_ssm_hang_the_page_answers_and_says_so() {
    for actions in
        [&["DescribeInstances"][..], &["GetParameter"], &["DescribeInstances", "GetParameter"], &["StartInstances"]]
    {
        let ec2 = StandIn::start("stopped");
        for action in actions {
            ec2.fail(action, Fault::Hang);
        }
        let launcher = Launcher::start(&ec2, SELDOM, &[]);
        // Several at once must not wait for each other.
        let pressed: Vec<_> = thread::scope(|scope| {
            let presses: Vec<_> = (0..4).map(|_| scope.spawn(|| launcher.press())).collect();
            presses.into_iter().map(|press| press.join().unwrap()).collect()
        });
        for pressed in pressed {
            assert_eq!(pressed.status, 503, "{actions:?}: {pressed:?}");
            assert!(pressed.body.contains("not answer"), "{actions:?}: {pressed:?}");
        }
        let page = launcher.get("/", &[]);
        assert_eq!(page.status, 200, "{page:?}");
    }
}

#[test]
fn a_launch_makes_one_instance_with_its_tag_and_a_stopped_one_is_started() {
    let ec2 = StandIn::empty();
    let launcher = Launcher::start(&ec2, SELDOM, LAUNCH);
    let pressed = launcher.press();
    assert_eq!((pressed.status, pressed.json()["state"].as_str()), (202, Some("starting")), "{pressed:?}");
    let made = ec2.instance();
    assert_eq!(ec2.get("instance-id").as_deref(), Some(made.id.as_str()));
    assert!(ec2.get("launch/1").unwrap().contains(&made.id));
    wait_until("it runs", || (ec2.instance().state == "running").then_some(()));
    assert_eq!(launcher.press().json()["state"], "starting");
    ec2.set("stopped");
    assert_eq!(launcher.press().status, 202);
    ec2.set("terminated");
    assert_eq!(launcher.press().status, 202);
    assert_eq!((ec2.machines(), ec2.most(), ec2.count("StartInstances")), (2, 1, 1));
}

/// 64 at once, by eight launchers, while answers get lost and come late, and new instances do not show.
#[test]
fn sixty_four_presses_at_once_make_one_instance() {
    let ec2 = StandIn::empty();
    {
        let mut state = ec2.state();
        state.hides = Duration::from_millis(700);
        let late = || Some(Fault::Late(Duration::from_millis(400)));
        let lost = || Some(Fault::LostAnswer);
        state.faults.insert("RunInstances", [lost(), None, late(), lost(), None, None].into());
        state.faults.insert("PutParameter", [late(), lost(), None, late(), None, lost(), None].into());
        state.faults.insert("DescribeInstances", [None, late(), None, lost(), late(), None].into());
        state.faults.insert("GetParametersByPath", [late(), None, lost(), None].into());
    }
    let launchers: Vec<Launcher> = (0..8).map(|_| Launcher::start(&ec2, SELDOM, LAUNCH)).collect();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let presses: Vec<_> =
            launchers.iter().flat_map(|launcher| (0..8).map(|_| scope.spawn(|| launcher.press().status))).collect();
        presses.into_iter().map(|press| press.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [202, 503].contains(status)), "{statuses:?}");
    wait_until("somebody's press is accepted", || (launchers[0].press().status == 202).then_some(()));
    assert_eq!((ec2.machines(), ec2.most()), (1, 1));
}

/// The same for an instance that is going for good.
#[test]
fn a_launch_is_remembered_while_the_instance_before_is_going_down() {
    let ec2 = StandIn::empty();
    let launcher = Launcher::start(&ec2, OFTEN, LAUNCH);
    assert_eq!(launcher.press().status, 202);
    ec2.set("shutting-down");
    let pressed = launcher.press();
    assert_eq!((pressed.status, pressed.json()["state"].as_str()), (202, Some("stopping")), "{pressed:?}");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(ec2.machines(), 1);
    ec2.set("terminated");
    wait_until("another one is launched", || (ec2.machines() == 2).then_some(()));
    thread::sleep(Duration::from_secs(2));
    assert_eq!((ec2.machines(), ec2.most()), (2, 1));
}

#[test]
fn with_two_instances_nothing_is_started_and_people_are_told() {
    let topic = r#"{"sns": "arn:aws:sns:eu-central-1:123456789012:minecraft"}"#;
    for settings in [&[][..], LAUNCH] {
        let ec2 = StandIn::start("stopped");
        ec2.put("tell", topic);
        ec2.add("i-00000000000000001", "stopped");
        let launcher = Launcher::start(&ec2, OFTEN, settings);
        let pressed = launcher.press();
        assert_eq!((pressed.status, pressed.json()["state"].as_str()), (503, Some("trouble")), "{pressed:?}");
        assert!(pressed.json()["why"].as_str().unwrap().contains("i-00000000000000001"), "{pressed:?}");
        wait_until("it is told", || {
            ec2.state().published.iter().any(|text| text.contains("2 instances carry this server's tag")).then_some(())
        });
        assert_eq!((ec2.count("StartInstances"), ec2.count("RunInstances")), (0, 0));
    }
}
