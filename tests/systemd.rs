//! The agent, its unit and its shipped config under a real systemd, in a container with a real journald and dbus.
//! One container serves all tests, one at a time; each starts from a freshly installed service.
//! Needs root and what `tests/machine/setup.sh` installs and builds.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test, which waits for systemd in real time"
)]

mod machine;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use machine::{AGENT, built, project, ready, say};
use serde_json::Value;

/// How long to wait for something that should happen. Generous: it measures nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Quick samples, so that no test waits long.
const QUICK: &str = "sample_seconds = 0.2\n[minecraft]\nmin_connection_seconds = 1\n";

/// MESSAGE_IDs, which scripts may rely on: the state has changed, EC2 is asked for the stop, EC2 has refused it.
const CHANGES: [&str; 3] =
    ["81402b251a434c8db9af3dc0225e993d", "4cbfbf4a040b4b6c9de8b0efc5129ac4", "92661af99b18457faf43a9afc9bebc26"];
/// The configuration was read again, or refused.
const CONFIGURATION: &str = "09dad58bc97042939b6344787a7aea3e";

struct Container {
    /// Process 1 of the container, as seen from here.
    init: String,
    /// Ends when this process does: its standard input is our pipe.
    _script: Child,
}

/// The freshly installed service, and nobody else's for as long as this lives.
struct Machine {
    container: &'static Container,
    /// Where the journal was when the test began.
    cursor: String,
    _alone: MutexGuard<'static, ()>,
}

/// `None` when the test is to be skipped.
fn machine() -> Option<Machine> {
    static ALONE: Mutex<()> = Mutex::new(());
    static CONTAINER: OnceLock<Container> = OnceLock::new();
    if !ready(&["systemd-nspawn", "unshare", "nsenter", "tar"], &["root.tar"]) {
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let container = CONTAINER.get_or_init(boot);
    let mut machine = Machine { container, cursor: String::new(), _alone: alone };
    machine.reset();
    Some(machine)
}

fn boot() -> Container {
    let files = tempfile::tempdir().expect("no temporary folder");
    let install = |from: &Path, to: &str| {
        let to = files.path().join(to);
        fs::create_dir_all(to.parent().expect("a path with a folder")).expect("cannot make folder");
        fs::copy(from, &to).unwrap_or_else(|error| panic!("cannot copy {} to the tree: {error}", from.display()));
    };
    install(Path::new(AGENT), "usr/bin/mc-idle");
    install(&project().join("systemd/mc-idle.service"), "usr/lib/systemd/system/mc-idle.service");
    install(&project().join("systemd/mc-idle.toml"), "etc/mc-idle/config.toml");
    let mut script = Command::new(project().join("tests/machine/nspawn.sh"))
        .arg(built("root.tar"))
        .arg(files.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot start nspawn.sh");
    let mut line = String::new();
    BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("cannot read from nspawn.sh");
    let init = line.strip_prefix("pid ").expect("the container did not boot, see above").trim().to_owned();
    let container = Container { init, _script: script };
    // An enabled unit stays loaded after its end, so that its exit code can still be asked for.
    container.run("systemctl --quiet enable mc-idle");
    container
}

impl Container {
    /// Runs a shell line inside.
    fn run(&self, line: &str) -> Output {
        Command::new("nsenter")
            .args(["-t", &self.init, "-a", "/bin/sh", "-c", line])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("cannot run nsenter")
    }
}

impl Machine {
    /// Runs a shell line inside the container.
    fn run(&self, line: &str) -> Output {
        self.container.run(line)
    }

    /// What a shell line that must succeed prints.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(
            output.status.success(),
            "`{line}` ended with {}\n{}{}\n{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            self.story()
        );
        text(&output.stdout).trim().to_owned()
    }

    fn write(&self, path: &str, content: &str) {
        let line = format!("mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{content}\nEND\n");
        self.ok(&line);
    }

    /// Back to a freshly installed service that has never run.
    fn reset(&mut self) {
        self.ok("systemctl kill --kill-whom=main --signal=CONT systemd-journald
             systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald
             systemctl stop 'player*' 'server*' 'silent*' 2>/dev/null
             systemctl stop mc-idle
             systemctl reset-failed
             umount -q /mnt/efs /home/minecraft/efs
             rm -rf /run/systemd/system/mc-idle.service.d /etc/mc-idle/config.d /etc/default/mc-idle /run/aws
             systemctl daemon-reload");
        let cursor = self.ok("journalctl --sync; journalctl -n 0 --show-cursor -q");
        self.cursor = cursor.replacen("-- cursor: ", "", 1);
    }

    fn config(&self, content: &str) {
        self.write("/etc/mc-idle/config.d/50-test.toml", content);
    }

    /// A drop-in for the unit.
    fn drop_in(&self, content: &str) {
        self.write("/run/systemd/system/mc-idle.service.d/50-test.conf", content);
        self.ok("systemctl daemon-reload");
    }

    /// A process of the test inside the container, as a unit, so that it ends with the container. `reset` knows its name.
    fn background(&self, name: &str, line: &str) {
        self.ok(&format!(
            "systemd-run --quiet --collect --unit={name} --service-type=exec --property=KillSignal=SIGKILL /bin/sh -c '{line}'"
        ));
    }

    fn server(&self) {
        self.background("server", "busybox nc -ll -p 25565 -e /bin/sleep 1000");
    }

    fn player(&self) {
        self.background("player", "sleep 1000 | busybox nc 127.0.0.1 25565");
    }

    /// An AWS that accepts every call and never answers one. Each call is kept as a file in /run/aws.
    fn silent_aws(&self, credentials: bool) {
        self.ok("mkdir -p /run/aws");
        self.write("/run/aws.sh", "exec cat >/run/aws/$$");
        self.background("silent", "busybox nc -ll -p 8099 -e /bin/sh /run/aws.sh");
        let mut environment = "AWS_ENDPOINT_URL=http://127.0.0.1:8099\n\
             AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8099\n"
            .to_owned();
        if credentials {
            environment += "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=secret\n";
        }
        self.write("/etc/default/mc-idle", &environment);
    }

    fn property(&self, name: &str) -> String {
        self.ok(&format!("systemctl show -P {name} mc-idle"))
    }

    fn main_pid(&self) -> String {
        let pid = self.property("MainPID");
        assert_ne!(pid, "0", "mc-idle does not run\n{}", self.story());
        pid
    }

    /// Waits until `done` says so.
    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "waited in vain: {what}\n{}", self.story());
            sleep(Duration::from_millis(100));
        }
    }

    /// The journal of the unit since the test began.
    fn journal(&self) -> Vec<HashMap<String, Value>> {
        self.ok(&format!("journalctl --sync; journalctl -q -u mc-idle -o json --after-cursor='{}'", self.cursor))
            .lines()
            .map(|line| serde_json::from_str(line).expect("journalctl prints JSON"))
            .collect()
    }

    /// The lines that tell of a change of state.
    fn states(&self) -> Vec<Line> {
        let lines = self.journal();
        lines.iter().filter_map(Line::read).filter(|line| CHANGES.contains(&line.kind.as_str())).collect()
    }

    fn until_state(&self, state: &str) -> Line {
        self.until(&format!("the journal says {state}"), || {
            self.states().last().is_some_and(|line| line.state == state)
        });
        self.states().pop().expect("a line")
    }

    /// What to read when a test fails.
    fn story(&self) -> String {
        let line = format!(
            "systemctl kill --kill-whom=main --signal=CONT systemd-journald; \
             systemctl status --no-pager -l -n 0 mc-idle; journalctl --no-pager -q -n 40 --after-cursor='{}'",
            self.cursor
        );
        text(&self.run(&line).stdout)
    }
}

/// One line of the agent in the journal, with its fields.
#[derive(Debug)]
struct Line {
    kind: String,
    message: String,
    state: String,
    players: String,
    idle_seconds: Option<u64>,
    window_seconds: Option<u64>,
    efs: String,
}

impl Line {
    fn read(entry: &HashMap<String, Value>) -> Option<Line> {
        let field = |name: &str| entry.get(name).map(|value| value.as_str().unwrap_or_default().to_owned());
        let number = |name: &str| {
            field(name).map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number in {entry:?}")))
        };
        Some(Line {
            state: field("MC_STATE")?,
            kind: field("MESSAGE_ID").unwrap_or_else(|| panic!("no MESSAGE_ID in {entry:?}")),
            message: field("MESSAGE").unwrap_or_default(),
            players: field("MC_PLAYERS").unwrap_or_default(),
            idle_seconds: number("MC_IDLE_SECONDS"),
            window_seconds: number("MC_WINDOW_SECONDS"),
            efs: field("MC_EFS").unwrap_or_default(),
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn states(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.state.as_str()).collect()
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
    assert_eq!(line.efs, "missing");
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
    machine.drop_in("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=100ms");
    machine.ok("systemctl start mc-idle");
    sleep(Duration::from_secs(5));
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
    assert!(took <= 2_000_000, "the stop took {took} µs\n{}", machine.story());
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
    until_status("Nobody");
    for _ in 0..3 {
        machine.player();
        until_status("1 player");
        sleep(Duration::from_secs(1));
        machine.ok("systemctl stop player");
        until_status("Nobody");
    }
    assert_eq!(machine.main_pid(), pid, "{}", machine.story());
    assert_eq!(machine.property("NRestarts"), "0");
    assert_eq!(machine.property("ActiveState"), "active");
}

#[test]
fn runs_on_without_journald() {
    let Some(machine) = machine() else { return };
    machine.config(QUICK);
    machine.drop_in("[Service]\nWatchdogSec=2");
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
    machine.drop_in("[Service]\nWatchdogSec=2");
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
