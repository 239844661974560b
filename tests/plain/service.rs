//! The whole loop in paused time: hours pass in milliseconds, and nothing that waits may delay a sample.
//!
//! Host, cloud and supervisor are the test's own: no real part opens a connection in the last look, or hangs, when a
//! test wants it to. Real sockets, a real EC2 stand-in and a real systemd have tests of their own.
//! Over 400 lines: the tests share one outside world.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed test may panic, and may ask what time it is"
)]
#![allow(clippy::large_futures, clippy::cloned_ref_to_slice_refs, reason = "a test may take its time")]
#![allow(clippy::struct_excessive_bools, reason = "each is a fault of its own that can be switched on")]

use std::collections::VecDeque;
use std::future::pending;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mc_idle::ask::Asker;
use mc_idle::clock::{self, Clock};
use mc_idle::cloud::metadata::{ReclaimAction, ReclaimNotice, StopCaveat};
use mc_idle::cloud::{Cloud, CloudEvent, StopAction};
use mc_idle::config::settings::{MountPoint, Scope};
use mc_idle::config::{Settings, load};
use mc_idle::holds::ledger::{Claim, HoldEnd, HoldSource};
use mc_idle::holds::sources::SourceContext;
use mc_idle::holds::{Hold, HoldSources, KnownHolds, Source};
use mc_idle::host::mounts::efs::{Mounts, WatchedMount};
use mc_idle::host::mounts::mountinfo::NfsMount;
use mc_idle::host::mounts::probe::ProbeResults;
use mc_idle::host::networks::{Depth, Look, SecondLook};
use mc_idle::host::{Host, OwnEnds};
use mc_idle::journal::{Journal, Kind, LogLine};
use mc_idle::report::heartbeat::writer::{self, Link};
use mc_idle::report::heartbeat::{PutError, Store, Writer};
use mc_idle::report::metrics::textfile::Textfile;
use mc_idle::service::Service;
use mc_idle::service::deps::{Deps, Inputs, Tasks};
use mc_idle::signals::Signal;
use mc_idle::state::runtime_files::RuntimeFiles;
use mc_idle_rule::clocks::{self, Running};
use mc_idle_rule::facts::{ConnectionRow, Facts, Listening, Sockets};
use mc_idle_rule::rule::StopError;
use mc_idle_rule::{Memory, Moment, NetworkId, Socket, StopPermit};
use mc_service::notify::Supervisor;
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};
use tracing::Level;

/// What the outside world does next, and what it has seen of the agent.
#[derive(Default)]
struct Outside {
    players: usize,
    /// How long the next second look takes, in real time.
    second_look_takes: Duration,
    unreadable: bool,
    /// What the next looks show, before it goes on as above.
    next: VecDeque<Facts>,
    witness: Option<Facts>,
    /// There is no second witness on this machine.
    no_witness: bool,
    samples: Vec<Instant>,
    pings: Vec<Instant>,
    status: String,
    ready: bool,
    stopping: bool,
    requests: Vec<Instant>,
    /// Answers to the next requests; after them every request is granted.
    answers: VecDeque<Result<(), StopError>>,
    request_hangs: bool,
    prepare_hangs: bool,
    holds: Vec<Hold>,
    /// Where real sources of holds keep what they know; without it `holds` are all that there is.
    runtime_directory: Option<PathBuf>,
    put_hangs: bool,
    put_error: Option<PutError>,
    heartbeats: Vec<serde_json::Value>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Outside>>);

impl Shared {
    fn get(&self) -> MutexGuard<'_, Outside> {
        self.0.lock().unwrap()
    }

    fn states(&self) -> Vec<String> {
        let mut states: Vec<String> =
            self.get().heartbeats.iter().map(|beat| beat["state"].as_str().unwrap().to_owned()).collect();
        states.dedup();
        states
    }
}

fn seen(players: usize) -> Facts {
    let socket = |number: usize| Socket {
        network: NetworkId::HOST,
        local: "192.0.2.1:25565".parse().unwrap(),
        peer: format!("198.51.100.1:{}", 40000 + number).parse().unwrap(),
        inode: std::num::NonZeroU64::new(1000 + number as u64),
    };
    let listening = Listening { address: "0.0.0.0:25565".parse().unwrap(), uid: Some(1000), control_group: None };
    let connections = (0..players).map(|number| ConnectionRow { socket: socket(number), received: None }).collect();
    Facts::of_host(Sockets { listening: vec![listening], connections, ..Sockets::default() })
}

impl Host for Shared {
    fn look(&mut self, _: Moment, _: Depth, _: &Scope, _: &OwnEnds) -> Look {
        let mut outside = self.get();
        outside.samples.push(Instant::now());
        let cause = outside.unreadable.then(|| Facts::unreadable("cannot read the table".to_owned()));
        let usual = cause.unwrap_or_else(|| seen(outside.players));
        Look { facts: outside.next.pop_front().unwrap_or(usual), ignored: Vec::new() }
    }

    fn second_look(&mut self, _: Moment, _: &Scope, _: &OwnEnds) -> SecondLook {
        std::thread::sleep(std::mem::take(&mut self.get().second_look_takes));
        let outside = self.get();
        let facts = outside.witness.clone().unwrap_or_else(|| seen(outside.players));
        if outside.no_witness {
            return SecondLook::Reread { why: "no sock_diag here".to_owned(), facts };
        }
        SecondLook::Witness(facts)
    }

    fn second_witness(&self) -> Result<(), String> {
        if self.get().no_witness { Err("no sock_diag here".to_owned()) } else { Ok(()) }
    }

    fn mounts(&mut self, mount_point: &MountPoint) -> Mounts {
        let MountPoint::At(named) = mount_point else { return Mounts::default() };
        let mount = NfsMount { id: 1, at: named.clone() };
        Mounts { watched: vec![WatchedMount::Mounted { named: named.clone(), mount }], later: Vec::new() }
    }
}

impl Supervisor for Shared {
    fn ready(&mut self) {
        self.get().ready = true;
    }

    fn status(&mut self, sentence: &str) {
        sentence.clone_into(&mut self.get().status);
    }

    fn alive(&mut self) {
        self.get().pings.push(Instant::now());
    }

    fn stopping(&mut self) {
        self.get().stopping = true;
    }

    fn watchdog(&self) -> Option<Duration> {
        Some(Duration::from_secs(30))
    }
}

impl Cloud for Shared {
    type Provision = ();

    async fn prepare(&self, _: StopAction) -> Result<(), StopError> {
        if self.get().prepare_hangs {
            pending::<()>().await;
        }
        Ok(())
    }

    async fn request(&self, _: StopPermit, _: StopAction, (): ()) -> Result<(), StopError> {
        let answer = {
            let mut outside = self.get();
            outside.requests.push(Instant::now());
            if outside.request_hangs { None } else { Some(outside.answers.pop_front().unwrap_or(Ok(()))) }
        };
        match answer {
            Some(answer) => answer,
            None => pending().await,
        }
    }
}

impl Store for Shared {
    async fn put(&self, _: String, value: String) -> Result<(), PutError> {
        let hangs = self.get().put_hangs;
        if hangs {
            pending::<()>().await;
        }
        let mut outside = self.get();
        if let Some(error) = outside.put_error.clone() {
            return Err(error);
        }
        outside.heartbeats.push(serde_json::from_str(&value).unwrap());
        Ok(())
    }
}

/// A running agent.
struct Agent {
    outside: Shared,
    signals: mpsc::Sender<Signal>,
    lines: Receiver<LogLine>,
    news: mpsc::UnboundedSender<CloudEvent>,
    settings: Arc<Mutex<String>>,
    sources: Option<HoldSources>,
    ended: tokio::task::JoinHandle<()>,
}

// Asking real servers takes real time: what asks has tests of its own.
const SETTINGS: &str = "idle_minutes = 15\nefs.mount_point = \"\"\nminecraft.ask = false";

fn parse(text: &str) -> Result<Settings, mc_idle::config::ConfigError> {
    load::parse("config.toml".as_ref(), text)
}

impl Agent {
    fn start(text: &str, outside: Outside) -> Self {
        Self::start_remembering(text, outside, None)
    }

    fn start_remembering(text: &str, outside: Outside, memory: Option<Memory>) -> Self {
        let outside = Shared(Arc::new(Mutex::new(outside)));
        let settings = parse(text).unwrap();
        let text = Arc::new(Mutex::new(text.to_owned()));
        let clock = Clock::start();
        let (journal, lines) = Journal::channel();
        let (health_sender, health) = mpsc::unbounded_channel();
        let (news_sender, news) = mpsc::unbounded_channel();
        let (signals, signal_receiver) = mpsc::channel(1);
        let (heartbeat, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
        let author = Writer { instance_id: "i-0123456789abcdef0".to_owned(), boot_id: "boot".to_owned() };
        let (link_sender, link) = watch::channel(Some(Link { store: outside.clone(), author }));
        tokio::spawn(async move {
            heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))).await;
            drop(link_sender);
        });
        let (asker, answers) = Asker::start(clock);
        let slept = || SLEPT.with(std::cell::Cell::get);
        let load_text = Arc::clone(&text);
        let held_by = outside.clone();
        let (hold, hold_receiver) = watch::channel(settings.hold.clone());
        let runtime_directory = outside.get().runtime_directory.clone();
        let sources = runtime_directory.map(|folder| {
            let (proc, boot_id) = ("/proc".into(), "boot".to_owned());
            let place = SourceContext { folder, proc, boot_id, slept: slept(), keeps: true, asks_aws: true };
            HoldSources::open(place, hold_receiver, clock, &journal).unwrap()
        });
        let real = sources.clone();
        let deps = Deps {
            host: outside.clone(),
            supervisor: outside.clone(),
            journal,
            clock,
            slept,
            memory,
            boot_id: "boot".to_owned(),
            holds: Box::new(move |now| match &real {
                Some(sources) => sources.known(now, clock::wall(), slept()),
                None => KnownHolds { holds: held_by.get().holds.clone(), ..KnownHolds::default() },
            }),
            load: Box::new(move || parse(&load_text.lock().unwrap())),
            dry_run: false,
            tasks: Tasks {
                runtime_files: RuntimeFiles::none(),
                metrics: Textfile::none(),
                asker,
                hold,
                heartbeat,
                action: watch::channel(settings.action).0,
                targets: watch::channel(Vec::new()).0,
            },
            inputs: Inputs {
                answers,
                health,
                cloud: news,
                probe_results: watch::channel(ProbeResults::new()).1,
                signals: signal_receiver,
            },
        };
        let ended = tokio::spawn(Service::new(deps, outside.clone(), settings).run());
        Agent { outside, signals, lines, news: news_sender, settings: text, sources, ended }
    }

    async fn minutes(&self, minutes: u64) {
        time::sleep(Duration::from_mins(minutes)).await;
    }

    async fn seconds(&self, seconds: u64) {
        time::sleep(Duration::from_secs(seconds)).await;
    }

    fn kinds(&self) -> Vec<Kind> {
        self.lines.try_iter().map(|line| line.kind).collect()
    }

    /// The real sources of holds.
    fn sources(&self) -> &HoldSources {
        self.sources.as_ref().unwrap()
    }

    fn requests(&self) -> usize {
        self.outside.get().requests.len()
    }
}

thread_local! {
    /// How long this test's machine has slept; each test has a thread of its own.
    static SLEPT: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

fn samples_are_on_time(outside: &Shared) {
    let samples = outside.get().samples.clone();
    for pair in samples.windows(2) {
        assert!(pair[1] - pair[0] <= Duration::from_millis(5010), "a sample was late");
    }
}

/// At least twice in the watchdog's time, and not with every sample: each wakes systemd.
fn pings_are_on_time(outside: &Shared) {
    let outside = outside.get();
    for pair in outside.pings.windows(2) {
        assert!(pair[1] - pair[0] <= Duration::from_millis(15_010), "a ping was late");
    }
    let lived = outside.pings.last().unwrap().duration_since(outside.pings[0]).as_secs();
    let pings = outside.pings.len() as u64;
    assert!((lived / 15..=lived / 10 + 1).contains(&pings), "{pings} pings in {lived} s");
}

#[tokio::test(start_paused = true)]
async fn an_evening_of_play_is_told_in_a_few_lines_and_ends_with_one_request() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(5).await;
    agent.outside.get().players = 2;
    agent.minutes(180).await;
    assert_eq!(agent.requests(), 0);
    assert!(agent.outside.get().status.starts_with("2 players are on port 25565."));
    agent.outside.get().players = 0;
    let left = Instant::now();
    agent.minutes(15).await;
    agent.seconds(6).await;
    assert_eq!(agent.requests(), 1);
    let asked = agent.outside.get().requests[0];
    assert!(asked - left >= Duration::from_mins(15) && asked - left <= Duration::from_secs(15 * 60 + 5));
    assert_eq!(agent.outside.states(), ["starting", "idle", "occupied", "idle", "stopping"]);
    let kinds = agent.kinds();
    assert_eq!(
        kinds,
        [
            Kind::Started,
            Kind::StateChanged,
            Kind::StateChanged,
            Kind::StateChanged,
            Kind::StopAsked,
            Kind::StopAccepted
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hang_of_everything_delays_no_sample_no_ping_and_not_the_end() {
    let hung = Outside { put_hangs: true, request_hangs: true, ..Outside::default() };
    let agent = Agent::start(SETTINGS, hung);
    agent.minutes(60).await;
    assert_eq!(agent.requests(), 1, "the final heartbeat hangs, and is not waited for");
    samples_are_on_time(&agent.outside);
    pings_are_on_time(&agent.outside);
    let before = Instant::now();
    agent.signals.send(Signal::End).await.unwrap();
    agent.ended.await.unwrap();
    assert!(Instant::now() - before <= Duration::from_secs(1));
    assert!(agent.outside.get().stopping);
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_hangs_delays_no_sample_either() {
    let agent = Agent::start(SETTINGS, Outside { prepare_hangs: true, ..Outside::default() });
    agent.minutes(30).await;
    samples_are_on_time(&agent.outside);
    agent.outside.get().players = 1;
    agent.minutes(2).await;
    assert!(agent.outside.get().status.starts_with("1 player"));
}

#[tokio::test(start_paused = true)]
async fn a_player_who_comes_with_the_last_look_is_not_cut_off_and_the_heartbeat_takes_it_back() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(14).await;
    agent.seconds(58).await;
    // The sample at the end of the window is still clean, the last look is not.
    agent.outside.get().next = [seen(0), seen(1)].into();
    agent.outside.get().players = 1;
    agent.minutes(3).await;
    assert_eq!(agent.requests(), 0);
    assert_eq!(agent.outside.states(), ["starting", "idle", "stopping", "due", "occupied"]);
    assert!(agent.kinds().contains(&Kind::StopCalledOff));
}

#[tokio::test(start_paused = true)]
async fn a_second_witness_that_sees_somebody_or_nothing_holds_the_stop_off() {
    for witness in [seen(1), Facts::unreadable("no answer".to_owned())] {
        let agent = Agent::start(SETTINGS, Outside { witness: Some(witness), ..Outside::default() });
        agent.minutes(60).await;
        assert_eq!(agent.requests(), 0);
        agent.outside.get().witness = None;
        // At the latest after the longest wait; the stop itself does not come here, so it may be asked for again.
        agent.minutes(6).await;
        assert!(agent.requests() >= 1);
    }
}

/// In real time: whoever comes while the agent does not get to run shows in neither look.
#[tokio::test]
async fn a_last_look_that_takes_too_long_is_taken_again() {
    let outside = Outside { second_look_takes: Duration::from_secs(11), ..Outside::default() };
    let agent = Agent::start(
        "idle_minutes = 0.01\nsample_seconds = 0.2\nefs.mount_point = \"\"\nminecraft.ask = false",
        outside,
    );
    let said = "the last look took too long to rely on";
    while !agent.outside.get().status.contains(said) {
        assert_eq!(agent.requests(), 0);
        time::sleep(Duration::from_millis(50)).await;
    }
    while agent.requests() == 0 {
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// Somebody whose join of 45 s fails would fit between two samples that are a minute apart.
#[tokio::test(start_paused = true)]
async fn samples_before_a_stop_are_so_close_that_a_failed_join_shows() {
    let text = "idle_minutes = 3\nsample_seconds = 60\nefs.mount_point = \"\"\nminecraft.ask = false";
    let agent = Agent::start(text, Outside::default());
    agent.seconds(125).await;
    agent.outside.get().players = 1;
    agent.seconds(47).await;
    agent.outside.get().players = 0;
    agent.seconds(115).await;
    assert_eq!(agent.requests(), 0, "he may try again");
    agent.minutes(3).await;
    assert_eq!(agent.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_last_look_has_seen_counts_even_if_the_witness_could_not_look() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(14).await;
    agent.seconds(58).await;
    agent.outside.get().next = [seen(0), seen(1)].into();
    agent.outside.get().witness = Some(Facts::unreadable("no answer".to_owned()));
    agent.seconds(3).await;
    assert_eq!(agent.requests(), 0);
    assert!(agent.kinds().contains(&Kind::StopCalledOff));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_in_the_status_and_the_journal_and_is_tried_again() {
    for (permanent, least, most) in [(true, 12, 13), (false, 14, 40)] {
        let stop_error = StopError { permanent, text: "EC2 answered No: change this".to_owned() };
        let answers = std::iter::repeat_n(Err(stop_error), 1000).collect();
        let agent = Agent::start(SETTINGS, Outside { answers, ..Outside::default() });
        agent.minutes(16).await;
        assert!(agent.outside.get().status.starts_with("The stop failed: EC2 answered No: change this."));
        agent.minutes(60).await;
        assert!((least..=most).contains(&agent.requests()), "{} requests", agent.requests());
        assert!(agent.kinds().contains(&Kind::StopRefused));
        agent.outside.get().answers.clear();
        agent.minutes(6).await;
        assert!(agent.outside.get().status.starts_with("EC2 accepted the stop"));
    }
}

#[tokio::test(start_paused = true)]
async fn blindness_stops_nothing_and_raises_one_alarm() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(10).await;
    agent.outside.get().unreadable = true;
    agent.minutes(60).await;
    assert_eq!(agent.requests(), 0);
    assert!(agent.outside.get().status.starts_with("Blind for 60 min: cannot read the table."));
    assert_eq!(agent.outside.get().heartbeats.last().unwrap()["players"], serde_json::Value::Null);
    agent.outside.get().unreadable = false;
    agent.minutes(4).await;
    assert_eq!(agent.requests(), 0);
    agent.minutes(2).await;
    assert_eq!(agent.requests(), 1);
    assert_eq!(agent.kinds().iter().filter(|kind| **kind == Kind::BlindAlarm).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_of_the_machine_a_whole_window_runs_again() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(16).await;
    assert_eq!(agent.requests(), 1);
    SLEPT.with(|slept| slept.set(Duration::from_hours(8)));
    agent.minutes(14).await;
    assert_eq!(agent.requests(), 1);
    assert!(agent.outside.get().status.starts_with("No players"));
    agent.minutes(2).await;
    assert_eq!(agent.requests(), 2);
    SLEPT.with(|slept| slept.set(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn ready_and_the_first_ping_come_with_the_first_sample_whatever_it_shows() {
    let agent = Agent::start(SETTINGS, Outside { unreadable: true, put_hangs: true, ..Outside::default() });
    agent.seconds(1).await;
    let outside = agent.outside.get();
    assert!(outside.ready && outside.pings.len() == 1 && outside.status.starts_with("Blind"));
}

#[tokio::test(start_paused = true)]
async fn pings_come_between_samples_that_are_far_apart() {
    let agent = Agent::start("sample_seconds = 60", Outside::default());
    agent.minutes(10).await;
    pings_are_on_time(&agent.outside);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_tells_of_the_end_unless_a_stop_is_under_way() {
    for (minutes, last) in [(1, "ended"), (16, "stopping")] {
        let agent = Agent::start(SETTINGS, Outside::default());
        agent.minutes(minutes).await;
        agent.signals.send(Signal::End).await.unwrap();
        agent.ended.await.unwrap();
        assert_eq!(agent.outside.states().last().unwrap(), last);
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_in_the_midst_of_a_preparation_takes_its_heartbeat_back() {
    // Whether the heartbeat of the preparation has been written already, or hangs.
    for put_hangs in [false, true] {
        let mut agent = Agent::start(SETTINGS, Outside { prepare_hangs: true, ..Outside::default() });
        agent.minutes(14).await;
        agent.outside.get().put_hangs = put_hangs;
        agent.seconds(62).await;
        assert!(agent.outside.get().status.starts_with("No connections left"), "{}", agent.outside.get().status);
        assert_eq!(agent.outside.states().last().unwrap(), if put_hangs { "idle" } else { "stopping" });
        agent.outside.get().put_hangs = false;
        agent.signals.send(Signal::End).await.unwrap();
        (&mut agent.ended).await.unwrap();
        assert_eq!(agent.requests(), 0);
        assert_eq!(agent.outside.states().last().unwrap(), "ended", "put hangs: {put_hangs}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_takes_nothing_back_while_ec2_has_not_answered_yet() {
    let agent = Agent::start(SETTINGS, Outside { request_hangs: true, ..Outside::default() });
    agent.minutes(16).await;
    assert_eq!(agent.requests(), 1);
    agent.signals.send(Signal::End).await.unwrap();
    agent.ended.await.unwrap();
    assert_eq!(agent.outside.states().last().unwrap(), "stopping");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_that_are_not_written_are_told_once_and_so_is_their_return() {
    let error = PutError { throttled: false, text: "SSM answered AccessDeniedException".to_owned() };
    let agent = Agent::start(SETTINGS, Outside { put_error: Some(error), ..Outside::default() });
    agent.minutes(10).await;
    assert!(agent.outside.get().status.ends_with("Cannot write heartbeats: SSM answered AccessDeniedException."));
    agent.outside.get().put_error = None;
    agent.minutes(2).await;
    assert!(!agent.outside.get().status.contains("Heartbeats"));
    let kinds = agent.kinds();
    for kind in [Kind::HeartbeatFailed, Kind::HeartbeatRecovered] {
        assert_eq!(kinds.iter().filter(|other| **other == kind).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_heartbeats_slow_down_and_come_back() {
    let error = PutError { throttled: true, text: "slow down".to_owned() };
    let agent = Agent::start("idle_minutes = 10080\nefs.mount_point = \"\"", Outside::default());
    agent.minutes(10).await;
    let normal = agent.outside.get().heartbeats.len();
    assert!((8..=13).contains(&normal), "{normal}");
    agent.outside.get().put_error = Some(error);
    agent.minutes(120).await;
    agent.outside.get().put_error = None;
    let before = agent.outside.get().heartbeats.len();
    agent.minutes(150).await;
    let later = agent.outside.get().heartbeats.len() - before;
    assert!((20..=100).contains(&later), "{later} heartbeats in the hours after throttling");
    agent.minutes(60).await;
    let again = agent.outside.get().heartbeats.len() - before - later;
    assert!((54..=70).contains(&again), "{again} heartbeats in an hour, long after throttling");
}

#[tokio::test(start_paused = true)]
async fn a_final_heartbeat_that_was_throttled_is_tried_again_soon() {
    let error = PutError { throttled: true, text: "slow down".to_owned() };
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.seconds(14 * 60 + 50).await;
    agent.outside.get().put_error = Some(error);
    agent.seconds(15).await;
    assert_eq!(agent.requests(), 1);
    assert_ne!(agent.outside.states().last().unwrap(), "stopping");
    agent.outside.get().put_error = None;
    agent.seconds(20).await;
    assert_eq!(agent.outside.states().last().unwrap(), "stopping");
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_clocks_and_a_bad_file_keeps_the_settings() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(10).await;
    *agent.settings.lock().unwrap() = "idle_minutes = nonsense".to_owned();
    agent.signals.send(Signal::Reload).await.unwrap();
    agent.minutes(1).await;
    assert_eq!(agent.requests(), 0);
    *agent.settings.lock().unwrap() = SETTINGS.replace("15", "10");
    agent.signals.send(Signal::Reload).await.unwrap();
    agent.seconds(10).await;
    assert_eq!(agent.requests(), 1);
    let lines: Vec<LogLine> = agent.lines.try_iter().filter(|line| line.kind == Kind::Configuration).collect();
    assert_eq!(lines.iter().map(|line| line.level).collect::<Vec<_>>(), [tracing::Level::ERROR, tracing::Level::INFO]);
}

#[tokio::test(start_paused = true)]
async fn what_will_be_refused_is_known_long_before_the_window_ends() {
    let agent = Agent::start(SETTINGS, Outside::default());
    let stop_error = StopError { permanent: true, text: "allow ec2:StopInstances".to_owned() };
    agent.news.send(CloudEvent::Permission(Err(stop_error.clone()))).unwrap();
    agent.news.send(CloudEvent::Permission(Err(stop_error))).unwrap();
    agent.seconds(2).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("the stop is due in 15 min") && status.contains("allow ec2:StopInstances"), "{status}");
    assert!(!status.contains("this instance stops"), "what EC2 refuses will not come: {status}");
    assert_eq!(agent.kinds().iter().filter(|kind| **kind == Kind::PermissionRefused).count(), 1);
    agent.news.send(CloudEvent::Permission(Ok(()))).unwrap();
    agent.news.send(CloudEvent::Identity(Err("it is silent".to_owned()))).unwrap();
    agent.seconds(2).await;
    let status = agent.outside.get().status.clone();
    assert!(!status.contains("allow") && status.contains("instance metadata is unavailable: it is silent"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_goes_on_where_the_one_before_it_was() {
    let running = Some(Running { clock: clocks::ClockKind::Idle, elapsed: Duration::from_mins(14) });
    let memory = Memory { running, ..Memory::default() };
    let agent = Agent::start_remembering(SETTINGS, Outside::default(), Some(memory));
    agent.seconds(55).await;
    assert_eq!(agent.requests(), 0);
    agent.seconds(10).await;
    assert_eq!(agent.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_stop_is_asked_for_into_a_notice_that_ec2_takes_the_instance_back_unless_it_does_not() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(14).await;
    let notice = ReclaimNotice { action: ReclaimAction::Terminate, at: "2026-11-22T21:40:00Z".parse().unwrap() };
    agent.news.send(CloudEvent::Reclaim(Some(notice))).unwrap();
    agent.seconds(2).await;
    let told = "EC2 is reclaiming this spot instance and will terminate it at 21:40 UTC";
    let why = agent.outside.get().heartbeats.last().unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with(told), "the reason is not written at once: {why}");
    agent.minutes(4).await;
    assert_eq!(agent.requests(), 0);
    let status = agent.outside.get().status.clone();
    assert!(status.starts_with(told) && status.contains("the stop is left to EC2"), "{status}");
    assert_eq!(agent.outside.get().heartbeats.last().unwrap()["state"], "due");
    // Five minutes after the notice the machine still runs, and nobody is there.
    agent.minutes(2).await;
    assert_eq!(agent.requests(), 1);
    assert_eq!(agent.kinds().into_iter().filter(|kind| *kind == Kind::Reclaim).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_is_taken_back_lets_the_stop_go_on() {
    let agent = Agent::start(SETTINGS, Outside::default());
    let notice = ReclaimNotice { action: ReclaimAction::Stop, at: "2026-11-22T21:40:00Z".parse().unwrap() };
    agent.minutes(14).await;
    agent.news.send(CloudEvent::Reclaim(Some(notice))).unwrap();
    agent.minutes(2).await;
    assert_eq!(agent.requests(), 0);
    agent.news.send(CloudEvent::Reclaim(None)).unwrap();
    agent.seconds(10).await;
    assert_eq!(agent.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_makes_a_stop_another_thing_here_is_told_once_and_stays_in_the_status() {
    let agent = Agent::start(SETTINGS, Outside::default());
    let cautions = [
        StopCaveat::Spot,
        StopCaveat::AutoScalingGroup,
        StopCaveat::InstanceStoreRoot,
        StopCaveat::MayStopOthers,
        StopCaveat::Spot,
    ];
    for caution in cautions {
        agent.news.send(CloudEvent::StopCaveat(caution)).unwrap();
    }
    agent.minutes(10).await;
    let status = agent.outside.get().status.clone();
    for said in ["spot request is persistent", "Auto Scaling group", "instance store", "stop other instances too"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    assert_eq!(agent.kinds().into_iter().filter(|kind| *kind == Kind::StopCaveat).count(), 4);
    let why = agent.outside.get().heartbeats.last().unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("No players on port 25565"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_delays_a_due_stop_until_its_end_and_the_clock_goes_on() {
    let hold = |left| Hold { source: Source::Operator, reason: "nightly backup".to_owned(), left };
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(5).await;
    agent.outside.get().holds = vec![hold(Some(Duration::from_mins(20)))];
    agent.minutes(2).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("Held until ") && status.contains(": nightly backup."), "{status}");
    agent.minutes(13).await;
    assert_eq!(agent.requests(), 0);
    let beat = agent.outside.get().heartbeats.last().unwrap().clone();
    assert_eq!((&beat["state"], &beat["hold_reason"]), (&"due".into(), &"nightly backup".into()));
    assert!(beat["held_until"].is_string());
    agent.outside.get().holds.clear();
    agent.seconds(6).await;
    assert_eq!(agent.requests(), 1, "no window runs again");
    assert_eq!(agent.kinds().into_iter().filter(|kind| *kind == Kind::Hold).count(), 2, "it came and it went");
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_comes_while_a_stop_is_prepared_calls_it_off() {
    let agent = Agent::start(SETTINGS, Outside { prepare_hangs: true, ..Outside::default() });
    agent.minutes(16).await;
    let hold = Hold { source: Source::Inhibitor, reason: "backup".to_owned(), left: None };
    agent.outside.get().holds = vec![hold];
    agent.seconds(10).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("waits for a hold to end") && status.contains("an inhibitor lock"), "{status}");
    assert_eq!(agent.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_due_stop_waits_for_is_told_again_when_it_is_something_else() {
    let hold = Hold { source: Source::Operator, reason: "nightly backup".to_owned(), left: None };
    // EFS is mounted, and has never answered.
    let agent = Agent::start(
        "idle_minutes = 15\nefs.mount_point = \"/mnt/efs\"\nminecraft.ask = false",
        Outside { holds: vec![hold], ..Outside::default() },
    );
    agent.minutes(16).await;
    agent.outside.get().holds.clear();
    agent.minutes(5).await;
    let told: Vec<LogLine> = agent.lines.try_iter().filter(|line| line.kind == Kind::StateChanged).collect();
    let waits = ["No players", "the stop waits for a hold to end", "EFS has not answered yet; the stop waits"];
    assert_eq!(told.len(), waits.len(), "{told:#?}");
    for (line, said) in told.iter().zip(waits) {
        assert!(line.text.contains(said), "{said:?} is not in {line:?}");
    }
}

/// An agent that looks for a remote hold, and is without a D-Bus.
async fn agent_with_a_parameter(folder: &tempfile::TempDir) -> (Agent, HoldSource) {
    let runtime_directory = Some(folder.path().to_owned());
    let text = format!("{SETTINGS}\nhold.parameter = \"/hold\"");
    let agent = Agent::start(&text, Outside { runtime_directory, ..Outside::default() });
    agent.seconds(1).await;
    agent.sources().absent(&HoldSource::Locks, "there is none".to_owned());
    (agent, HoldSource::Parameter("/hold".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_source_of_holds_that_never_answers_delays_a_due_stop_for_half_an_hour_and_alarms() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, parameter) = agent_with_a_parameter(&folder).await;
    agent.sources().failed(&parameter, "SSM answered AccessDeniedException".to_owned());
    let told = |agent: &Agent| -> Vec<(Level, String)> {
        let lines = agent.lines.try_iter().filter(|line| line.kind == Kind::HoldsUnknown);
        lines.map(|line| (line.level, line.text)).collect()
    };
    agent.minutes(4).await;
    let said = "Cannot check SSM parameter /hold: SSM answered AccessDeniedException. A due stop ";
    let waits = (Level::WARN, format!("{said}waits up to 30 minutes for the answer."));
    assert_eq!(told(&agent), std::slice::from_ref(&waits));
    agent.minutes(2).await;
    assert_eq!(told(&agent), [(Level::ERROR, waits.1.clone())]);
    agent.minutes(23).await;
    agent.seconds(50).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("the stop waits for the hold sources to answer."), "{status}");
    assert!(status.contains(&waits.1), "{status}");
    assert_eq!((agent.requests(), told(&agent)), (0, Vec::new()));
    agent.seconds(20).await;
    assert_eq!(agent.requests(), 1);
    let [(Level::ERROR, text)] = &told(&agent)[..] else { panic!("one alarm") };
    assert_eq!(*text, format!("{said}no longer waits for the answer, so a hold may be missed."));
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_holds_is_believed_at_once_and_ends_the_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, parameter) = agent_with_a_parameter(&folder).await;
    agent.sources().failed(&parameter, "SSM does not answer".to_owned());
    agent.minutes(20).await;
    assert_eq!(agent.requests(), 0);
    agent.sources().answered(&parameter, Vec::new());
    agent.seconds(6).await;
    assert_eq!(agent.requests(), 1);
    let over = "All hold sources can be checked again.";
    assert_eq!(agent.lines.try_iter().filter(|line| line.text == over).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reload_drops_what_a_source_has_said_that_is_no_longer_asked_and_waits_for_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, parameter) = agent_with_a_parameter(&folder).await;
    let claim = |reason: &str| Claim { reason: reason.to_owned(), end: HoldEnd::Open };
    agent.sources().answered(&parameter, vec![claim("new plugins")]);
    agent.sources().failed(&parameter, "SSM does not answer".to_owned());
    agent.minutes(20).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("waits for a hold to end. Held by SSM parameter: new plugins."), "{status}");
    *agent.settings.lock().unwrap() = format!("{SETTINGS}\nhold.parameter = \"/other\"");
    agent.signals.send(Signal::Reload).await.unwrap();
    agent.minutes(20).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("waits for the hold sources to answer") && !status.contains("plugins"), "{status}");
    // An answer to the question before comes late.
    agent.sources().answered(&parameter, vec![claim("new plugins")]);
    agent.minutes(1).await;
    assert_eq!(agent.requests(), 0);
    *agent.settings.lock().unwrap() = SETTINGS.to_owned();
    agent.signals.send(Signal::Reload).await.unwrap();
    agent.seconds(6).await;
    assert_eq!(agent.requests(), 1);
}
