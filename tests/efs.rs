//! A mount that does not answer, and what the agent makes of it.
//!
//! The mount is a FUSE file system whose server is this file: it answers, or reads a request and keeps it, or does not
//! even read. To whoever asks, the second is what a hard NFS mount is whose server is gone: a sleep that not even
//! SIGKILL ends. Each test has a mount namespace of its own.
//! Over 400 lines: the file system is here with the tests that need it.

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

use mc_idle::ask::Asker;
use mc_idle::clock::Clock;
use mc_idle::cloud::DryRun;
use mc_idle::config::Settings;
use mc_idle::config::settings::{EfsSettings, HoldSettings, MountPoint, Scope};
use mc_idle::holds::KnownHolds;
use mc_idle::host::mounts::efs::{Mounts, WatchedMount};
use mc_idle::host::mounts::mountinfo::NfsMount;
use mc_idle::host::mounts::probe::{self, HelperAnswer, ProbeResults, ProbeTarget};
use mc_idle::host::networks::{Depth, Look, SecondLook};
use mc_idle::host::{Host, OwnEnds, ThisHost};
use mc_idle::journal::{Journal, LogLine};
use mc_idle::report::heartbeat::writer::{self, Link};
use mc_idle::report::heartbeat::{PutError, Store, Writer};
use mc_idle::report::metrics::textfile::Textfile;
use mc_idle::service::Service;
use mc_idle::service::deps::{Deps, Inputs, Tasks};
use mc_idle::signals::Signal;
use mc_idle::state::runtime_files::RuntimeFiles;
use mc_idle_rule::Moment;
use mc_service::notify::Supervisor;
use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use support::{SOON, root};

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
    targets: watch::Sender<Vec<ProbeTarget>>,
    results: watch::Receiver<ProbeResults>,
    task: JoinHandle<()>,
}

impl Probe {
    fn start(helper: &str) -> Self {
        let (targets, targets_receiver) = watch::channel(Vec::new());
        let (sender, results) = watch::channel(ProbeResults::new());
        let task = tokio::spawn(probe::run(helper.into(), targets_receiver, sender));
        Probe { targets, results, task }
    }

    /// Has these mounts probed, and no others any more.
    fn aim(&self, mounts: &[(i32, &Path)]) {
        let target = |(id, at): &(i32, &Path)| ProbeTarget { mount: mount(*id, at), deadline: DEADLINE };
        self.targets.send_replace(mounts.iter().map(target).collect());
    }

    /// Waits for a verdict on this mount that `wanted` holds for.
    async fn verdict(&mut self, id: i32, wanted: impl Fn(&HelperAnswer) -> bool) -> HelperAnswer {
        let of = |probe_results: &ProbeResults| {
            probe_results.iter().find(|(mount, _)| mount.id == id).map(|(_, answer)| answer.clone())
        };
        let wanted = |probe_results: &ProbeResults| of(probe_results).is_some_and(|answer| wanted(&answer));
        let probe_results = timeout(SOON, self.results.wait_for(wanted)).await.unwrap().unwrap();
        of(&probe_results).unwrap()
    }

    /// What is known now, by the mounts' numbers.
    fn known(&self) -> Vec<(i32, HelperAnswer)> {
        self.results.borrow().iter().map(|(mount, answer)| (mount.id, answer.clone())).collect()
    }
}

fn mount(id: i32, at: &Path) -> NfsMount {
    NfsMount { id, at: at.to_owned() }
}

const HELPER: &str = env!("CARGO_BIN_EXE_mc-idle");

fn no_answer() -> HelperAnswer {
    HelperAnswer::Failed("no answer within 0.3 s".to_owned())
}

fn has_come(answer: &HelperAnswer) -> bool {
    *answer == HelperAnswer::Came
}

fn has_failed(answer: &HelperAnswer, why: &str) -> bool {
    matches!(answer, HelperAnswer::Failed(text) if text.contains(why))
}

#[tokio::test]
async fn a_mount_that_does_not_answer_is_asked_by_one_helper_after_the_other() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    let mut probe = Probe::start(HELPER);
    probe.aim(&[(1, &stand.point())]);
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
    probe.verdict(1, has_come).await;
    until("the last helper is gone", || helper().is_none().then_some(())).await;
}

#[tokio::test]
async fn a_helper_that_cannot_be_killed_stays_the_only_one_until_the_mount_answers() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    stand.keep();
    let mut probe = Probe::start(HELPER);
    probe.aim(&[(1, &stand.point())]);
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());
    let stuck = until("a helper sleeps and cannot be woken", || helper().filter(|(_, state)| *state == 'D')).await;
    for _ in 0..100 {
        assert_eq!(helper(), Some(stuck));
        sleep(DEADLINE / 10).await;
    }
    assert_eq!(probe.verdict(1, |_| true).await, no_answer());

    stand.answer();
    probe.verdict(1, has_come).await;
    until("no helper is left", || helper().is_none().then_some(())).await;
}

#[tokio::test]
async fn what_a_mount_answers_is_told_and_another_mount_is_asked_at_once() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let folder = tempfile::tempdir().unwrap();
    let mut probe = Probe::start(HELPER);
    probe.aim(&[(1, folder.path())]);
    probe.verdict(1, has_come).await;

    // Not only at the next regular probe: that would be 30 s later.
    let at_once = Duration::from_secs(20);
    probe.aim(&[(2, &folder.path().join("missing"))]);
    let answer =
        timeout(at_once, probe.verdict(2, |answer| *answer != no_answer())).await.expect("it was not asked at once");
    assert_eq!(answer, HelperAnswer::Failed("it returned an error: No such file or directory (os error 2)".to_owned()));
    assert_eq!(probe.known().len(), 1, "the kernel gives the number of a mount that is gone to another");

    // The server of a mount that is gone for good.
    let mut stand = Stand::mount();
    stand.device = None;
    probe.aim(&[(3, &stand.point())]);
    let answer =
        timeout(at_once, probe.verdict(3, |answer| *answer != no_answer())).await.expect("it was not asked at once");
    assert!(has_failed(&answer, "Transport endpoint is not connected"), "{answer:?}");

    probe.aim(&[(4, folder.path())]);
    timeout(at_once, probe.verdict(4, has_come)).await.expect("it was not asked at once");
}

#[tokio::test]
async fn each_of_several_mounts_is_judged_by_itself() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let (fine, stuck) = (tempfile::tempdir().unwrap(), Stand::mount());
    stuck.keep();
    let mut probe = Probe::start(HELPER);
    probe.aim(&[(1, fine.path()), (2, &stuck.point())]);
    assert_eq!(probe.verdict(2, |_| true).await, no_answer());
    probe.verdict(1, has_come).await;
    let before = until("a helper sleeps and cannot be woken", || helper().filter(|(_, state)| *state == 'D')).await;

    // One more that comes while the helper of another is stuck is asked by a helper of its own.
    probe.aim(&[(1, fine.path()), (2, &stuck.point()), (3, Path::new("/"))]);
    probe.verdict(3, has_come).await;
    assert_eq!(helper(), Some(before));

    // One that goes and comes back meanwhile is asked by no second one.
    probe.aim(&[(1, fine.path())]);
    until("nothing is known of it any more", || (probe.known() == [(1, HelperAnswer::Came)]).then_some(())).await;
    probe.aim(&[(1, fine.path()), (2, &stuck.point())]);
    let answer = probe.verdict(2, |_| true).await;
    assert!(has_failed(&answer, "the previous helper is still stuck"), "{answer:?}");
    assert_eq!(helper(), Some(before));
    stuck.answer();
    probe.verdict(2, has_come).await;
    until("no helper is left", || helper().is_none().then_some(())).await;
}

#[tokio::test]
async fn many_mounts_that_hang_have_few_helpers_and_one_more_mount_is_not_taken_for_well() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stands: Vec<Stand> = (0..probe::HELPERS_MOST).map(|_| Stand::mount()).collect();
    stands.iter().for_each(Stand::keep);
    let points: Vec<PathBuf> = stands.iter().map(Stand::point).collect();
    let mut mounts: Vec<(i32, &Path)> = (1..).zip(points.iter().map(PathBuf::as_path)).collect();
    let mut probe = Probe::start(HELPER);
    probe.aim(&mounts);
    for (id, _) in &mounts {
        assert_eq!(probe.verdict(*id, |_| true).await, no_answer());
    }
    // Each of them was killed. One that had not asked yet is gone, and another comes for it.
    let stuck = || helpers().iter().filter(|(_, state)| *state == 'D').count();
    until("all are stuck for good", || (stuck() == probe::HELPERS_MOST).then_some(())).await;
    mounts.push((100, Path::new("/")));
    probe.aim(&mounts);
    let answer = probe.verdict(100, |_| true).await;
    assert!(has_failed(&answer, "all helpers are stuck on other mounts"), "{answer:?}");
    assert_eq!(helpers().len(), probe::HELPERS_MOST);
    stands[0].answer();
    probe.verdict(1, has_come).await;
    until("one of them is gone", || (helpers().len() < probe::HELPERS_MOST).then_some(())).await;
    // It is asked again after the pause; a reload of the deadline has it asked now.
    let target = |(id, at): &(i32, &Path)| ProbeTarget { mount: mount(*id, at), deadline: DEADLINE * 2 };
    probe.targets.send_replace(mounts.iter().map(target).collect());
    probe.verdict(100, has_come).await;
}

#[tokio::test]
async fn a_mount_that_the_user_may_not_go_to_is_told_from_one_that_hangs() {
    skip_unless!(root(), "root");
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // As the agent's own user: a script in the helper's place.
    let scripts = tempfile::tempdir().unwrap();
    fs::set_permissions(scripts.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = scripts.path().join("mc-idle");
    fs::copy(HELPER, &program).unwrap();
    let script = scripts.path().join("as-nobody");
    let text =
        format!("#!/bin/sh\nexec setpriv --reuid 65534 --regid 65534 --clear-groups {} \"$@\"\n", program.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // Without the environment, which has the path of setpriv.
    let answer = probe::ask(&script, &folder.path().join("efs"), SOON).await;
    assert_eq!(
        answer,
        HelperAnswer::Barred("the user of the probe has no access to it: Permission denied (os error 13)".to_owned())
    );
}

#[tokio::test]
async fn a_helper_that_cannot_be_started_is_no_answer() {
    let mut probe = Probe::start("/nowhere/mc-idle");
    probe.aim(&[(1, Path::new("/"))]);
    let answer = probe.verdict(1, |_| true).await;
    assert!(has_failed(&answer, "cannot start the probe helper: "), "{answer:?}");
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_no_helper_behind() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let stand = Stand::mount();
    let probe = Probe::start(HELPER);
    probe.aim(&[(1, &stand.point())]);
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
    probe.aim(&[(1, Path::new("/"))]);
    drop((probe.targets, probe.results));
    // Not SOON: one that does not end starts helpers as fast as it can.
    let ended = timeout(Duration::from_secs(30), probe.task).await;
    assert!(ended.is_ok(), "it goes on for nobody");
}

/// This host, except that a mount of EFS is made believe where the stand-in is: the mount table says fuse.
struct PretendedNfs {
    host: ThisHost,
    samples: Arc<AtomicUsize>,
}

impl Host for PretendedNfs {
    fn look(&mut self, now: Moment, depth: Depth, scope: &Scope, own: &OwnEnds) -> Look {
        self.samples.fetch_add(1, Ordering::Relaxed);
        self.host.look(now, depth, scope, own)
    }

    fn second_look(&mut self, now: Moment, scope: &Scope, own: &OwnEnds) -> SecondLook {
        self.host.second_look(now, scope, own)
    }

    fn second_witness(&self) -> Result<(), String> {
        self.host.second_witness()
    }

    fn mounts(&mut self, mount_point: &MountPoint) -> Mounts {
        let MountPoint::At(at) = mount_point else { return self.host.mounts(mount_point) };
        Mounts { watched: vec![WatchedMount::Mounted { named: at.clone(), mount: mount(7, at) }], later: Vec::new() }
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
    lines: std_mpsc::Receiver<LogLine>,
    said: Vec<String>,
    signals: mpsc::Sender<Signal>,
    ended: JoinHandle<()>,
    // Nobody tells any news, but somebody could.
    _news: mpsc::UnboundedSender<mc_idle::cloud::CloudEvent>,
}

impl Agent {
    fn start(settings: Settings) -> Self {
        let mut reloaded = settings.clone();
        reloaded.efs.probe = DEADLINE * 2;
        let clock = Clock::start();
        let (journal, lines) = Journal::channel();
        let (heartbeat, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
        let (health_sender, health) = mpsc::unbounded_channel();
        let (news_sender, news) = mpsc::unbounded_channel();
        let (targets, targets_receiver) = watch::channel(Vec::new());
        let (verdicts_sender, probe_results) = watch::channel(ProbeResults::new());
        let (signals, signal_receiver) = mpsc::channel(1);
        let store = Kept::default();
        let author = Writer { instance_id: "i-01234567".to_owned(), boot_id: String::new() };
        let (_, link) = watch::channel(Some(Link { store: store.clone(), author }));
        tokio::spawn(probe::run(HELPER.into(), targets_receiver, verdicts_sender));
        tokio::spawn(heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))));
        let (samples, ear) = (Arc::new(AtomicUsize::new(0)), Ear::default());
        let (asker, answers) = Asker::start(clock);
        let deps = Deps {
            host: PretendedNfs { host: ThisHost::below(Path::new("/")), samples: Arc::clone(&samples) },
            supervisor: ear.clone(),
            journal,
            clock,
            slept: || Duration::ZERO,
            memory: None,
            boot_id: String::new(),
            holds: Box::new(|_| KnownHolds::default()),
            load: Box::new(move || Ok(reloaded.clone())),
            dry_run: true,
            tasks: Tasks {
                runtime_files: RuntimeFiles::none(),
                metrics: Textfile::none(),
                asker,
                hold: watch::channel(HoldSettings::default()).0,
                heartbeat,
                action: watch::channel(settings.action).0,
                targets,
            },
            inputs: Inputs { answers, health, cloud: news, probe_results, signals: signal_receiver },
        };
        let ended = tokio::spawn(Service::new(deps, DryRun, settings).run());
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
        efs: EfsSettings { mount_point: MountPoint::At(mount_point), probe: DEADLINE },
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
    until("a helper hangs in the agent's place", helper).await;
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
    agent.says("EC2 would be asked to stop this instance now.").await;
    // Even a stop does not wait for the helper, which still hangs.
    until("a helper hangs", helper).await;
    agent.end().await;
}

/// Another `/etc/fstab`, for as long as the test's own mount namespace is there.
fn fstab(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fstab");
    fs::write(&file, text).unwrap();
    rustix::mount::mount_bind(&file, "/etc/fstab").unwrap();
    folder
}

/// For whatever NFS the machine of the test has.
fn unmount_nfs() {
    for mount in ThisHost::below(Path::new("/")).mounts(&MountPoint::Auto).watched {
        if let WatchedMount::Mounted { mount, .. } = mount {
            rustix::mount::unmount(&mount.at, UnmountFlags::DETACH).unwrap();
        }
    }
}

#[tokio::test]
async fn a_machine_without_efs_is_stopped_without_any_wait_for_it() {
    skip_unless!(root(), "root");
    apart!("--mount", "--net");
    let _fstab = fstab("UUID=4d1e7a33 / xfs defaults 1 1\nfs-1:/ /mnt/efs efs noauto,_netdev 0 0\n");
    unmount_nfs();
    let mut settings = settings("/".into());
    settings.efs.mount_point = MountPoint::Auto;
    settings.no_server_window = Duration::from_millis(500);
    let mut agent = Agent::start(settings);
    agent.says("EC2 would be asked to stop this instance now.").await;
    assert_eq!(agent.last_heartbeat("efs").as_deref(), Some("off"));
    assert!(!agent.said.iter().any(|line| line.contains("EFS")), "{:#?}", agent.said);
    assert_eq!(helpers(), []);
    agent.end().await;
}

#[tokio::test]
async fn a_due_stop_waits_for_what_fstab_has_mounted_at_boot() {
    skip_unless!(root(), "root");
    apart!("--mount", "--net");
    let place = tempfile::tempdir().unwrap();
    let _fstab = fstab(&format!("fs-1:/ {} efs _netdev,nofail,tls 0 0\n", place.path().display()));
    let mut settings = settings("/".into());
    settings.efs.mount_point = MountPoint::Auto;
    settings.no_server_window = Duration::from_millis(500);
    settings.efs_patience = Duration::from_secs(4);
    let place = place.path().display();
    let mut agent = Agent::start(settings);
    agent
        .says(&format!("EFS is missing: /etc/fstab has a line for {place}, but nothing is mounted at {place}, "))
        .await;
    agent.says(&format!("but EFS is not mounted at {place}; the stop waits for at most ")).await;
    assert!(!agent.said.iter().any(|line| line.contains("EC2")), "{:#?}", agent.said);
    agent.says("EC2 would be asked to stop this instance now.").await;
    agent.end().await;
}

#[test]
fn to_find_out_where_a_path_leads_asks_no_mount() {
    skip_unless!(root(), "root");
    apart!("--mount");
    let (stand, folder) = (Stand::mount(), tempfile::tempdir().unwrap());
    stand.keep();
    let below = stand.point().join("minecraft/world");
    std::os::unix::fs::symlink(&below, folder.path().join("link")).unwrap();
    let (sender, found) = std_mpsc::channel();
    for path in [below, folder.path().join("link"), folder.path().join("link/region")] {
        let sender = sender.clone();
        let at = MountPoint::At(path.clone());
        // One that asks it sleeps until the test ends.
        thread::spawn(move || sender.send((path, ThisHost::below(Path::new("/")).mounts(&at).watched)));
    }
    for _ in 0..3 {
        let (path, watched) = found.recv_timeout(SOON).expect("it waits for the mount");
        let said = watched[0].in_words();
        assert!(
            said.contains(&format!("is on the fuse file system at {}", stand.point().display())),
            "{path:?}: {said}"
        );
    }
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
