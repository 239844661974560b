//! The file for Prometheus, as the real program writes it: what it says in each state, and what becomes of it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::apart;
use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::{checkout, mc_idle, wait_until};

/// Every sample of a page by its name and labels, as they are written.
type Samples = BTreeMap<String, u64>;

fn samples(page: &str) -> Samples {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The states that a page says are so.
fn states(samples: &Samples) -> Vec<&str> {
    let ones = samples.iter().filter(|(_, value)| **value == 1).map(|(name, _)| name.as_str());
    ones.filter_map(|name| name.strip_prefix("mc_idle_state{state=\"")?.strip_suffix("\"}")).collect()
}

fn promtool() -> Option<PathBuf> {
    let of_the_set_up = checkout().join("target/manual/promtool");
    let on_path = || Command::new("promtool").arg("--version").output().is_ok().then(|| "promtool".into());
    of_the_set_up.exists().then_some(of_the_set_up).or_else(on_path)
}

/// Prometheus's own tool has nothing to say against the page.
fn assert_taken(page: &str) {
    let mut command = Command::new(promtool().unwrap());
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{page}", String::from_utf8_lossy(&said));
}

/// An agent that writes metrics into a folder of their own.
struct WatchedMount {
    agent: Agent,
    folder: TempDir,
}

impl WatchedMount {
    fn start(port: u16, idle_seconds: f64, further: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("metrics.textfile = \"{}\"", folder.path().join("mc-idle.prom").display());
        let agent = Agent::start(&settings(port, idle_seconds, &[further, &[&line]].concat()), prepare);
        WatchedMount { agent, folder }
    }

    fn dry(port: u16, further: &[&str]) -> Self {
        Self::start(port, 600.0, further, |command| {
            command.arg("--dry-run");
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mc-idle.prom")
    }

    /// Puts `further` in the place of what the configuration says beside the textfile.
    fn reload(&self, port: u16, idle_seconds: f64, further: &[&str]) {
        let line = format!("metrics.textfile = \"{}\"", self.path().display());
        self.agent.config.write(&settings(port, idle_seconds, &[further, &[&line]].concat()));
        self.agent.process.signal(Signal::HUP);
    }

    /// Waits for a page that is `wanted`; every one on the way has to be whole, and Prometheus's tool takes this one.
    fn until(&self, what: &str, wanted: impl Fn(&Samples) -> bool) -> Samples {
        let page = wait_until(what, || {
            let page = fs::read_to_string(self.path()).ok()?;
            let found = samples(&page);
            assert_eq!(states(&found).len(), 1, "{page}");
            assert!(page.ends_with('\n') && found.contains_key("mc_idle_written_timestamp_seconds"), "{page}");
            wanted(&found).then_some(page)
        });
        assert_taken(&page);
        samples(&page)
    }

    fn until_state(&self, state: &str) -> Samples {
        self.until(&format!("the metrics say {state}"), |samples| states(samples) == [state])
    }

    fn beside(&self, arguments: &[&str]) {
        let folder = self.agent.config.path();
        let output = mc_idle().args(arguments).env("RUNTIME_DIRECTORY", folder.parent().unwrap()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

fn of(samples: &Samples, name: &str) -> Option<u64> {
    samples.get(name).copied()
}

const NEEDS: &str = "promtool; run tests/lab/setup.sh manual";

#[test]
fn an_evening_is_told_and_taken_by_prometheus() {
    skip_unless!(promtool().is_some(), NEEDS);
    let server = Silent::start();
    let port = server.port;
    let watched = WatchedMount::dry(port, &["minecraft.min_connection_seconds = 600"]);
    let idle = watched.until_state("idle");
    assert_eq!(of(&idle, "mc_idle_players"), Some(0));
    assert_eq!(of(&idle, "mc_idle_window_seconds{clock=\"idle\"}"), Some(600));
    assert!(of(&idle, "mc_idle_clock_seconds{clock=\"idle\"}").is_some_and(|seconds| seconds < 600));
    assert_eq!(of(&idle, "mc_idle_efs{state=\"off\"}"), Some(1));
    assert_eq!(of(&idle, "mc_idle_dry_run"), Some(1));
    let version = format!("mc_idle_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(of(&idle, &version), Some(1));
    assert_eq!(of(&idle, "mc_idle_heartbeat_timestamp_seconds"), None, "a dry run writes none");
    assert_eq!(fs::metadata(watched.path()).unwrap().permissions().mode() & 0o777, 0o644);

    let player = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let young = watched.until("somebody is young", |samples| of(samples, "mc_idle_young_connections") == Some(1));
    assert_eq!((states(&young), of(&young, "mc_idle_players")), (vec!["idle"], Some(0)));
    watched.reload(port, 600.0, &["minecraft.min_connection_seconds = 0"]);
    let occupied = watched.until_state("occupied");
    assert_eq!(of(&occupied, "mc_idle_players"), Some(1));
    assert_eq!(of(&occupied, "mc_idle_young_connections"), Some(0));
    drop(player);

    watched.beside(&["hold", "1h", "--reason", "backup"]);
    watched.reload(port, 0.5, &[]);
    let due = watched.until_state("due");
    assert_eq!(of(&due, "mc_idle_holds{source=\"operator\"}"), Some(1));
    assert_eq!(of(&due, "mc_idle_holds{source=\"ssh\"}"), Some(0));
    assert_eq!(of(&due, "mc_idle_stop_attempts_total{result=\"accepted\"}"), Some(0));
    watched.beside(&["release"]);
    let accepted = "mc_idle_stop_attempts_total{result=\"accepted\"}";
    let stopping = watched.until("the stop is accepted", |samples| of(samples, accepted) == Some(1));
    assert_eq!(states(&stopping), ["stopping"]);
    assert_eq!(of(&stopping, "mc_idle_holds{source=\"operator\"}"), Some(0));
    // The machine shuts down: that somebody ended the agent would be wrong.
    let mut watched = watched;
    assert!(watched.agent.end().success());
    watched.until_state("stopping");
}

#[test]
fn without_a_server_the_other_clock_runs() {
    skip_unless!(promtool().is_some(), NEEDS);
    let watched = WatchedMount::dry(1, &["no_server_minutes = 20"]);
    let samples = watched.until_state("no-server");
    assert_eq!(of(&samples, "mc_idle_window_seconds{clock=\"no-server\"}"), Some(1200));
    assert_eq!(of(&samples, "mc_idle_window_seconds{clock=\"idle\"}"), None);
}

#[test]
fn what_is_not_known_once_the_agent_has_ended_is_left_out() {
    skip_unless!(promtool().is_some(), NEEDS);
    let mut watched = WatchedMount::dry(Silent::start().port, &[]);
    watched.until_state("idle");
    assert!(watched.agent.end().success());
    let ended = watched.until_state("ended");
    for name in
        ["mc_idle_players", "mc_idle_young_connections", "mc_idle_clock_seconds", "mc_idle_holds", "mc_idle_efs"]
    {
        assert!(!ended.keys().any(|key| key.starts_with(name)), "{name} in {ended:?}");
    }
}

#[test]
fn a_stop_that_fails_is_counted() {
    skip_unless!(promtool().is_some(), NEEDS);
    // Nothing listens there: nobody tells which instance this is.
    let nowhere = "http://127.0.0.1:1";
    let watched = WatchedMount::start(Silent::start().port, 0.5, &[], |command| {
        command.env("AWS_ENDPOINT_URL", nowhere).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere);
    });
    let failed = watched.until_state("stop-failed");
    assert!(of(&failed, "mc_idle_stop_attempts_total{result=\"failed\"}") >= Some(1), "{failed:?}");
    assert_eq!(of(&failed, "mc_idle_stop_attempts_total{result=\"accepted\"}"), Some(0));
}

/// The lines of the agent's journal that are about metrics.
fn told(agent: &Agent) -> Vec<String> {
    let lines = agent.process.output().into_iter();
    lines.filter(|line| line.contains("Metrics") || line.contains("mc-idle.prom")).collect()
}

#[test]
fn a_folder_that_is_not_there_is_told_once_and_the_agent_goes_on() {
    skip_unless!(promtool().is_some(), NEEDS);
    let watched = WatchedMount::dry(Silent::start().port, &[]);
    watched.until_state("idle");
    let folder = watched.folder.path().display().to_string();
    fs::remove_dir_all(watched.folder.path()).unwrap();
    // A change is written at once.
    watched.beside(&["hold", "1h", "--reason", "backup"]);
    let line = watched.agent.process.wait_for("Cannot write metrics to");
    assert!(
        line.contains(&format!("Cannot write metrics to {folder}/mc-idle.prom: No such file or directory")),
        "{line}"
    );
    assert!(line.contains(&format!("Create the folder {folder}.")), "{line}");
    let shown = || fs::read_to_string(watched.agent.config.path().with_file_name("status.json")).unwrap();
    for _ in 0..3 {
        let before = shown();
        wait_until("samples go on", || (shown() != before).then_some(()));
    }
    // Further changes fail as well, and are not told.
    watched.beside(&["release"]);
    wait_until("the hold is over", || shown().contains("\"holds\":[]").then_some(()));
    watched.beside(&["hold", "1h", "--reason", "backup"]);
    wait_until("the hold is in force", || shown().contains("\"reason\":\"backup\"").then_some(()));
    fs::create_dir(&folder).unwrap();
    watched.agent.process.wait_for("mc-idle.prom again");
    watched.until_state("idle");
    assert_eq!(told(&watched.agent).len(), 2, "{:#?}", told(&watched.agent));
}

#[test]
fn a_read_only_place_is_told_with_what_to_change() {
    apart!("--mount");
    let mounted = tempfile::tempdir().unwrap();
    let ok = Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(mounted.path()).status().unwrap();
    assert!(ok.success());
    let folder = mounted.path().display();
    let line = format!("metrics.textfile = \"{folder}/mc-idle.prom\"");
    let agent = Agent::start(&settings(Silent::start().port, 600.0, &[&line]), |command| {
        command.arg("--dry-run");
    });
    let line = agent.process.wait_for("Cannot write metrics to");
    assert!(line.contains("Read-only file system"), "{line}");
    assert!(line.contains(&format!("systemctl edit mc-idle, [Service], ReadWritePaths={folder}.")), "{line}");
}

#[test]
fn a_reload_takes_another_file_or_none_and_leaves_no_old_one() {
    let server = Silent::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let with = |path: &Path| settings(server.port, 600.0, &[&format!("metrics.textfile = \"{}\"", path.display())]);
    let files = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let agent = Agent::start(&with(&file("one.prom")), |command| {
        command.arg("--dry-run");
    });
    agent.notices.wait_for("READY=1");
    for (path, left) in [(file("one.prom"), vec![file("one.prom")]), (file("two.prom"), vec![file("two.prom")])] {
        agent.config.write(&with(&path));
        agent.process.signal(Signal::HUP);
        wait_until("the file is there alone", || (files() == left).then_some(()));
    }
    agent.config.write(&settings(server.port, 600.0, &[]));
    agent.process.signal(Signal::HUP);
    wait_until("no file is left", || files().is_empty().then_some(()));
    agent.process.wait_for("metrics.textfile: ");
}
