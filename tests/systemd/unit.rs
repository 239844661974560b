//! The agent, its unit and its shipped config under a real systemd, in a container with a real journald and dbus.
//! Needs root and what `tests/machine/setup.sh` installs and builds.
//! Over 400 lines of tests on one container.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

use std::thread::sleep;
use std::time::Duration;

use crate::machine::container::{Line, Machine, QUICK, Tree, states, text};
use crate::machine::say;

/// The configuration was read again, or refused.
const CONFIGURATION: &str = "09dad58bc97042939b6344787a7aea3e";

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    Machine::new(&Tree { file: "root.tar", options: &[], prepare: "" })
}

/// Keeps what it is asked in /run/aws. It allows a dry run, on a connection that stays open, and answers nothing else.
const SILENT_AWS: &str = r#"
answer='<Response><Errors><Error><Code>DryRunOperation</Code><Message>allowed</Message></Error></Errors></Response>'
number=0
while :; do
    length=0 asked=
    while IFS= read -r line; do
        line=$(printf %s "$line" | tr -d '\r')
        case $line in [Cc]ontent-[Ll]ength:*) length=${line#*: } ;; '') break ;; *) asked=yes ;; esac
    done
    [ "$asked" ] || exit
    # A question to the metadata service has no body.
    [ "$length" -gt 0 ] || exec sleep 1000
    number=$((number + 1))
    dd bs=1 count="$length" of=/run/aws/$$.$number 2>/dev/null
    grep -q DryRun=true /run/aws/$$.$number || exec sleep 1000
    printf 'HTTP/1.1 412 Precondition Failed\r\nContent-Length: %s\r\n\r\n%s' "${#answer}" "$answer"
done
"#;

impl Machine {
    fn player(&self) {
        self.background("player", "sleep 1000 | busybox nc 127.0.0.1 25565");
    }

    /// An AWS that accepts every call and answers none but a dry run. Each call is kept as a file in /run/aws.
    fn silent_aws(&self, credentials: bool) {
        self.ok("mkdir -p /run/aws");
        self.write("/run/aws.sh", SILENT_AWS);
        self.background("silent", "busybox nc -ll -p 8099 -e /bin/sh /run/aws.sh");
        let mut environment = "AWS_ENDPOINT_URL=http://127.0.0.1:8099\n\
             AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8099\n"
            .to_owned();
        if credentials {
            environment += "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=secret\n";
        }
        self.write("/etc/default/mc-idle", &environment);
    }
}

#[test]
fn the_unit_is_clean_and_confined() {
    let Some(machine) = machine() else { return };
    let verify = machine.run("systemd-analyze verify /usr/lib/systemd/system/mc-idle.service");
    assert!(
        verify.status.success() && verify.stdout.is_empty() && verify.stderr.is_empty(),
        "systemd-analyze verify has something to say: {}{}",
        text(&verify.stdout),
        text(&verify.stderr)
    );
    machine.ok("systemctl start mc-idle");
    let security = machine.ok("systemd-analyze security --no-pager --threshold=15 mc-idle.service");
    let overall = security.lines().last().unwrap_or_default();
    assert!(overall.contains("exposure level"), "{security}");
    say(&format!("systemd-analyze security: {overall}"));
}

#[test]
fn starts_with_the_shipped_config_and_says_how_it_is() {
    let Some(machine) = machine() else { return };
    machine.ok("systemctl start mc-idle");
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("SubState"), "running");

    let status = machine.ok("systemctl status --no-pager mc-idle");
    let sentence = status
        .lines()
        .find_map(|line| line.trim().strip_prefix("Status: "))
        .unwrap_or_else(|| panic!("no sentence in the status:\n{status}"));
    assert!(sentence.contains(' '), "not a sentence for a person: {sentence}");

    let pid = machine.main_pid();
    let user = machine.ok(&format!("ps -o uid= -p {pid}"));
    assert_ne!(user, "0", "must not run as root");

    let line = machine.until_state("no-server");
    assert!(
        line.kind.len() == 32 && line.kind.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "MESSAGE_ID is not 128 bits in hex: {line:?}"
    );
    assert!(line.message.contains(' '), "no sentence: {line:?}");
    assert_eq!(line.players, "0");
    assert_eq!(line.window_seconds, Some(1800), "no_server_minutes is 30");
    assert!(line.idle_seconds.is_some_and(|seconds| seconds < 1800), "the clock has only begun: {line:?}");
    assert_eq!(line.efs, "off");
}

#[test]
fn one_journal_line_for_each_change_of_state() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.ok("systemctl start mc-idle");
    assert_eq!(machine.until_state("no-server").players, "0");
    machine.server();
    assert_eq!(machine.until_state("idle").window_seconds, Some(900));
    machine.player();
    assert_eq!(machine.until_state("occupied").players, "1");
    machine.ok("systemctl stop player");
    assert_eq!(machine.until_state("idle").players, "0");
    machine.ok("systemctl stop server");
    machine.until_state("no-server");
    // Many samples that change nothing.
    sleep(Duration::from_secs(3));
    assert_eq!(states(&machine.states()), ["no-server", "idle", "occupied", "idle", "no-server"]);
}

#[test]
fn the_watchdog_replaces_an_agent_that_hangs() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    // A stopped process does not die of the watchdog's SIGABRT, so systemd must go on to SIGKILL.
    machine.drop_in("[Service]\nWatchdogSec=6\nTimeoutAbortSec=1\nRestartSec=100ms");
    machine.ok("systemctl start mc-idle");
    sleep(Duration::from_secs(9));
    let pid = machine.main_pid();
    assert_eq!(machine.property("NRestarts"), "0", "a healthy agent was restarted\n{}", machine.story());
    machine.ok(&format!("kill -STOP {pid}"));
    machine.until("systemd restarts the agent", || {
        machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active"
    });
    assert_ne!(machine.main_pid(), pid);
    assert!(
        machine
            .journal()
            .iter()
            .any(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains("Watchdog timeout"))),
        "systemd did not name the watchdog\n{}",
        machine.story()
    );
}

#[test]
fn a_killed_agent_comes_back() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server();
    machine.ok("systemctl start mc-idle");
    machine.until_state("idle");
    sleep(Duration::from_secs(4));
    let pid = machine.main_pid();
    machine.ok(&format!("kill -KILL {pid}"));
    machine.until("systemd restarts the agent", || {
        machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active"
    });
    assert_ne!(machine.main_pid(), pid);
    machine.until("the new agent says its state", || machine.states().len() == 2);
}

#[test]
fn an_agent_that_somebody_has_asked_to_end_comes_back_and_systemctl_stop_ends_it() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server();
    machine.ok("systemctl start mc-idle");
    machine.until_state("idle");
    let pid = machine.main_pid();
    machine.ok(&format!("kill -TERM {pid}"));
    machine.until("systemd restarts the agent", || {
        machine.property("NRestarts") == "1" && machine.property("ActiveState") == "active"
    });
    assert_ne!(machine.main_pid(), pid);
    machine.until("the new agent says its state", || machine.states().len() == 2);
    machine.ok("systemctl stop mc-idle");
    // Longer than RestartSec.
    sleep(Duration::from_secs(3));
    assert_eq!(machine.property("ActiveState"), "inactive");
    assert_eq!(machine.property("Result"), "success");
}

/// Stops the service and asserts on what systemd saw of it.
fn stops_in_time(machine: &Machine) {
    let pid = machine.main_pid();
    machine.until("the agent calls AWS", || {
        machine.ok("ss -Htnp state established dport = :8099").contains(&format!("pid={pid},"))
    });
    machine.ok("systemctl stop mc-idle");
    let micros = |name: &str| -> u64 {
        let value = machine.property(name);
        value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}"))
    };
    let took = micros("InactiveEnterTimestampMonotonic") - micros("ActiveExitTimestampMonotonic");
    // Less than any call to AWS may take.
    assert!(took <= 4_000_000, "the stop took {took} µs\n{}", machine.story());
    assert_eq!(machine.property("Result"), "success", "{}", machine.story());
    assert_eq!(machine.property("ExecMainCode"), "1", "not an exit");
    assert_eq!(machine.property("ExecMainStatus"), "0");
    assert_eq!(machine.property("NRestarts"), "0");
    say(&format!("stopped after {} ms with AWS silent", took / 1000));
}

const OWN_INSTANCE: &str = "[aws]\nregion = \"eu-central-1\"\ninstance_id = \"i-0123456789abcdef0\"\n";

#[test]
fn stops_in_time_while_a_heartbeat_hangs() {
    let Some(machine) = machine() else { return };
    machine.silent_aws(true);
    machine.config(&format!("{QUICK}{OWN_INSTANCE}"));
    machine.ok("systemctl start mc-idle");
    stops_in_time(&machine);
}

#[test]
fn stops_in_time_while_credentials_and_metadata_hang() {
    let Some(machine) = machine() else { return };
    machine.silent_aws(false);
    machine.config(QUICK);
    machine.ok("systemctl start mc-idle");
    stops_in_time(&machine);
}

#[test]
fn stops_in_time_while_the_stop_request_hangs() {
    let Some(machine) = machine() else { return };
    machine.silent_aws(true);
    // Two seconds of idling, and no heartbeat before the request: all that hangs is EC2.
    machine.config(&format!(
        "idle_minutes = 0.03\n{QUICK}[efs]\nmount_point = \"\"\n[heartbeat]\nparameter = \"\"\n{OWN_INSTANCE}"
    ));
    machine.server();
    machine.ok("systemctl start mc-idle");
    machine.until_state("stopping");
    // Not the question whether it would be allowed (DryRun): that one needs no last look, and so no netlink.
    let request = || machine.run("grep -rh Action=StopInstances /run/aws | grep -v DryRun=true").stdout;
    machine.until("EC2 is asked for the stop", || !request().is_empty());
    let request = text(&request());
    assert!(
        request.contains("InstanceId.1=i-0123456789abcdef0") && !request.contains("InstanceId.2"),
        "not a request to stop the own instance: {request}"
    );
    stops_in_time(&machine);
}

#[test]
fn reload_takes_a_good_file_and_refuses_a_bad_one() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.server();
    machine.ok("systemctl start mc-idle");
    assert_eq!(machine.until_state("idle").window_seconds, Some(900));
    let pid = machine.main_pid();

    machine.config(&format!("idle_minutes = 20\n{QUICK}"));
    machine.ok("systemctl reload mc-idle");
    machine.until("the journal tells of the new configuration", || {
        machine.journal().iter().any(|entry| entry.get("MESSAGE_ID").is_some_and(|id| id == CONFIGURATION))
    });
    assert_eq!(window_after_a_player(&machine), Some(1200));
    assert_eq!(machine.main_pid(), pid);

    machine.config(&format!("idle_minuets = 20\n{QUICK}"));
    let reload = machine.run("systemctl reload mc-idle");
    assert!(!reload.status.success(), "a bad file was taken");
    let told = |machine: &Machine, since: usize| {
        machine.journal()[since..].iter().any(|entry| {
            entry["MESSAGE"].as_str().is_some_and(|text| text.contains("50-test.toml") && text.contains("idle_minuets"))
        })
    };
    assert!(told(&machine, 0), "the journal does not name file and key\n{}", machine.story());
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.main_pid(), pid);

    // The same without the check before it: the agent itself refuses.
    let before = machine.journal().len();
    machine.ok(&format!("kill -HUP {pid}"));
    machine.until("the agent refuses the file", || told(&machine, before));
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.main_pid(), pid);
    assert_eq!(window_after_a_player(&machine), Some(1200), "the old settings stay");
}

/// Lets a player come and go, and reads the window of the idle clock that starts then.
fn window_after_a_player(machine: &Machine) -> Option<u64> {
    machine.player();
    machine.until_state("occupied");
    machine.ok("systemctl stop player");
    machine.until_state("idle").window_seconds
}

#[test]
fn a_bad_configuration_or_argument_is_not_tried_again() {
    let Some(machine) = machine() else { return };
    let ends_with = |status: &str| {
        machine.until("the unit has failed", || machine.property("ActiveState") == "failed");
        assert_eq!(machine.property("ExecMainStatus"), status);
        // Longer than RestartSec.
        sleep(Duration::from_secs(1));
        assert_eq!(machine.property("ActiveState"), "failed");
        assert_eq!(machine.property("NRestarts"), "0");
    };

    machine.drop_in("[Service]\nRestartSec=100ms");
    machine.config("sample_minutes = 1");
    assert!(!machine.run("systemctl start mc-idle").status.success());
    ends_with("78");
    let check = machine.run("mc-idle check --offline");
    assert_eq!(check.status.code(), Some(78));

    machine.config("");
    machine.drop_in("[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/usr/bin/mc-idle run --nonsense");
    assert!(!machine.run("systemctl start mc-idle").status.success());
    ends_with("2");
}

/// With journald gone or stuck: the clocks run on, players are seen, the watchdog stays quiet.
fn lives_on(machine: &Machine, pid: &str) {
    let until_status = |word: &str| {
        machine.until(&format!("the status says {word}"), || machine.property("StatusText").contains(word));
    };
    machine.server();
    until_status("No players");
    for _ in 0..3 {
        machine.player();
        until_status("1 player");
        sleep(Duration::from_secs(1));
        machine.ok("systemctl stop player");
        until_status("No players");
    }
    assert_eq!(machine.main_pid(), pid, "{}", machine.story());
    assert_eq!(machine.property("NRestarts"), "0");
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn runs_on_without_journald() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.drop_in("[Service]\nWatchdogSec=10");
    machine.ok("systemctl start mc-idle");
    machine.until_state("no-server");
    let pid = machine.main_pid();
    machine.ok("systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald");
    lives_on(&machine, &pid);
}

#[test]
fn runs_on_while_journald_hangs_with_a_full_queue() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.drop_in("[Service]\nWatchdogSec=10");
    machine.ok("systemctl start mc-idle");
    machine.until_state("no-server");
    let pid = machine.main_pid();
    machine.ok("systemctl kill --kill-whom=main --signal=STOP systemd-journald");
    machine.until("journald is stopped", || machine.ok("ps -o stat= -C systemd-journal").starts_with('T'));
    // Until a writer blocks.
    machine.ok("for i in $(seq 5000); do echo MESSAGE=fill | timeout 0.5 logger --journald || exit 0; done; exit 1");
    lives_on(&machine, &pid);
}

#[test]
fn mounts_come_and_go_while_it_runs() {
    let Some(machine) = machine() else { return };
    let seen = |pid: &str, folder: &str| {
        machine.ok(&format!("cat /proc/{pid}/mountinfo")).lines().any(|line| line.split(' ').nth(4) == Some(folder))
    };
    for folder in ["/mnt/efs", "/home/minecraft/efs"] {
        machine.ok(&format!("mkdir -p {folder}"));
        // Mounted before the start, and so copied into the service's own view of the mounts.
        machine.ok(&format!("mount -t tmpfs efs {folder}"));
        machine.config(&format!("{QUICK}[efs]\nmount_point = \"{folder}\"\n"));
        machine.ok("systemctl restart mc-idle");
        let pid = machine.main_pid();
        assert!(seen(&pid, folder), "{folder} is hidden from the service");
        machine.ok(&format!("umount {folder}"));
        assert!(!seen(&pid, folder), "{folder} stays in the service");
        // And again after the start.
        machine.ok(&format!("mount -t tmpfs efs {folder}"));
        assert!(seen(&pid, folder), "{folder}, mounted later, is hidden from the service");
        machine.ok(&format!("umount {folder}"));
        assert!(!seen(&pid, folder), "{folder} stays in the service");
        assert_eq!(machine.main_pid(), pid);
    }
}

/// Runs the service beside an empty server until its clock shows some seconds, and returns how many.
fn part_of_a_window(machine: &Machine) -> u64 {
    machine.config(QUICK);
    machine.drop_in("[Service]\nRestartSec=3");
    machine.server();
    machine.ok("systemctl start mc-idle");
    machine.until_state("idle");
    machine.until("the clock shows six seconds", || machine.idle_clock() >= 6);
    6
}

fn idle_seconds(line: &Line) -> u64 {
    line.idle_seconds.expect("a clock")
}

#[test]
fn the_clock_goes_on_after_a_restart() {
    let Some(machine) = machine() else { return };
    let before = part_of_a_window(&machine);
    machine.ok("systemctl restart mc-idle");
    machine.until("the new agent says its state", || machine.states().len() == 2);
    let after = idle_seconds(&machine.until_state("idle"));
    assert!(after >= before, "{after} s after the restart, {before} s before it");
    assert!(after < 60, "{after} s: more than was observed");
}

#[test]
fn the_clock_goes_on_after_a_crash_and_the_window_ends() {
    let Some(machine) = machine() else { return };
    let before = part_of_a_window(&machine);
    machine.config(&format!("idle_minutes = 0.2\nefs.mount_point = \"\"\n{QUICK}"));
    machine.ok(&format!("kill -KILL {}", machine.main_pid()));
    machine.until("the new agent says its state", || machine.states().len() >= 2);
    let after = idle_seconds(&machine.states()[1]);
    assert!(after >= before, "{after} s after the crash, {before} s before it");
    machine.until("the window ends", || machine.states().iter().any(|line| line.state == "stopping"));
}

#[test]
fn the_clock_of_another_boot_and_a_cut_one_are_not_taken_up() {
    let Some(machine) = machine() else { return };
    for damage in ["sed -i 's/\"boot_id\":\"[^\"]*\"/\"boot_id\":\"another\"/'", "truncate -s 40"] {
        let before = part_of_a_window(&machine);
        let told = machine.states().len();
        machine.ok(&format!("kill -KILL {}; {damage} /run/mc-idle/state.json", machine.main_pid()));
        machine.until("the new agent says its state", || machine.states().len() > told);
        let after = idle_seconds(&machine.states()[told]);
        assert!(after < before, "{after} s, though the file is from another boot or cut");
        machine.ok("systemctl stop mc-idle server");
    }
    let warnings = machine
        .journal()
        .iter()
        .filter(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains("the clock starts at zero")))
        .count();
    assert_eq!(warnings, 2, "one warning each\n{}", machine.story());
}

#[test]
fn the_clock_and_a_hold_go_on_after_a_stop_and_a_start() {
    let Some(machine) = machine() else { return };
    let before = part_of_a_window(&machine);
    machine.ok("mc-idle hold 1h --reason tournament");
    machine.ok("systemctl stop mc-idle");
    let alone = machine.run("mc-idle status");
    assert_eq!(alone.status.code(), Some(1), "nothing is left that looks like an agent");
    machine.ok("systemctl start mc-idle");
    machine.until("the new agent says its state", || machine.states().len() == 2);
    let after = idle_seconds(&machine.states()[1]);
    assert!((before..60).contains(&after), "{after} s after the start, {before} s before the stop");
    assert!(machine.ok("mc-idle status").contains("tournament; by mc-idle hold"), "the hold is lost");
}

#[test]
fn nobody_else_can_keep_the_agent_from_its_files() {
    let Some(machine) = machine() else { return };
    let before = part_of_a_window(&machine);
    // Somebody without any right, and a member of the group, who may write to the folder.
    machine.background("beside-folder", "exec runuser -u nobody -- flock --exclusive /run/mc-idle sleep 1000");
    machine.ok("! runuser -u nobody -- flock --nonblock /run/mc-idle/lock true");
    let member = "setpriv --reuid nobody --regid nogroup --groups $(getent group mc-idle | cut -d : -f 3) --";
    machine.ok(&format!(
        "{member} sh -c \"rm -f /run/mc-idle/lock; touch /run/mc-idle/lock; chmod 666 /run/mc-idle/lock\""
    ));
    machine.background("beside-file", &format!("exec {member} flock --exclusive /run/mc-idle/lock sleep 1000"));
    for path in ["/run/mc-idle", "/run/mc-idle/lock"] {
        machine.until(&format!("{path} is locked"), || {
            !machine.run(&format!("flock --nonblock {path} true")).status.success()
        });
    }
    machine.ok("systemctl restart mc-idle");
    machine.until("the new agent says its state", || machine.states().len() == 2);
    let after = idle_seconds(&machine.states()[1]);
    assert!((before..60).contains(&after), "{after} s after the restart, {before} s before it");
    assert_eq!(machine.ok("stat -c '%U %a' /run/mc-idle/lock"), "mc-idle 600");
    let warned = |entry: &&std::collections::HashMap<String, serde_json::Value>| {
        entry["MESSAGE"].as_str().is_some_and(|text| text.contains("survive") || text.contains("second mc-idle"))
    };
    assert_eq!(machine.journal().iter().filter(warned).count(), 0, "{}", machine.story());
}

#[test]
fn a_picture_that_a_member_of_the_group_has_put_there_is_refused() {
    let Some(machine) = machine() else { return };
    machine.ok("systemctl start mc-idle");
    machine.until_state("no-server");
    let member = "setpriv --reuid nobody --regid nogroup --groups $(getent group mc-idle | cut -d : -f 3) --";
    machine.ok("kill -STOP $(systemctl show -P MainPID mc-idle)");
    machine.ok(&format!(
        "{member} sh -c \"cat /run/mc-idle/status.json >/tmp/forged; mv -f /tmp/forged /run/mc-idle/status.json\""
    ));
    let refused = machine.run("mc-idle status");
    machine.ok("kill -CONT $(systemctl show -P MainPID mc-idle)");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("cannot read /run/mc-idle/status.json: it belongs to the user 65534, not to mc-idle"),
        "{said}"
    );
    machine.until("the agent's own is there again", || machine.run("mc-idle status").status.success());
}

#[test]
fn metrics_are_written_where_a_drop_in_allows_it() {
    let Some(machine) = machine() else { return };
    machine.ok("rm -rf /var/lib/metrics; mkdir -m 755 /var/lib/metrics");
    machine.config(&format!("metrics.textfile = \"/var/lib/metrics/mc-idle.prom\"\n{QUICK}"));
    let told = |parts: [&str; 2]| {
        let said = |text: &str| parts.iter().all(|part| text.contains(part));
        machine.journal().iter().filter(|entry| entry["MESSAGE"].as_str().is_some_and(said)).count()
    };
    machine.ok("systemctl start mc-idle");
    let read_only = ["Read-only file system", "[Service], ReadWritePaths=/var/lib/metrics."];
    machine.until("it says what to allow", || told(read_only) == 1);
    machine.drop_in("[Service]\nReadWritePaths=/var/lib/metrics");
    machine.ok("systemctl restart mc-idle");
    let refused = ["Permission denied", "Let the user that mc-idle runs as write to /var/lib/metrics."];
    machine.until("it says who lacks the right", || told(refused) == 1);
    machine.ok("chgrp mc-idle /var/lib/metrics; chmod g+w /var/lib/metrics");
    machine.until("it says that all is well", || told(["Metrics are written to", "again"]) == 1);
    // By another user: node_exporter has one of its own.
    let page = machine.ok("runuser -u nobody -- cat /var/lib/metrics/mc-idle.prom");
    assert!(page.contains("mc_idle_state{state=\"no-server\"} 1"), "{page}");
    machine.ok("systemctl stop mc-idle");
    let page = machine.ok("cat /var/lib/metrics/mc-idle.prom; rm -r /var/lib/metrics");
    assert!(page.contains("mc_idle_state{state=\"ended\"} 1"), "{page}");
}

#[test]
fn journalctl_explains_the_lines() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.ok("systemctl start mc-idle");
    machine.until_state("no-server");
    let explained = machine.ok("journalctl -x --no-pager -q -u mc-idle -n 40");
    assert!(explained.contains("Subject: The state is now no-server"), "{explained}");
    assert!(explained.contains("no server is listening on the port"), "{explained}");
}
