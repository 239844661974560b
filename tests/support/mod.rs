//! What the integration tests share: the agent as a process, other processes that end with their test, and skipping.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "what tests share is public to each of them")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

pub mod agent;
pub mod check;
pub mod ec2;
pub mod emulated_aws;
pub mod http;
pub mod notify;
pub mod peers;
pub mod ports;
pub mod relay;
pub mod skip;
pub mod sockets;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take that should happen soon; no test asserts on how fast it does. It is longer than the two minutes that
/// a stop waits for somebody whose join has failed.
pub const SOON: Duration = Duration::from_secs(240);

/// Whether the test runs as root.
pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The checkout: whichever package's test this is.
pub fn checkout() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap()
}

/// A program of this workspace, built beside the test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "{} is not built; run the tests of the whole workspace", program.display());
    program
}

/// A process that is killed when the test lets go of it, and whose output can be waited for. A test that fails prints it.
pub struct Process {
    child: Child,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    more: Condvar,
}

impl Process {
    /// Starts `command`; its stdout and stderr are collected together, line by line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = Arc::new(Lines::default());
        collect(child.stdout.take().unwrap(), Arc::clone(&lines));
        collect(child.stderr.take().unwrap(), Arc::clone(&lines));
        Process { child, lines }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its stdin.
    pub fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Everything it has said so far.
    pub fn output(&self) -> Vec<String> {
        self.lines.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line that contains `text` and returns it; fails the test if none comes in time.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_after(0, text).1
    }

    /// The same, looking only at lines from number `from` on; also returns the number of the line after it.
    pub fn wait_for_after(&self, from: usize, text: &str) -> (usize, String) {
        let deadline = Instant::now() + SOON;
        let mut all = self.lines.all.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((number, line)) = all.iter().enumerate().skip(from).find(|(_, line)| line.contains(text)) {
                return (number + 1, line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line with {text:?} came; there was:\n{}", all.join("\n"));
            all = self.lines.more.wait_timeout(all, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Stops it, and returns once each of its threads stands still: the signal is on its way to them for a moment.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
        let threads = format!("/proc/{}/task", self.pid());
        let stands = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.unwrap().path().join("stat")).is_ok_and(|stat| stat.contains(") T "))
        };
        wait_until("it stands still", || std::fs::read_dir(&threads).unwrap().all(stands).then_some(()));
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until("the process ends", || self.child.try_wait().unwrap())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the process {} had said:\n{}", self.child.id(), self.output().join("\n"));
        }
    }
}

fn collect(from: impl std::io::Read + Send + 'static, lines: Arc<Lines>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.all.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            lines.more.notify_all();
        }
    });
}

/// Asks `found` again and again until it has an answer; fails the test if none comes in time.
pub fn wait_until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A configuration file in a folder of its own.
pub struct Config {
    folder: TempDir,
}

impl Config {
    /// A file with `text`.
    pub fn new(text: &str) -> Self {
        let config = Config { folder: tempfile::tempdir().unwrap() };
        config.write(text);
        config
    }

    /// Writes another text.
    pub fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }
}

/// The agent's program, with no AWS settings of whoever runs the tests.
pub fn mc_idle() -> Command {
    let mut command = Command::new(program("mc-idle"));
    without_aws(&mut command);
    command
}

/// Takes the AWS settings of whoever runs the tests away from `command`.
pub fn without_aws(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || ["NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
}

/// `mc-idle run` with `config`.
pub fn run(config: &Config) -> Command {
    let mut command = mc_idle();
    command.arg("run").arg("--config").arg(config.path());
    command
}

/// Goes on only in Linux namespaces of the test's own (`"--net"`, `"--mount"`: what unshare(1) takes), so that it neither
/// sees nor touches anything else of the machine: the test is run again there, alone, and its end is this one's.
#[macro_export]
macro_rules! apart {
    ($($kind:literal),+) => {
        fn here() {}
        $crate::skip_unless!($crate::support::can_unshare(&[$($kind),+]), "root, or user namespaces");
        if !$crate::support::apart(std::any::type_name_of_val(&here), &[$($kind),+]) {
            return;
        }
    };
}

const APART: &str = "MC_IDLE_TEST_APART";

fn unshare(kinds: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(kinds);
    if !root() {
        command.arg("--map-root-user");
    }
    command
}

/// Whether these namespaces can be had.
pub fn can_unshare(kinds: &[&str]) -> bool {
    unshare(kinds).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The other half of [`apart!`]: `true` in the namespaces; otherwise runs the test there and waits for it.
pub fn apart(here: &str, kinds: &[&str]) -> bool {
    // The body of an asynchronous test is a closure.
    let test = here.trim_end_matches("::here").trim_end_matches("::{{closure}}").split_once("::").unwrap().1;
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let run = unshare(kinds)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(APART, test)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    // A test that is not found passes as well.
    assert!(run.status.success() && out.contains(" 1 passed;"), "{test}, apart, failed:\n{out}\n{err}");
    false
}

/// Stands in for systemd: what a process with this `NOTIFY_SOCKET` tells it.
pub struct Notices {
    folder: TempDir,
    told: Arc<Lines>,
}

impl Notices {
    /// Listens from now on.
    pub fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        let told = Arc::new(Lines::default());
        let lines = Arc::clone(&told);
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                lines.all.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                lines.more.notify_all();
            }
        });
        Notices { folder, told }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Everything told so far, one message a line.
    pub fn all(&self) -> Vec<String> {
        self.told.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
