//! Holds under a real systemd: the instance is not stopped for as long as a hold is in force, and stopped with the first
//! sample after its end. logind, sshd and the shipped unit are real; AWS is emulated.
//! Needs root and what `tests/machine/setup.sh` and `tests/peers/setup.sh` install and build.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

use std::thread::sleep;
use std::time::Duration;

use crate::machine::container::{Machine, QUICK, Tree, text};
use crate::machine::peers::{self, Aws};
use crate::machine::ssh;
use serde_json::{Value, json};

const WAITS: &str = "waits for a hold to end";

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    let machine = Machine::new(&Tree { file: "root.tar", options: &[], prepare: ssh::ACCOUNT })?;
    peers::installed().then_some(machine)
}

/// A window of six seconds beside a server that nobody plays on, and nothing on EFS.
fn short_window(machine: &Machine, further: &str) {
    machine.config(&format!("idle_minutes = 0.1\nefs.mount_point = \"\"\n{further}\n{QUICK}"));
    machine.server();
}

impl Machine {
    /// What the agent has told, line by line.
    fn told(&self) -> Vec<String> {
        let entries = self.journal();
        let own = entries.iter().filter(|entry| entry.get("SYSLOG_IDENTIFIER").is_some_and(|name| name == "mc-idle"));
        own.filter_map(|entry| entry["MESSAGE"].as_str()).map(str::to_owned).collect()
    }

    fn until_told(&self, said: &str) {
        self.until(&format!("the journal says {said:?}"), || self.told().iter().any(|line| line.contains(said)));
    }

    /// A time in seconds since 1970, as date(1) reads it.
    fn seconds(&self, time: &str) -> f64 {
        self.ok(&format!("date -d \"{time}\" +%s.%N")).parse().expect("seconds")
    }
}

/// Waits for the request to stop; returns when it came. It must be what the agent does first after the end of the hold.
fn stopped_at_the_end_of(machine: &Machine, aws: &Aws<'_>, reason: &str) -> f64 {
    machine.until("EC2 is asked for the stop", || !aws.stops().is_empty());
    let told = machine.told();
    let over = told.iter().position(|line| line.starts_with("No longer held: ") && line.contains(reason));
    let over = over.unwrap_or_else(|| panic!("the journal does not say that the hold is over: {told:#?}"));
    let next = &told[over + 1];
    assert!(next.contains("requesting the stop"), "{next:?} came in between: {told:#?}");
    aws.stops()[0]
}

#[test]
fn a_backup_that_inhibits_the_shutdown_holds_for_as_long_as_it_runs() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    machine
        .write("/run/backup.sh", "while [ ! -e /run/backup.done ]; do sleep 0.1; done; date +%s.%N >/run/backup.end");
    machine.ok("rm -f /run/backup.done /run/backup.end");
    machine.background(
        "beside-backup",
        "exec systemd-inhibit --what=shutdown --mode=block --who=cp --why=\"nightly backup\" sh /run/backup.sh",
    );
    machine.ok("systemctl start mc-idle");
    machine.until_told(WAITS);
    let screen = machine.ok("mc-idle status");
    assert!(screen.contains("nightly backup (cp, process"), "{screen}");
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.ok("touch /run/backup.done");
    let stopped = stopped_at_the_end_of(&machine, &aws, "nightly backup");
    let end: f64 = machine.ok("cat /run/backup.end").parse().expect("seconds");
    assert!(stopped > end, "EC2 was asked at {stopped}, while the backup ran until {end}");
}

/// A lock that a process of the unit `beside-backup` has, in a machine where an agent waits for its end.
fn locked(machine: &Machine) {
    let lock = "exec systemd-inhibit --what=idle --mode=block --who=cp --why=\"nightly backup\" sleep 1000";
    machine.background("beside-backup", lock);
    machine.until("there is a lock", || machine.ok("systemd-inhibit --list").contains("nightly backup"));
    machine.ok("systemctl start mc-idle");
    machine.until_told("Held by an inhibitor lock: nightly backup");
    machine.until_told(WAITS);
}

const NO_DBUS: &str = "systemctl stop dbus.socket dbus.service";
const DBUS: &str = "systemctl start dbus.socket dbus.service";
/// For this long at least nobody answers: longer than logind is believed to have paused.
const SILENCE: Duration = Duration::from_secs(75);

#[test]
fn a_lock_holds_while_d_bus_is_down_and_ends_with_its_process() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    locked(&machine);
    machine.ok(NO_DBUS);
    machine.until_told("Cannot check inhibitor locks: ");
    sleep(SILENCE);
    let screen = machine.ok("mc-idle status");
    assert!(screen.contains("nightly backup (") && aws.stops().is_empty(), "{screen}\n{}", machine.story());
    // Nobody tells the agent that it is gone.
    machine.ok("systemctl kill --signal=KILL beside-backup");
    stopped_at_the_end_of(&machine, &aws, "nightly backup");
    machine.ok(DBUS);
}

#[test]
fn a_lock_holds_over_a_restart_and_a_stop_and_start_while_d_bus_is_down_and_d_bus_is_believed_when_it_is_back() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    locked(&machine);
    machine.ok(NO_DBUS);
    for again in ["systemctl restart mc-idle", "systemctl stop mc-idle; systemctl start mc-idle"] {
        let before = machine.told().len();
        machine.ok(again);
        let told = || machine.told()[before..].join("\n");
        machine.until("the new agent waits", || told().contains(WAITS));
        assert!(told().contains("Held by an inhibitor lock: nightly backup"), "{}", told());
        assert!(told().contains("Cannot check inhibitor locks: "), "{}", told());
    }
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.ok("systemctl kill --signal=KILL beside-backup");
    machine.until_told("No longer held: nightly backup");
    // The lock is gone, but there may be another one.
    machine.until_told("waits for the hold sources to answer");
    machine.ok(DBUS);
    machine.until("EC2 is asked for the stop", || !aws.stops().is_empty());
}

#[test]
fn a_hold_outlives_a_stop_and_start() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    machine.ok("systemctl start mc-idle");
    machine.ok("mc-idle hold 1h --reason \"world download\"");
    machine.until_told(WAITS);
    machine.ok("systemctl stop mc-idle");
    let before = machine.told().len();
    machine.ok("systemctl start mc-idle");
    machine.until("the new agent waits", || machine.told()[before..].join("\n").contains(WAITS));
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.ok("mc-idle release");
    stopped_at_the_end_of(&machine, &aws, "world download");
}

#[test]
fn somebody_who_logs_in_from_afar_by_another_service_than_sshd_holds() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "hold.ssh_sessions = true");
    let aws = machine.aws();
    // As telnetd and rlogind do it; login(1) wants a terminal.
    machine.ok("rm -f /run/typed; mkfifo /run/typed");
    machine.background(
        "beside-login",
        "exec 3<>/run/typed; exec script -q -c \"login -h 192.0.2.10 -f alice\" /dev/null <&3",
    );
    machine.until("alice is logged in", || machine.sessions().contains("alice"));
    let session = "loginctl show-session $(loginctl list-sessions --no-legend | grep alice | cut -d \" \" -f 1)";
    let shown = machine.ok(&format!("{session} -p Remote -p Service -p Class"));
    assert!(["Remote=yes", "Service=login"].iter().all(|line| shown.contains(line)), "{shown}");
    machine.ok("systemctl start mc-idle");
    machine.until_told("Held by an SSH session: alice is logged in.");
    machine.until_told(WAITS);
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.ok("echo exit >/run/typed");
    stopped_at_the_end_of(&machine, &aws, "alice is logged in");
}

#[test]
fn an_ssh_session_holds_until_the_logout() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "hold.ssh_sessions = true");
    let aws = machine.aws();
    machine.log_in();
    machine.ok("systemctl start mc-idle");
    machine.until_told(WAITS);
    machine.until_told("Held by an SSH session: alice is logged in.");
    let screen = machine.ok("mc-idle status");
    assert!(screen.contains("alice is logged in"), "{screen}");
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.log_out();
    stopped_at_the_end_of(&machine, &aws, "alice is logged in");
}

#[test]
fn an_ssh_session_does_not_hold_unless_the_configuration_says_so() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    machine.log_in();
    machine.ok("systemctl start mc-idle");
    machine.until("EC2 is asked for the stop", || !aws.stops().is_empty());
    assert!(machine.sessions().contains("alice"), "alice is no longer there, so this proves nothing");
}

#[test]
fn a_hold_ends_by_itself() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    machine.ok("systemctl start mc-idle");
    let said = machine.ok("mc-idle hold 0.6m --reason \"world download\"");
    assert!(said.starts_with("held for 36 s ("), "{said}");
    machine.until_told(WAITS);
    let status: Value = serde_json::from_str(&machine.ok("mc-idle status --json")).expect("JSON");
    let until = machine.seconds(status["holds"][0]["until"].as_str().expect("a time"));
    let stopped = stopped_at_the_end_of(&machine, &aws, "world download");
    // The end is told in whole seconds.
    assert!(stopped > until - 1.0, "EC2 was asked at {stopped}, while the hold lasted until {until}");
}

#[test]
fn a_parameter_holds_until_its_time() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "hold.parameter = \"/servers/hold\"");
    let aws = machine.aws();
    let until = machine.ok("date -u -d \"+40 seconds\" +%Y-%m-%dT%H:%M:%SZ");
    aws.set_parameter("/servers/hold", &json!(format!("{until} new plugins")));
    machine.ok("systemctl start mc-idle");
    machine.until_told("Held by SSM parameter until");
    machine.until_told(WAITS);
    let stopped = stopped_at_the_end_of(&machine, &aws, "new plugins");
    let until = machine.seconds(&until);
    assert!(stopped > until, "EC2 was asked at {stopped}, while the hold lasted until {until}");
}

#[test]
fn everybody_may_see_the_status_and_the_group_may_hold() {
    let Some(machine) = machine() else { return };
    short_window(&machine, "");
    let aws = machine.aws();
    machine.ok("systemctl start mc-idle");
    let nobody = "systemd-run --quiet --wait --pipe --property=User=nobody";
    let member = format!("{nobody} --property=SupplementaryGroups=mc-idle");
    machine.ok(&format!("{member} mc-idle hold 1h --reason tournament"));
    let screen = machine.ok(&format!("{nobody} mc-idle status"));
    assert!(screen.contains("port 25565"), "{screen}");
    let refused = machine.run(&format!("{nobody} mc-idle hold 1h --reason tournament"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("as root or as a member of the group mc-idle"), "{}", text(&refused.stderr));
    machine.until_told(WAITS);
    // Not with a restart, but by the same member.
    machine.ok("systemctl restart mc-idle");
    machine.until("the new agent says its state", || machine.states().last().is_some_and(|line| line.state == "due"));
    assert!(aws.stops().is_empty(), "{}", machine.story());
    machine.ok(&format!("{member} mc-idle release"));
    stopped_at_the_end_of(&machine, &aws, "tournament");
}
