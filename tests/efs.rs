//! A mount that does not answer, and what the agent makes of it.
//!
//! The mount is a FUSE file system whose server is this file: it answers, or reads a request and keeps it, or does not
//! even read. To whoever asks, the second is what a hard NFS mount is whose server is gone: a sleep that not even
//! SIGKILL ends. Each test has a mount namespace of its own.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "waits in real time, and ends the test at what is wrong"
)]

mod support;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::{Duration, Instant};

use mc_idle::clock::Clock;
use mc_idle::cloud::DryRun;
use mc_idle::config::Settings;
use mc_idle::config::settings::{EfsSettings, HoldSettings, Scope};
use mc_idle::heartbeat::record::Author;
use mc_idle::heartbeat::writer::{self, Link};
use mc_idle::heartbeat::{PutError, Store};
use mc_idle::hold::Known;
use mc_idle::host::mountinfo::Mount;
use mc_idle::host::probe::{self, Target, Verdict};
use mc_idle::host::{Host, Sample, ThisHost};
use mc_idle::idle::Reading;
use mc_idle::journal::{Journal, Line};
use mc_idle::keeper::Keeper;
use mc_idle::metrics::textfile::Textfile;
use mc_idle::notify::Supervisor;
use mc_idle::service::{Service, Signal, World};
use rustix::mount::{MountFlags, UnmountFlags};
use support::{SOON, root};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_millis(300);

/// Requests of the kernel (linux/fuse.h).
const FUSE_FORGET: u32 = 2;
const FUSE_STATFS: u32 = 17;
const FUSE_INIT: u32 = 26;
const FUSE_INTERRUPT: u32 = 36;
const FUSE_DESTROY: u32 = 38;
const FUSE_BATCH_FORGET: u32 = 42;

/// A mounted file system that does not even read what it is asked.
struct Stand {
    device: Option<Arc<File>>,
    point: TempDir,
    /// Requests that were read and not answered; `None`: everything is answered.
    kept: Arc<Mutex<Option<Vec<u64>>>>,
}

impl Stand {
    fn mount() -> Self {
        let point = tempfile::tempdir().unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let data = CString::new(data).unwrap();
        rustix::mount::mount("stand-in", point.path(), "fuse", MountFlags::empty(), data.as_c_str()).unwrap();
        Stand { device: Some(Arc::new(device)), point, kept: Arc::new(Mutex::new(Some(Vec::new()))) }
    }

    fn point(&self) -> PathBuf {
        self.point.path().to_owned()
    }

    /// From now on requests are read, and kept.
    fn keep(&self) {
        let device = Arc::clone(self.device.as_ref().unwrap());
        let kept = Arc::clone(&self.kept);
        thread::spawn(move || {
            let mut request = vec![0; 1 << 16];
            // An error is the end of the mount.
            while let Ok(length) = (&*device).read(&mut request) {
                let number = |at| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
                assert!(length >= 40);
                let unique = u64::from_ne_bytes(request[8..16].try_into().unwrap());
                match number(4) {
                    FUSE_FORGET | FUSE_BATCH_FORGET | FUSE_INTERRUPT | FUSE_DESTROY => {}
                    FUSE_INIT => {
                        let mut init = [0; 64];
                        init[..4].copy_from_slice(&7_u32.to_ne_bytes());
                        init[4..8].copy_from_slice(&31_u32.to_ne_bytes());
                        init[20..24].copy_from_slice(&4096_u32.to_ne_bytes());
                        reply(&device, unique, 0, &init);
                    }
                    opcode => match &mut *lock(&kept) {
                        Some(kept) => kept.push(unique),
                        None if opcode == FUSE_STATFS => reply(&device, unique, 0, &[0; 80]),
                        None => reply(&device, unique, -rustix::io::Errno::NOSYS.raw_os_error(), &[]),
                    },
                }
            }
        });
    }

    /// Answers what was kept, and everything to come.
    fn answer(&self) {
        for unique in lock(&self.kept).take().unwrap_or_default() {
            reply(self.device.as_ref().unwrap(), unique, 0, &[0; 80]);
        }
    }

    /// Requests are kept again.
    fn hang(&self) {
        lock(&self.kept).get_or_insert_default();
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Closing the device, or answering, frees whoever still waits.
        if let Some(device) = self.device.take() {
            for unique in lock(&self.kept).take().unwrap_or_default() {
                reply(&device, unique, 0, &[0; 80]);
            }
        }
        let _ = rustix::mount::unmount(self.point.path(), UnmountFlags::DETACH);
    }
}

fn reply(mut device: &File, unique: u64, error: i32, body: &[u8]) {
    let length = u32::try_from(16 + body.len()).unwrap();
    let reply = [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), body].concat();
    // Who asked may be gone.
    let _ = device.write(&reply);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processes that this one has started and not reaped, and their states; they are all helpers.
fn helpers() -> Vec<(u32, char)> {
    let own = std::process::id().to_string();
    let stats = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
        // It may end meanwhile.
        Some((pid, fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
    });
    let mut helpers = Vec::new();
    for (pid, stat) in stats {
        // The name, in parentheses, may hold anything.
        let rest: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        if rest[1] == own {
            helpers.push((pid, rest[0].chars().next().unwrap()));
        }
    }
    helpers
}

/// The same, and fails the test if there is more than one.
fn helper() -> Option<(u32, char)> {
    let helpers = helpers();
    assert!(helpers.len() <= 1, "more than one helper: {helpers:?}");
    helpers.first().copied()
}

/// Asks `found` again and again until it has an answer; fails the test if none comes in time.
async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < SOON, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The task that probes, with its two ends.
struct Probe {
    target: watch::Sender<Option<Target>>,
    verdict: watch::Receiver<Option<Verdict>>,
    task: JoinHandle<()>,
}

impl Probe {
    fn start(helper: &str) -> Self {
        let (target, target_receiver) = watch::channel(None);
        let (verdict_sender, verdict) = watch::channel(None);
        let task = tokio::spawn(probe::run(helper.into(), target_receiver, verdict_sender));
        Probe { target, verdict, task }
    }

    /// Has another mount probed.
    fn aim(&self, mount_id: i32, mount_point: PathBuf) {
        self.target.send_replace(Some(Target { mount_id, mount_point, deadline: DEADLINE }));
    }

    /// Waits for a verdict on this mount that `wanted` holds for.
    async fn verdict(&mut self, mount_id: i32, wanted: impl Fn(&Result<(), String>) -> bool) -> Result<(), String> {
        let wanted = |verdict: &Option<Verdict>| {
            verdict.as_ref().is_some_and(|verdict| verdict.mount_id == mount_id && wanted(&verdict.answer))
        };
        let verdict = timeout(SOON, self.verdict.wait_for(wanted)).await.unwrap().unwrap();
        verdict.clone().unwrap().answer
    }
}

const HELPER: &str = env!("CARGO_BIN_EXE_mc-idle");

fn no_answer() -> Result<(), String> {
    Err("no answer within 0.3 s".to_owned())
}

#[tokio::test]
async fn a_mount_that_does_not_answer_is_asked_by_one_helper_after_the_other() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    let mut probe = Probe::start(HELPER);
    probe.aim(1, stand.point());
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());
    // Each is killed, and reaped before the next one starts: at no time are there two, not even dead ones.
    let mut seen = BTreeSet::new();
    until("four helpers have come and gone", || {
        seen.extend(helper().map(|(pid, _)| pid));
        (seen.len() > 4).then_some(())
    })
    .await;
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());

    // The server comes back.
    stand.answer();
    stand.keep();
    assert_eq!(probe.verdict(1, Result::is_ok).await, Ok(()));
    until("the last helper is gone", || helper().is_none().then_some(())).await;
}

#[tokio::test]
async fn a_helper_that_cannot_be_killed_stays_the_only_one_until_the_mount_answers() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    stand.keep();
    let mut probe = Probe::start(HELPER);
    probe.aim(1, stand.point());
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());
    let stuck = until("a helper sleeps and cannot be woken", || helper().filter(|(_, state)| *state == 'D')).await;
    for _ in 0..100 {
        assert_eq!(helper(), Some(stuck));
        sleep(DEADLINE / 10).await;
    }
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());

    stand.answer();
    assert_eq!(probe.verdict(1, Result::is_ok).await, Ok(()));
    until("no helper is left", || helper().is_none().then_some(())).await;
}

#[tokio::test]
async fn what_a_mount_answers_is_told_and_another_mount_is_asked_at_once() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let folder = tempfile::tempdir().unwrap();
    let mut probe = Probe::start(HELPER);
    probe.aim(1, folder.path().to_owned());
    assert_eq!(probe.verdict(1, |_| true).await, Ok(()));

    // Not only at the next regular probe: that would be 30 s later.
    let at_once = Duration::from_secs(20);
    probe.aim(2, folder.path().join("missing"));
    let answer = timeout(at_once, probe.verdict(2, |_| true)).await.expect("it was not asked at once");
    assert_eq!(answer, Err("it answers with an error: No such file or directory (os error 2)".to_owned()));

    // The server of a mount that is gone for good.
    let mut stand = Stand::mount();
    stand.device = None;
    probe.aim(3, stand.point());
    let answer = timeout(at_once, probe.verdict(3, |_| true)).await.expect("it was not asked at once");
    assert!(answer.as_ref().is_err_and(|why| why.contains("Transport endpoint is not connected")), "{answer:?}");

    probe.aim(4, folder.path().to_owned());
    let answer = timeout(at_once, probe.verdict(4, |_| true)).await.expect("it was not asked at once");
    assert_eq!(answer, Ok(()));
}

#[tokio::test]
async fn a_helper_that_cannot_be_started_is_no_answer() {
    let mut probe = Probe::start("/nowhere/mc-idle");
    probe.aim(1, "/".into());
    let answer = probe.verdict(1, |_| true).await;
    assert!(answer.as_ref().is_err_and(|why| why.starts_with("cannot start the helper that asks it: ")), "{answer:?}");
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_no_helper_behind() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    let probe = Probe::start(HELPER);
    probe.aim(1, stand.point());
    until("a helper is at work", helper).await;
    probe.task.abort();
    until("it is gone", || helper().is_none().then_some(())).await;
    // And no other comes.
    sleep(DEADLINE * 3).await;
    assert_eq!(helper(), None);
}

#[tokio::test]
async fn a_probe_ends_with_its_agent() {
    let probe = Probe::start(HELPER);
    probe.aim(1, "/".into());
    drop((probe.target, probe.verdict));
    // Not SOON: one that does not end starts helpers as fast as it can.
    let ended = timeout(Duration::from_secs(5), probe.task).await;
    assert!(ended.is_ok(), "it goes on for nobody");
}

/// This host, except that a mount of EFS is made believe where the stand-in is: the mount table says fuse.
struct PretendedNfs {
    host: ThisHost,
    samples: Arc<AtomicUsize>,
}

impl Host for PretendedNfs {
    fn sample(&mut self, scope: &Scope) -> Sample {
        self.samples.fetch_add(1, Ordering::Relaxed);
        self.host.sample(scope)
    }

    fn witness(&mut self, scope: &Scope) -> Reading {
        self.host.witness(scope)
    }

    fn mount(&mut self, _efs: &EfsSettings) -> Mount {
        Mount::Nfs { id: 7 }
    }
}

/// Hears what the agent tells its supervisor.
#[derive(Default, Clone)]
struct Ear {
    status: Arc<Mutex<String>>,
    pings: Arc<AtomicUsize>,
}

impl Supervisor for Ear {
    fn ready(&mut self) {}

    fn status(&mut self, sentence: &str) {
        sentence.clone_into(&mut lock(&self.status));
    }

    fn alive(&mut self) {
        self.pings.fetch_add(1, Ordering::Relaxed);
    }

    fn stopping(&mut self) {}

    fn watchdog(&self) -> Option<Duration> {
        Some(Duration::from_millis(500))
    }
}

/// Keeps the heartbeats.
#[derive(Default, Clone)]
struct Kept {
    heartbeats: Arc<Mutex<Vec<serde_json::Value>>>,
}

impl Store for Kept {
    async fn put(&self, _name: String, value: String) -> Result<(), PutError> {
        lock(&self.heartbeats).push(serde_json::from_str(&value).unwrap());
        Ok(())
    }
}

/// The whole agent in a dry run, with all its tasks.
struct Agent {
    samples: Arc<AtomicUsize>,
    ear: Ear,
    store: Kept,
    lines: std_mpsc::Receiver<Line>,
    said: Vec<String>,
    signals: mpsc::Sender<Signal>,
    ended: JoinHandle<()>,
    // Nobody tells any news, but somebody could.
    _news: mpsc::UnboundedSender<mc_idle::cloud::News>,
}

impl Agent {
    fn start(settings: Settings) -> Self {
        let mut reloaded = settings.clone();
        reloaded.efs.probe = DEADLINE * 2;
        let clock = Clock::start();
        let (journal, lines) = Journal::channel();
        let (heart, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
        let (health_sender, health) = mpsc::unbounded_channel();
        let (news_sender, news) = mpsc::unbounded_channel();
        let (target, target_receiver) = watch::channel(None);
        let (verdict_sender, verdict) = watch::channel(None);
        let (signals, signal_receiver) = mpsc::channel(1);
        let store = Kept::default();
        let author = Author { instance_id: "i-01234567".to_owned(), boot_id: String::new() };
        let (_, link) = watch::channel(Some(Link { store: store.clone(), author }));
        tokio::spawn(probe::run(HELPER.into(), target_receiver, verdict_sender));
        tokio::spawn(heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))));
        let (samples, ear) = (Arc::new(AtomicUsize::new(0)), Ear::default());
        let world = World {
            host: PretendedNfs { host: ThisHost::below(Path::new("/")), samples: Arc::clone(&samples) },
            supervisor: ear.clone(),
            journal,
            clock,
            slept: || Duration::ZERO,
            memory: None,
            keeper: Keeper::none(),
            boot_id: String::new(),
            metrics: Textfile::none(),
            holds: Box::new(|_| Known::default()),
            hold: watch::channel(HoldSettings::default()).0,
            heart,
            health,
            news,
            action: watch::channel(settings.action).0,
            target,
            verdict,
            signals: signal_receiver,
            load: Box::new(move || Ok(reloaded.clone())),
            dry_run: true,
        };
        let ended = tokio::spawn(Service::new(world, DryRun, settings).run());
        Agent { samples, ear, store, lines, said: Vec::new(), signals, ended, _news: news_sender }
    }

    fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed)
    }

    fn status(&self) -> String {
        lock(&self.ear.status).clone()
    }

    fn last_heartbeat(&self, field: &str) -> Option<String> {
        Some(lock(&self.store.heartbeats).last()?[field].as_str()?.to_owned())
    }

    /// Waits for a line in the journal.
    async fn says(&mut self, text: &str) {
        let Agent { lines, said, .. } = self;
        until(&format!("the journal says {text:?}"), || {
            said.extend(lines.try_iter().map(|line| line.text));
            said.iter().any(|line| line.contains(text)).then_some(())
        })
        .await;
    }

    /// Waits until samples and signs of life have gone on for a while.
    async fn goes_on(&self) {
        let (samples, pings) = (self.samples(), self.ear.pings.load(Ordering::Relaxed));
        until("samples go on", || (self.samples() > samples + 20).then_some(())).await;
        assert!(self.ear.pings.load(Ordering::Relaxed) > pings, "no sign of life");
    }

    async fn end(self) {
        self.signals.send(Signal::End).await.unwrap();
        timeout(SOON, self.ended).await.unwrap().unwrap();
    }
}

fn settings(mount_point: PathBuf) -> Settings {
    let mut settings = Settings {
        sample_interval: Duration::from_millis(100),
        efs: EfsSettings { mount_point, probe: DEADLINE },
        ..Settings::default()
    };
    settings.heartbeat.interval = Duration::from_secs(1);
    settings
}

#[tokio::test]
async fn an_agent_whose_efs_hangs_says_so_and_works_on() {
    skip_unless!(root(), "root");
    apart!("--mount", "--net");
    let stand = Stand::mount();
    stand.keep();
    stand.answer();
    let place = stand.point().display().to_string();
    let mut agent = Agent::start(settings(stand.point()));
    until("a heartbeat says mounted", || (agent.last_heartbeat("efs")? == "mounted").then_some(())).await;
    until("the helper is gone", || helper().is_none().then_some(())).await;
    assert!(!agent.status().contains("EFS"), "{}", agent.status());

    stand.hang();
    // The next regular probe is 30 s away; a reload with another deadline makes it come now.
    agent.signals.send(Signal::Reload).await.unwrap();
    agent.says(&format!("EFS at {place} is hung: no answer within 0.6 s.")).await;
    until("a heartbeat says hung", || (agent.last_heartbeat("efs")? == "hung").then_some(())).await;
    assert!(agent.status().contains(&format!("EFS at {place} does not answer.")), "{}", agent.status());
    assert!(helper().is_some(), "a helper hangs in the agent's place");
    agent.goes_on().await;

    stand.answer();
    agent.says(&format!("EFS is mounted at {place}.")).await;
    until("a heartbeat says mounted", || (agent.last_heartbeat("efs")? == "mounted").then_some(())).await;
    assert!(!agent.status().contains("EFS"), "{}", agent.status());
    agent.end().await;
}

#[tokio::test]
async fn a_due_stop_waits_for_a_hung_efs_no_longer_than_its_patience() {
    skip_unless!(root(), "root");
    apart!("--mount", "--net");
    let stand = Stand::mount();
    stand.keep();
    let settings = Settings {
        no_server_window: Duration::from_millis(500),
        efs_patience: Duration::from_secs(4),
        ..settings(stand.point())
    };
    let mut agent = Agent::start(settings);
    agent.says(&format!("but EFS at {} does not answer; the stop waits for at most ", stand.point().display())).await;
    assert!(!agent.said.iter().any(|line| line.contains("EC2")), "{:#?}", agent.said);
    agent.goes_on().await;
    agent.says("EC2 would have been asked to stop this instance now.").await;
    // Even a stop does not wait for the helper, which still hangs.
    assert!(helper().is_some());
    agent.end().await;
}

#[tokio::test]
async fn an_agent_whose_efs_hangs_answers_the_end() {
    skip_unless!(root(), "root");
    apart!("--mount", "--net");
    let stand = Stand::mount();
    stand.keep();
    let mut agent = Agent::start(settings(stand.point()));
    agent.says("is hung: no answer within 0.3 s.").await;
    let heartbeats = Arc::clone(&agent.store.heartbeats);
    agent.end().await;
    let last = lock(&heartbeats).last().unwrap().clone();
    assert_eq!((last["state"].as_str(), last["efs"].as_str()), (Some("ended"), Some("hung")));
}
