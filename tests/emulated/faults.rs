//! What breaks around the agent, and what its operator sees of it: the rows of `tests/faults.md` that no other file tests. All
//! on real parts: the agent as a process, real sockets, files, limits and signals; only AWS is emulated. Over 400 lines,
//! since each fault needs its own way of breaking something, and what they share is here.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "waits in real time, and ends at what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::apart;
use crate::skip_unless;
use crate::support::agent::{Agent, Silent, settings};
use crate::support::emulated_aws::{self, Call, EmulatedAws};
use crate::support::{Process, wait_until};
use jiff::Timestamp;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;

// ---- What the tests share.

/// In seconds: so short that what is left of it is told in seconds, and longer than any of these tests.
const WINDOW: u32 = 110;
/// The line that tells of the granted stop.
const AGREED: &str = "EC2 accepted the stop";
/// The line that says that a dry run has come to its end.
const STOPPED: &str = "EC2 would be asked to stop this instance now";
/// What is said of a connection that holds a due stop off.
const JOINING: &str = "somebody may be joining";
/// The warning that the state cannot be written.
const UNWRITTEN: &str = "The clocks would not survive a restart: cannot write ";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The agent in `emulated_aws`, with the credentials of the instance's role.
fn agent_in(emulated_aws: &EmulatedAws, text: &str) -> Agent {
    Agent::start(text, |command| emulated_aws.attach(command))
}

/// The agent in a dry run.
fn dry_agent(text: &str) -> Agent {
    Agent::start(text, |command| {
        command.arg("--dry-run");
    })
}

/// The agent in a dry run that keeps its state in `folder`.
fn dry_agent_in(folder: &Path, text: &str) -> Agent {
    Agent::start(text, |command| {
        command.arg("--dry-run").env("RUNTIME_DIRECTORY", folder);
    })
}

fn runtime_directory(agent: &Agent) -> PathBuf {
    agent.config.path().parent().unwrap().to_owned()
}

/// Another agent in `emulated_aws` with the runtime directory of `agent`.
fn agent_after(agent: &Agent, emulated_aws: &EmulatedAws, text: &str) -> Agent {
    Agent::start(text, |command| {
        emulated_aws.attach(command);
        command.env("RUNTIME_DIRECTORY", runtime_directory(agent));
    })
}

/// What a machine does to an agent that it has no memory for, say.
fn kill(agent: &mut Agent) {
    agent.process.signal(Signal::KILL);
    assert_eq!(agent.process.wait().signal(), Some(Signal::KILL.as_raw()));
}

/// How often it has said `text`.
fn times(agent: &Agent, text: &str) -> usize {
    agent.process.output().iter().filter(|line| line.contains(text)).count()
}

/// Limits the running agent, and returns what it was allowed before.
fn limit(agent: &Agent, resource: Resource, to: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(agent.process.pid().cast_signed());
    let most = getrlimit(resource).maximum;
    prlimit(pid, resource, Rlimit { current: to, maximum: most }).unwrap().current
}

fn loopback() {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(status.success());
}

// ---- The process: files, memory, time to run.

#[test]
fn an_agent_that_can_open_no_file_is_blind_and_stops_nothing_until_it_can() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 5.0, &[]));
    agent.notices.wait_for_countdown(4);
    let allowed = limit(&agent, Resource::Nofile, Some(0));
    let line = agent.process.wait_for("warning: Blind: ");
    // The first of the two tables, or the second if the limit comes in between.
    assert!(line.contains("cannot read /proc/self/net/tcp") && line.contains(": Too many open files"), "{line}");
    // Longer than what was left.
    sleep(Duration::from_secs(5));
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (0, "running"));
    limit(&agent, Resource::Nofile, allowed);
    agent.process.wait_for(AGREED);
    assert_eq!(emulated_aws.state(), "stopped");
}

#[test]
fn an_agent_without_memory_ends_and_the_next_one_goes_on() {
    apart!("--net");
    loopback();
    // Both ends of many connections are held here.
    let most = getrlimit(Resource::Nofile).maximum;
    prlimit(None, Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let (server, folder) = (Silent::start(), tempfile::tempdir().unwrap());
    let text = settings(server.port, 4.0, &[]);
    let mut agent = dry_agent_in(folder.path(), &text);
    agent.notices.wait_for_countdown(3);
    // It keeps what it has; to look at a crowd takes more.
    limit(&agent, Resource::As, Some(1));
    let crowd: Vec<TcpStream> =
        (0..1900).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap()).collect();
    assert_eq!(agent.process.wait().signal(), Some(Signal::ABORT.as_raw()), "{:#?}", agent.process.output());
    agent.process.wait_for("memory allocation of ");

    // As its supervisor does.
    let next = dry_agent_in(folder.path(), &text);
    next.process.wait_for(JOINING);
    assert_eq!(times(&next, STOPPED), 0);
    let countdown = next.notices.countdown();
    assert!(countdown.iter().all(|left| *left <= 3), "the clock was set back: {countdown:?}");
    drop(crowd);
    next.process.wait_for(STOPPED);
}

/// Is stopped for longer than what was left of its window.
fn stopped_once() {
    let agent = dry_agent(&settings(Silent::start().port, 4.0, &[]));
    agent.notices.wait_for_countdown(3);
    agent.process.freeze();
    // What it has said before is heard.
    sleep(Duration::from_millis(200));
    let told = agent.notices.countdown();
    let left = *told.last().unwrap();
    sleep(Duration::from_secs(left + 2));
    agent.process.signal(Signal::CONT);
    let then = wait_until("it goes on", || agent.notices.countdown().get(told.len()).copied());
    assert!(then + 1 >= left, "{left} s were left, and then {then} s");
    agent.process.wait_for(STOPPED);
}

/// Is stopped most of the time, for longer than its window in all.
fn seldom_run() {
    let agent = dry_agent(&settings(Silent::start().port, 8.0, &["sample_seconds = 0.2"]));
    agent.notices.wait_for_countdown(8);
    // Each pause counts as one interval.
    for _ in 0..12 {
        agent.process.freeze();
        sleep(Duration::from_millis(700));
        agent.process.signal(Signal::CONT);
        sleep(Duration::from_millis(30));
    }
    assert_eq!(times(&agent, STOPPED), 0, "{:#?}", agent.process.output());
    agent.process.wait_for(STOPPED);
}

#[test]
fn an_agent_that_does_not_get_to_run_stops_late_and_never_early() {
    thread::scope(|scope| {
        scope.spawn(stopped_once);
        scope.spawn(seldom_run);
    });
}

// ---- SIGKILL at every step of a stop.

fn is_unanswered(call: &Call) -> bool {
    call.status.is_none()
}

/// The calls with this access key.
fn calls_of(emulated_aws: &EmulatedAws, access_key: &str) -> Vec<Call> {
    emulated_aws.calls().into_iter().filter(|call| call.access_key == access_key).collect()
}

fn stops_of(emulated_aws: &EmulatedAws, access_key: &str) -> Vec<Call> {
    calls_of(emulated_aws, access_key).into_iter().filter(Call::is_real).collect()
}

/// Kills two agents in the middle of a stop, where `rules` keep them and `reached` tells of it in an agent's calls. Others
/// go on with a look of their own: one stops an empty machine, and the other cuts nobody off who has joined meanwhile.
/// `requests` have gone out before each kill.
fn killed(rules: &Value, reached: impl Fn(&[Call]) -> bool + Sync, requests: usize) {
    let (emulated_aws, servers, keys) =
        (EmulatedAws::start(), [Silent::start(), Silent::start()], ["AKIAALONE", "AKIAJOINED"]);
    let ports = servers.map(|server| server.port);
    let texts = ports.map(|port| settings(port, 2.0, &[]));
    emulated_aws.faults(rules);
    let start = |number: usize, folder: Option<PathBuf>| {
        Agent::start(&texts[number], |command| {
            emulated_aws.attach(command);
            command.env("AWS_ACCESS_KEY_ID", keys[number]).env("AWS_SECRET_ACCESS_KEY", "secret");
            command.envs(folder.map(|folder| ("RUNTIME_DIRECTORY", folder)));
        })
    };
    let mut killed = [0, 1].map(|number| start(number, None));
    // Neither waits for the other: no step lasts long.
    thread::scope(|scope| {
        for (agent, key) in killed.iter_mut().zip(keys) {
            let (emulated_aws, reached) = (&emulated_aws, &reached);
            scope.spawn(move || {
                wait_until("the step is reached", || reached(&calls_of(emulated_aws, key)).then_some(()));
                kill(agent);
                assert_eq!(stops_of(emulated_aws, key).len(), requests);
            });
        }
    });
    emulated_aws.faults(&json!([]));

    let player = TcpStream::connect((Ipv4Addr::LOCALHOST, ports[1])).unwrap();
    let [alone, joined] = [0, 1].map(|number| start(number, Some(runtime_directory(&killed[number]))));
    alone.process.wait_for(AGREED);
    joined.process.wait_for(JOINING);
    sleep(Duration::from_secs(1));
    assert_eq!(stops_of(&emulated_aws, keys[1]).len(), requests, "a player is cut off");
    drop(player);
    joined.process.wait_for(AGREED);
    for (agent, key) in [alone, joined].iter().zip(keys) {
        let stops = stops_of(&emulated_aws, key);
        assert_eq!((stops.len(), stops[requests].status), (requests + 1, Some(200)), "{stops:?}");
        let countdown = agent.notices.countdown();
        assert!(countdown.iter().all(|left| *left <= 1), "the clock was set back: {countdown:?}");
    }
}

#[test]
fn a_kill_before_the_request_leaves_the_stop_to_the_next_agent() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let tells_of_it =
        |call: &Call| call.params.get("Value").is_some_and(|value| value.as_str().unwrap().contains("\"stopping\""));
    let is_question = |call: &&Call| call.action == "StopInstances" && is_unanswered(call);
    thread::scope(|scope| {
        scope.spawn(|| {
            let last_heartbeat_hangs = json!([{"action": "PutParameter", "hang": true}]);
            killed(&last_heartbeat_hangs, |calls| calls.iter().any(|call| is_unanswered(call) && tells_of_it(call)), 0);
        });
        scope.spawn(|| {
            // What opens the connection. It is also asked once at the start, and not again before this is over.
            let dry_run_hangs = json!([{"action": "StopInstances", "dry_run": true, "hang": true}]);
            killed(&dry_run_hangs, |calls| calls.iter().filter(is_question).count() >= 2, 0);
        });
    });
}

#[test]
fn a_kill_after_the_request_has_the_next_agent_look_and_ask_again() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let is_answered = |call: &Call| call.is_real() && call.status == Some(200);
    thread::scope(|scope| {
        scope.spawn(|| {
            let request_hangs = json!([{"action": "StopInstances", "dry_run": false, "hang": true}]);
            killed(&request_hangs, |calls| calls.iter().any(|call| call.is_real() && is_unanswered(call)), 1);
        });
        scope.spawn(|| killed(&json!([]), |calls| calls.iter().any(is_answered), 1));
    });
}

#[test]
fn two_agents_at_once_cut_nobody_off_and_the_second_says_that_it_keeps_no_state() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, server) = (EmulatedAws::start(), Silent::start());
    let text = settings(server.port, 3.0, &[]);
    let first = agent_in(&emulated_aws, &text);
    first.notices.wait_for("READY=1");
    let second = agent_after(&first, &emulated_aws, &text);
    let joining = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    let line = second.process.wait_for("warning: The clocks will not survive a restart: cannot keep ");
    assert!(line.contains("state.json: another mc-idle uses its folder"), "{line}");
    for agent in [&first, &second] {
        agent.process.wait_for(JOINING);
    }
    sleep(Duration::from_secs(2));
    assert_eq!((emulated_aws.stops().len(), emulated_aws.state().as_str()), (0, "running"));
    let gone = now();
    drop(joining);
    for agent in [&first, &second] {
        agent.process.wait_for(AGREED);
    }
    assert!(
        emulated_aws
            .stops()
            .iter()
            .all(|call| call.at > gone && call.params["InstanceId.1"] == emulated_aws.instance_id)
    );
    assert_eq!(emulated_aws.state(), "stopped");
    assert_eq!((times(&first, "The clocks "), times(&second, "The clocks ")), (0, 1));
}

// ---- The disk, and the state that an agent leaves there.

/// A small file system in the test's own mount namespace.
struct Disk(TempDir);

impl Disk {
    fn mount(flags: MountFlags) -> Self {
        let disk = Disk(tempfile::tempdir().unwrap());
        mount("none", disk.path(), "tmpfs", flags, c"size=64k").unwrap();
        disk
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = fs::File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What the agent still has open there goes with the agent.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_once_and_keeps_nothing_back() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    apart!("--mount");
    let (emulated_aws, disk) = (EmulatedAws::start(), Disk::mount(MountFlags::empty()));
    disk.fill();
    let agent = Agent::start(&settings(Silent::start().port, 6.0, &[]), |command| {
        emulated_aws.attach(command);
        command.env("RUNTIME_DIRECTORY", disk.path());
    });
    let line = agent.process.wait_for(UNWRITTEN);
    assert!(line.contains("warning: ") && line.contains("state.json: No space left on device"), "{line}");
    // Several samples more.
    agent.notices.wait_for_countdown(5);
    assert_eq!(times(&agent, UNWRITTEN), 1, "{:#?}", agent.process.output());
    fs::remove_file(disk.path().join("filler")).unwrap();
    agent.process.wait_for("state.json is written again; the clocks survive a restart.");
    let kept = fs::read_to_string(disk.path().join("state.json")).unwrap();
    assert!(kept.contains("\"idle\""), "{kept}");

    // And full again, up to the end.
    wait_until("it is told again", || {
        disk.fill();
        (times(&agent, UNWRITTEN) == 2).then_some(())
    });
    agent.process.wait_for(AGREED);
    assert_eq!(emulated_aws.state(), "stopped");
    assert_eq!(emulated_aws.heartbeats().last().unwrap()["state"], "stopping");
    assert_eq!(times(&agent, UNWRITTEN), 2);
}

#[test]
fn a_read_only_runtime_directory_is_told_once_and_keeps_nothing_back() {
    apart!("--mount");
    let disk = Disk::mount(MountFlags::RDONLY);
    let agent = dry_agent_in(disk.path(), &settings(Silent::start().port, 3.0, &[]));
    let line = agent.process.wait_for(UNWRITTEN);
    assert!(line.contains("warning: ") && line.contains("state.json: Read-only file system"), "{line}");
    agent.process.wait_for(STOPPED);
    assert_eq!(times(&agent, UNWRITTEN), 1, "{:#?}", agent.process.output());
    mount_remount(disk.path(), MountFlags::empty(), c"").unwrap();
    agent.process.wait_for("state.json is written again; the clocks survive a restart.");
}

/// The kernel's id of this boot.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// An agent is killed after it has counted at least 3 s of its window, and what it leaves is changed by `change`. Another
/// one finds that. Returns its warnings, and what it says is left of the window.
fn found(change: impl Fn(&str) -> String) -> (Vec<String>, u64) {
    let (server, folder) = (Silent::start(), tempfile::tempdir().unwrap());
    let (text, state) = (settings(server.port, f64::from(WINDOW), &[]), folder.path().join("state.json"));
    let mut first = dry_agent_in(folder.path(), &text);
    first.notices.wait_for_countdown(u64::from(WINDOW) - 4);
    kill(&mut first);
    let left_behind = fs::read_to_string(&state).unwrap();
    fs::write(&state, change(&left_behind)).unwrap();
    let next = dry_agent_in(folder.path(), &text);
    let left = wait_until("the clock runs", || next.notices.countdown().first().copied());
    // What was wrong is replaced.
    wait_until("the state is kept", || {
        let kept = fs::read_to_string(&state).unwrap();
        (kept.contains(&boot_id()) && kept.contains("\"v\":2")).then_some(())
    });
    (next.process.output().into_iter().filter(|line| line.contains("warning: ")).collect(), left)
}

#[test]
fn an_agent_that_was_killed_is_followed_by_one_that_goes_on_with_the_window() {
    let (warnings, left) = found(str::to_owned);
    assert_eq!(warnings, [""; 0]);
    assert!(left <= u64::from(WINDOW) - 3, "the window did not go on: {left} s are left");
}

#[test]
fn a_state_that_cannot_be_taken_up_is_told_once_and_the_clock_starts_at_zero() {
    type Change = fn(&str) -> String;
    let cases: [(Change, &str); 5] = [
        (|state| state[..state.len() / 2].to_owned(), "it is truncated or malformed: "),
        (|_| String::new(), "it is truncated or malformed: "),
        (|_| "[\"nonsense\"]".to_owned(), "it is truncated or malformed: "),
        (|state| state.replace(&boot_id(), "00000000-0000-4000-8000-000000000000"), "it is from another boot."),
        (|state| state.replace("\"v\":2", "\"v\":3"), "it has version 3, not 2."),
    ];
    thread::scope(|scope| {
        for (change, complaint) in cases {
            scope.spawn(move || {
                let (warnings, left) = found(change);
                let said = format!("state.json; the clock starts at zero: {complaint}");
                assert!(matches!(&warnings[..], [line] if line.contains(&said)), "{complaint} {warnings:#?}");
                assert_eq!(left, u64::from(WINDOW), "{complaint}");
            });
        }
    });
}

// ---- Who supervises the agent.

#[test]
fn a_notify_socket_that_is_gone_keeps_nothing_back_and_one_that_is_there_again_hears_how_it_is() {
    let server = Silent::start();
    let mut agent = dry_agent(&settings(server.port, 3.0, &["minecraft.min_connection_seconds = 0"]));
    agent.notices.wait_for("READY=1");
    let socket = agent.notices.socket();
    fs::remove_file(&socket).unwrap();
    let player = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    agent.process.wait_for("1 player is on port");
    // It has told the missing one.
    sleep(Duration::from_secs(1));
    let again = UnixDatagram::bind(&socket).unwrap();
    again.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut message = [0; 1024];
    // What was so before is told, though it is no news.
    wait_until("the status is told again", || {
        let length = again.recv(&mut message).ok()?;
        message[..length].starts_with(b"STATUS=1 player is on port").then_some(())
    });
    fs::remove_file(&socket).unwrap();
    drop((again, player));
    agent.process.wait_for(STOPPED);
    assert_eq!(agent.end().code(), Some(0));
    agent.process.wait_for("mc-idle is exiting on request.");
}

#[test]
fn a_supervisor_that_does_not_read_keeps_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let (_supervisor, sender) = (UnixDatagram::bind(&socket).unwrap(), UnixDatagram::unbound().unwrap());
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"STATUS=.", &socket).is_ok() {}
    // Longer than it takes to fill the agent's own queue.
    let mut agent = Agent::start(&settings(Silent::start().port, 8.0, &["sample_seconds = 0.2"]), |command| {
        command.arg("--dry-run").env("NOTIFY_SOCKET", &socket);
    });
    agent.process.wait_for(STOPPED);
    assert_eq!(agent.end().code(), Some(0));
    agent.process.wait_for("mc-idle is exiting on request.");
}

// ---- What EC2 and SSM make of a request.

#[test]
fn an_answer_that_is_none_is_no_stop_and_a_wrong_clock_is_named() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    // Which agent meets which is up to them.
    let rules = [
        (json!({"code": "AuthFailure"}), "EC2 answered AuthFailure: check that the machine's clock is right"),
        (json!({"code": "RequestExpired"}), "EC2 answered RequestExpired: check that the machine's clock is right"),
        (
            json!({"code": "SignatureDoesNotMatch"}),
            "EC2 answered SignatureDoesNotMatch: check that the machine's clock is right",
        ),
        // Nobody said that the instance stops: an empty page, as from a proxy.
        (json!({"status": 200}), "cannot parse the answer from EC2's endpoint: "),
        (json!({"status": 302}), "cannot parse the answer from EC2's endpoint: "),
    ];
    let emulated_aws = EmulatedAws::start();
    let faults = rules.iter().map(|(rule, _)| {
        let mut rule = rule.clone();
        (rule["action"], rule["dry_run"], rule["times"]) = (json!("StopInstances"), json!(false), json!(1));
        rule
    });
    emulated_aws.faults(&faults.collect());
    let agents: Vec<Agent> = rules
        .iter()
        .map(|_| agent_in(&emulated_aws, &settings(Silent::start().port, 8.0, &["heartbeat.parameter = \"\""])))
        .collect();
    let failed: BTreeSet<String> = agents
        .iter()
        .map(|agent| {
            let line = agent.process.wait_for("warning: The stop failed: ");
            assert_eq!(times(agent, AGREED), 0);
            line.split_once("The stop failed: ").unwrap().1.to_owned()
        })
        .collect();
    for (rule, reason) in rules {
        assert!(failed.iter().any(|line| line.starts_with(reason)), "{rule}: {failed:#?}");
    }
    assert_eq!(emulated_aws.state(), "running");
    for agent in &agents {
        agent.process.wait_for(AGREED);
    }
    assert_eq!(emulated_aws.state(), "stopped");
}

#[test]
fn an_ssm_that_never_answers_keeps_no_stop_back() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([{"service": "ssm", "hang": true}]));
    let agent = agent_in(&emulated_aws, &settings(Silent::start().port, 2.0, &[]));
    agent.process.wait_for("warning: Cannot write heartbeats: SSM does not answer");
    agent.process.wait_for(AGREED);
    assert_eq!(emulated_aws.state(), "stopped");
    assert!(emulated_aws.heartbeats().is_empty());
}

// ---- Instance metadata and credentials.

/// Instance metadata with credentials that last for two seconds, each time others, and that can fall silent. A fake: the
/// emulated one gives them for hours.
struct Metadata {
    address: String,
    silent: Arc<AtomicBool>,
}

impl Metadata {
    /// What its access keys begin with; a number follows.
    const KEY: &str = "ASIATWOSECONDS";

    fn start(instance_id: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let silent = Arc::new(AtomicBool::new(false));
        let (holds, instance_id) = (Arc::clone(&silent), instance_id.to_owned());
        thread::spawn(move || {
            let mut held = Vec::new();
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                if holds.load(Ordering::Relaxed) {
                    held.push(stream);
                } else {
                    answer(stream, number, &instance_id);
                }
            }
        });
        Metadata { address, silent }
    }

    fn fall_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }
}

fn answer(mut stream: TcpStream, number: usize, instance_id: &str) {
    let lines: Vec<String> =
        BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let body = match path.trim_start_matches("/latest/") {
        "api/token" => "token".to_owned(),
        "meta-data/instance-id" => instance_id.to_owned(),
        "meta-data/placement/region" => "eu-west-1".to_owned(),
        "meta-data/instance-life-cycle" => "on-demand".to_owned(),
        "meta-data/iam/security-credentials/" => "role".to_owned(),
        "meta-data/iam/security-credentials/role" => {
            let ends = Timestamp::try_from(SystemTime::now() + Duration::from_secs(2)).unwrap();
            json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": format!("{}{number}", Metadata::KEY), "SecretAccessKey": "secret",
                "Token": "token", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": ends.strftime("%FT%TZ").to_string(),
            })
            .to_string()
        }
        _ => String::new(),
    };
    let status = if body.is_empty() { 404 } else { 200 };
    let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
    let head = format!("HTTP/1.1 {status} -\r\n{ttl}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    // Whether anybody still listens is their affair.
    let _ = stream.write_all((head + &body).as_bytes());
}

#[test]
fn credentials_that_expire_or_never_come_are_told_and_the_stop_comes_with_good_ones() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let emulated_aws = EmulatedAws::start();
    emulated_aws.faults(&json!([
        // What EC2 answers to expired ones.
        {"action": "StopInstances", "dry_run": false, "code": "RequestExpired"},
        {"service": "imds", "action": "meta-data/iam/security-credentials/", "hang": true},
    ]));
    // Without heartbeats: one more that waits would only take time.
    let without = agent_in(&emulated_aws, &settings(Silent::start().port, 2.0, &["heartbeat.parameter = \"\""]));
    let metadata = Metadata::start(&emulated_aws.instance_id);
    let with_expired = Agent::start(&settings(Silent::start().port, 4.0, &[]), |command| {
        emulated_aws.attach(command);
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.address);
    });
    with_expired.process.wait_for("Permission check passed: EC2 allows the stop.");
    metadata.fall_silent(true);
    let is_told = |agent: &Agent, reason: &str| {
        agent.process.wait_for(&format!("warning: The stop failed: {reason}"));
        agent.notices.wait_for_status(&format!("The stop failed: {reason}"));
        agent.notices.assert_alive_for(Duration::from_secs(1));
    };
    is_told(&without, "no credentials (attach an instance profile with a role): ");
    is_told(
        &with_expired,
        "EC2 answered RequestExpired: check that the machine's clock is right and its role exists. ",
    );
    let used: BTreeSet<String> = emulated_aws.calls().into_iter().map(|call| call.access_key).collect();
    assert!(used.iter().all(|key| key.starts_with(Metadata::KEY)), "{used:?}");

    metadata.fall_silent(false);
    emulated_aws.faults(&json!([]));
    for agent in [&without, &with_expired] {
        agent.process.wait_for(AGREED);
    }
    let granted: Vec<String> =
        emulated_aws.stops().into_iter().filter(|call| call.status == Some(200)).map(|call| call.access_key).collect();
    assert_eq!(granted.len(), 2);
    assert!(granted.iter().all(|key| !used.contains(key)), "{granted:?} of {used:?} have expired");
    assert_eq!(emulated_aws.state(), "stopped");
}

// ---- Names.

/// Makes the test's own network's only name server, which says nothing of `silence.example`, and that there is no other
/// name, until it is healed: then every name is 127.0.0.1.
fn name_server() -> Arc<AtomicBool> {
    loopback();
    // A file that is mounted stays, even when its folder is gone.
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n")] {
        fs::write(folder.path().join(file), text).unwrap();
        mount_bind(folder.path().join(file), Path::new("/etc").join(file)).unwrap();
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let healed = Arc::new(AtomicBool::new(false));
    let heals = Arc::clone(&healed);
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let healed = heals.load(Ordering::Relaxed);
            if healed || !query[..length].windows(7).any(|word| word == b"silence") {
                socket.send_to(&reply(&query[..length], healed), from).unwrap();
            }
        }
    });
    healed
}

/// The answer to a question for one name (RFC 1035): 127.0.0.1, and no IPv6 address, or "no such name".
fn reply(query: &[u8], found: bool) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let answers = u8::from(found && query[end - 4..end - 2] == [0, 1]);
    let code = if found { 0x80 } else { 0x83 };
    let mut reply = [&query[..2], &[0x81, code, 0, 1, 0, answers, 0, 0, 0, 0], &query[12..end]].concat();
    if answers == 1 {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    reply
}

/// Where `emulated_aws` is.
fn endpoint(emulated_aws: &EmulatedAws) -> String {
    let mut command = Command::new("true");
    emulated_aws.attach(&mut command);
    let found = command.get_envs().find(|(name, _)| *name == "AWS_ENDPOINT_URL");
    found.unwrap().1.unwrap().to_str().unwrap().to_owned()
}

#[test]
fn names_that_are_not_found_are_told_and_keep_nothing_else_back() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    apart!("--net", "--mount");
    let healed = name_server();
    let emulated_aws = EmulatedAws::start();
    let agent_with = |endpoint_name: &str, further: &[&str]| {
        Agent::start(&settings(Silent::start().port, 2.0, further), |command| {
            emulated_aws.attach(command);
            command.env("AWS_ENDPOINT_URL", endpoint(&emulated_aws).replace("127.0.0.1", endpoint_name));
        })
    };
    let not_found = "dns error: failed to lookup address information: Name or service not known";
    let agents = [
        (agent_with("nowhere.example", &[]), not_found),
        (agent_with("silence.example", &["heartbeat.parameter = \"\""]), "no connection within 3s"),
    ];
    let status = agents[0].0.notices.wait_for_status(" Cannot write heartbeats: SSM did not answer: ");
    assert!(status.ends_with(&format!("{not_found}.")), "{status}");
    for (agent, trouble) in &agents {
        agent.notices.wait_for("READY=1");
        let status = agent.notices.wait_for_status("The stop failed: EC2 did not answer: ");
        assert!(status.contains(trouble), "{status}");
        let line = agent.process.wait_for("warning: The stop failed: ");
        assert!(line.contains(trouble), "{line}");
        agent.notices.assert_alive_for(Duration::from_secs(1));
    }
    assert!(emulated_aws.calls().is_empty());
    healed.store(true, Ordering::Relaxed);
    for (agent, _) in &agents {
        agent.process.wait_for(AGREED);
    }
    assert_eq!(emulated_aws.state(), "stopped");
}

// ---- TLS and the wall clock.

/// Stands before `emulated_aws` with certificates of an authority of its own, and writes down that one and another. Ends with its
/// stdin.
const GATE: &str = r#"
import asyncio, contextlib, datetime, ipaddress, json, pathlib, ssl, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

folder, emulated_aws = pathlib.Path(sys.argv[1]), sys.argv[2]
today, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM

def certificate(name, issuer, days, address=None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).issuer_name(issuer[0].subject if issuer else subject)
        .not_valid_before(today + days[0] * day).not_valid_after(today + days[1] * day)
    )
    if address:
        names = [x509.IPAddress(ipaddress.ip_address(address))]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    else:
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.sign(issuer[1] if issuer else key, hashes.SHA256())
    plain = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(made.public_bytes(PEM) + plain)
    return made, key

async def pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()

async def forward(reader, writer):
    there = await asyncio.open_connection(*emulated_aws.split(":"))
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

async def main():
    ours, ports = certificate("ours", None, (-30, 30)), {}
    certificate("strangers", None, (-30, 30))
    for name, days, address in (
        ("good", (-1, 1), "127.0.0.1"), ("expired", (-3, -1), "127.0.0.1"), ("elsewhere", (-1, 1), "192.0.2.1")
    ):
        certificate(name, ours, days, address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{name}.pem")
        server = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"#;

/// What shifts a process's wall clock, and nothing else.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders
        .chain(["/usr/lib".into(), "/usr/lib64".into()])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}

const NEEDS_FAKETIME: &str = "libfaketime; run tests/lab/setup.sh";

/// The wall clock of one process.
struct WallClock(TempDir);

impl WallClock {
    fn shifted(by: &str) -> Self {
        let clock = WallClock(tempfile::tempdir().unwrap());
        clock.shift(by);
        clock
    }

    /// Takes effect at once: `+10y`, `-10y`.
    fn shift(&self, by: &str) {
        // Never half written.
        fs::write(self.0.path().join("new"), by).unwrap();
        fs::rename(self.0.path().join("new"), self.0.path().join("clock")).unwrap();
    }

    fn attach(&self, command: &mut Command) {
        command.env("LD_PRELOAD", libfaketime().unwrap()).env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_TIMESTAMP_FILE", self.0.path().join("clock")).env("FAKETIME_NO_CACHE", "1");
    }
}

#[test]
fn an_endpoint_that_cannot_be_trusted_gets_no_request_and_the_reason_is_told() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    let (emulated_aws, folder) = (EmulatedAws::start(), tempfile::tempdir().unwrap());
    let address = endpoint(&emulated_aws).replace("http://", "");
    let gate = Process::start(Command::new(emulated_aws::python()).args(["-c", GATE]).arg(folder.path()).arg(address));
    let ports: Value = serde_json::from_str(&gate.wait_for("good")).unwrap();
    let agent = |port: &str, authority: &str, clock: Option<&WallClock>| {
        Agent::start(&settings(Silent::start().port, 2.0, &["heartbeat.parameter = \"\""]), |command| {
            emulated_aws.attach(command);
            command.env("AWS_ENDPOINT_URL", format!("https://127.0.0.1:{}", ports[port]));
            command.env("SSL_CERT_FILE", folder.path().join(authority)).env_remove("SSL_CERT_DIR");
            if let Some(clock) = clock {
                clock.attach(command);
            }
        })
    };
    let refused = |agent: &Agent, reason: &str| {
        let line = agent.process.wait_for("warning: The stop failed: EC2 did not answer: ");
        assert!(line.contains(reason), "{line}");
        let status = agent.notices.wait_for_status("The stop failed: EC2 did not answer: ");
        assert!(status.contains(reason), "{status}");
    };
    let past = WallClock::shifted("-10y");
    let too_early = libfaketime().map(|_| agent("good", "ours.pem", Some(&past)));
    let never_good = [
        (agent("good", "strangers.pem", None), "invalid peer certificate: UnknownIssuer"),
        (agent("expired", "ours.pem", None), "invalid peer certificate: certificate expired"),
        (agent("elsewhere", "ours.pem", None), "invalid peer certificate: certificate not valid for name"),
    ];
    for (agent, reason) in &never_good {
        refused(agent, reason);
    }
    if let Some(too_early) = &too_early {
        refused(too_early, "invalid peer certificate: certificate not valid yet");
    }
    assert!(emulated_aws.calls().is_empty());

    // A clock that is right at last, and one that was right from the start.
    past.shift("+0d");
    let good = agent("good", "ours.pem", None);
    for agent in [&good].into_iter().chain(&too_early) {
        agent.process.wait_for(AGREED);
    }
    assert_eq!(emulated_aws.state(), "stopped");
}

/// How many years a heartbeat is ahead.
fn years(heartbeats: &[Value]) -> f64 {
    let at: Timestamp = heartbeats.last().unwrap()["at"].as_str().unwrap().parse().unwrap();
    at.duration_since(Timestamp::try_from(SystemTime::now()).unwrap()).as_secs_f64() / (365.25 * 86400.0)
}

#[test]
fn a_jump_of_the_wall_clock_by_years_stops_nothing_early_or_late() {
    skip_unless!(emulated_aws::installed(), emulated_aws::NEEDS);
    skip_unless!(libfaketime().is_some(), NEEDS_FAKETIME);
    let emulated_aws = EmulatedAws::start();
    thread::scope(|scope| {
        for (jump, least, most) in [("+10y", 9.0, 11.0), ("-10y", -11.0, -9.0)] {
            let emulated_aws = &emulated_aws;
            scope.spawn(move || {
                let (clock, parameter) = (WallClock::shifted("+0d"), format!("/jump/{}", jump.trim_start_matches('+')));
                let (began, window) = (Instant::now(), Duration::from_secs(20));
                let own_parameter = format!("heartbeat.parameter = \"{parameter}\"");
                let text = settings(Silent::start().port, window.as_secs_f64(), &[&own_parameter]);
                let agent = Agent::start(&text, |command| {
                    emulated_aws.attach(command);
                    clock.attach(command);
                });
                wait_until("a heartbeat is written", || emulated_aws.parameter(&parameter).pop());
                let before = years(&emulated_aws.parameter(&parameter));
                assert!(before.abs() < 0.01, "{before}");
                clock.shift(jump);
                let told = agent.notices.countdown().len();
                wait_until("it counts on", || agent.notices.countdown().get(told).copied());
                agent.process.wait_for(AGREED);
                assert!(began.elapsed() >= window, "{jump}: stopped after {:?}", began.elapsed());
                assert!(agent.notices.countdown().iter().all(|left| *left <= 20), "{:?}", agent.notices.countdown());
                let after = years(&emulated_aws.parameter(&parameter));
                assert!((least..=most).contains(&after), "the clock has not jumped by {jump}, but by {after} years");
            });
        }
    });
    assert_eq!(emulated_aws.state(), "stopped");
}
