//! A real systemd with its journald and dbus in a container, the agent and its unit installed in it as shipped.
//! One container serves all tests that want the same tree, one at a time; each starts from a freshly installed service.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{AGENT, built, checkout, ready};

/// How long to wait for something that should happen. Generous: it measures nothing.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

/// Quick samples, so that no test waits long.
pub(crate) const QUICK: &str = "sample_seconds = 0.2\n[minecraft]\nmin_connection_seconds = 1\n";

/// MESSAGE_IDs, which scripts may rely on: the state has changed, EC2 is asked for the stop, EC2 has refused it.
pub(crate) const CHANGES: [&str; 3] =
    ["81402b251a434c8db9af3dc0225e993d", "4cbfbf4a040b4b6c9de8b0efc5129ac4", "92661af99b18457faf43a9afc9bebc26"];

/// What a container is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tree {
    /// What `setup.sh` has built.
    pub(crate) file: &'static str,
    /// More options for systemd-nspawn.
    pub(crate) options: &'static [&'static str],
    /// A shell line to run inside, once, after the boot.
    pub(crate) prepare: &'static str,
}

struct Container {
    /// Process 1 of the container, as seen from here.
    init: String,
    /// Ends when this process does: its standard input is our pipe.
    _script: Child,
}

/// The freshly installed service, and nobody else's for as long as this lives.
pub(crate) struct Machine {
    container: Arc<Container>,
    /// Where the journal was when the test began.
    cursor: String,
    _alone: MutexGuard<'static, ()>,
}

/// Boots the tree with the service installed in it.
fn install(tree: &Tree) -> Container {
    let files = tempfile::tempdir().expect("no temporary folder");
    let install = |from: &Path, to: &str| {
        let to = files.path().join(to);
        fs::create_dir_all(to.parent().expect("a path with a folder")).expect("cannot make folder");
        fs::copy(from, &to).unwrap_or_else(|error| panic!("cannot copy {} to the tree: {error}", from.display()));
    };
    install(Path::new(AGENT), "usr/bin/mc-idle");
    install(&checkout().join("systemd/mc-idle.service"), "usr/lib/systemd/system/mc-idle.service");
    install(&checkout().join("systemd/mc-idle.toml"), "etc/mc-idle/config.toml");
    install(&checkout().join("systemd/mc-idle.catalog"), "usr/lib/systemd/catalog/mc-idle.catalog");
    install(&checkout().join("systemd/mc-idle.sysusers"), "usr/lib/sysusers.d/mc-idle.conf");
    let container = boot(tree, files.path());
    // An enabled unit stays loaded after its end, so that its exit code can still be asked for.
    let prepared = container.run(&format!(
        "set -e; systemd-sysusers; journalctl --update-catalog; systemctl --quiet enable mc-idle\n{}",
        tree.prepare
    ));
    assert!(prepared.status.success(), "cannot prepare the container: {}", text(&prepared.stderr));
    container
}

/// Boots the tree with `files` laid over it.
fn boot(tree: &Tree, files: &Path) -> Container {
    let mut script = Command::new(checkout().join("tests/machine/nspawn.sh"))
        .arg(built(tree.file))
        .arg(files)
        .args(tree.options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot start nspawn.sh");
    let mut line = String::new();
    BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("cannot read from nspawn.sh");
    let init = line.strip_prefix("pid ").expect("the container did not boot, see above").trim().to_owned();
    Container { init, _script: script }
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

/// One test at a time; `None` when it is to be skipped.
fn alone(tree: &Tree) -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    ready(&["systemd-nspawn", "unshare", "nsenter", "tar"], &[tree.file])
        .then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Machine {
    /// The container of all tests that want the same tree. `None` when the test is to be skipped.
    pub(crate) fn new(tree: &Tree) -> Option<Machine> {
        static CONTAINERS: Mutex<Vec<(Tree, Arc<Container>)>> = Mutex::new(Vec::new());
        let alone = alone(tree)?;
        let mut containers = CONTAINERS.lock().unwrap_or_else(PoisonError::into_inner);
        let container = if let Some((_, container)) = containers.iter().find(|(other, _)| other == tree) {
            Arc::clone(container)
        } else {
            let container = Arc::new(install(tree));
            containers.push((*tree, Arc::clone(&container)));
            container
        };
        drop(containers);
        let mut machine = Machine { container, cursor: String::new(), _alone: alone };
        machine.reset();
        Some(machine)
    }

    /// A container of the test's own, without the service, and with `files` laid over its tree. `None` when the test is to
    /// be skipped.
    pub(crate) fn bare(tree: &Tree, files: &Path) -> Option<Machine> {
        let alone = alone(tree)?;
        let mut machine = Machine { container: Arc::new(boot(tree, files)), cursor: String::new(), _alone: alone };
        machine.remember();
        Some(machine)
    }

    /// Runs a shell line inside the container.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.container.run(line)
    }

    /// The container's process 1, as seen from here.
    pub(crate) fn init(&self) -> &str {
        &self.container.init
    }

    /// What a shell line that must succeed prints.
    pub(crate) fn ok(&self, line: &str) -> String {
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

    /// A program of this machine, which is to run in the container's network: it listens and connects there.
    pub(crate) fn in_its_network(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.container.init, "-n"]).arg(program);
        command
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let line = format!("mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{content}\nEND\n");
        self.ok(&line);
    }

    /// Back to a freshly installed service that has never run.
    fn reset(&mut self) {
        self.ok("systemctl kill --kill-whom=main --signal=CONT systemd-journald
             systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald
             systemctl start dbus.socket dbus.service
             systemctl stop 'player*' 'server*' 'silent*' 'beside*' 2>/dev/null
             systemctl stop mc-idle
             rm -rf /run/mc-idle
             systemctl reset-failed
             umount -q /mnt/efs /home/minecraft/efs
             mount -o remount,hidepid=0 /proc
             rm -rf /run/systemd/system/mc-idle.service.d /etc/mc-idle/config.d /etc/default/mc-idle /run/aws
             systemctl daemon-reload");
        self.remember();
    }

    /// What the journal says from now on is this test's.
    fn remember(&mut self) {
        let cursor = self.ok("journalctl --sync; journalctl -n 0 --show-cursor -q");
        self.cursor = cursor.replacen("-- cursor: ", "", 1);
    }

    pub(crate) fn config(&self, content: &str) {
        self.write("/etc/mc-idle/config.d/50-test.toml", content);
    }

    /// A drop-in for the unit.
    pub(crate) fn drop_in(&self, content: &str) {
        self.write("/run/systemd/system/mc-idle.service.d/50-test.conf", content);
        self.ok("systemctl daemon-reload");
    }

    /// A process of the test inside the container, as a unit, so that it ends with the container. `reset` knows its name.
    pub(crate) fn background(&self, name: &str, line: &str) {
        self.ok(&format!(
            "systemd-run --quiet --collect --unit={name} --service-type=exec --property=KillSignal=SIGKILL /bin/sh -c '{line}'"
        ));
    }

    /// A server that takes every connection and says nothing, in this folder. It listens when this returns.
    pub(crate) fn server_in(&self, folder: &str) {
        self.background("server", &format!("cd {folder} && exec busybox nc -ll -p 25565 -e /bin/sleep 1000"));
        // 25565, in the state LISTEN (proc(5), `/proc/net/tcp`).
        let listens = "grep -q ':63DD [0-9A-F]*:0000 0A ' /proc/net/tcp /proc/net/tcp6";
        self.until("the server listens", || self.run(listens).status.success());
    }

    pub(crate) fn server(&self) {
        self.server_in("/");
    }

    pub(crate) fn property(&self, name: &str) -> String {
        self.ok(&format!("systemctl show -P {name} mc-idle"))
    }

    pub(crate) fn main_pid(&self) -> String {
        let pid = self.property("MainPID");
        assert_ne!(pid, "0", "mc-idle does not run\n{}", self.story());
        pid
    }

    /// The seconds that the idle clock of the agent shows, which is not the clock from before a server was there.
    pub(crate) fn idle_clock(&self) -> u64 {
        let kept = "grep -o '\"clock\":\"idle\",\"elapsed_ms\":[0-9]*' /run/mc-idle/state.json | cut -d : -f 3";
        text(&self.run(kept).stdout).trim().parse::<u64>().map_or(0, |elapsed| elapsed / 1000)
    }

    /// Waits until `done` says so.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "waited in vain: {what}\n{}", self.story());
            sleep(Duration::from_millis(100));
        }
    }

    /// The journal of the unit since the test began.
    pub(crate) fn journal(&self) -> Vec<HashMap<String, Value>> {
        self.ok(&format!("journalctl --sync; journalctl -q -u mc-idle -o json --after-cursor='{}'", self.cursor))
            .lines()
            .map(|line| serde_json::from_str(line).expect("journalctl prints JSON"))
            .collect()
    }

    /// The lines that tell of a change of state.
    pub(crate) fn states(&self) -> Vec<Line> {
        let lines = self.journal();
        lines.iter().filter_map(Line::read).filter(|line| CHANGES.contains(&line.kind.as_str())).collect()
    }

    pub(crate) fn until_state(&self, state: &str) -> Line {
        self.until(&format!("the journal says {state}"), || {
            self.states().last().is_some_and(|line| line.state == state)
        });
        self.states().pop().expect("a line")
    }

    /// The same for a state that may be over before it is looked for.
    pub(crate) fn until_it_was(&self, state: &str) -> Line {
        let first = || self.states().into_iter().find(|line| line.state == state);
        self.until(&format!("the journal has said {state}"), || first().is_some());
        first().expect("a line")
    }

    /// What to read when a test fails.
    pub(crate) fn story(&self) -> String {
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
pub(crate) struct Line {
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) state: String,
    pub(crate) players: String,
    pub(crate) idle_seconds: Option<u64>,
    pub(crate) window_seconds: Option<u64>,
    pub(crate) efs: String,
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

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn states(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.state.as_str()).collect()
}
