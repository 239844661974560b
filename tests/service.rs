//! The whole loop in paused time: hours pass in milliseconds, and nothing that waits may delay a sample.
//!
//! Host, cloud and supervisor are the test's own: no real part opens a connection in the last look, or hangs, when a
//! test wants it to. Real sockets, a real EC2 stand-in and a real systemd have tests of their own.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed test may panic, and may ask what time it is"
)]
#![allow(clippy::struct_excessive_bools, reason = "each is a fault of its own that can be switched on")]

use std::collections::VecDeque;
use std::future::pending;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mc_idle::clock::Clock;
use mc_idle::cloud::{Cloud, News};
use mc_idle::config::settings::{EfsSettings, HoldSettings, Scope, StopAction};
use mc_idle::config::{Settings, files};
use mc_idle::heartbeat::writer::{self, Link};
use mc_idle::heartbeat::{PutError, Store, record::Author};
use mc_idle::hold::{Hold, Known, Source};
use mc_idle::host::mountinfo::Mount;
use mc_idle::host::{Host, Sample};
use mc_idle::idle::rule::Refusal;
use mc_idle::idle::window::{self, Running};
use mc_idle::idle::{Clearance, Memory, Reading, Seen, Socket};
use mc_idle::journal::{Journal, Kind, Line};
use mc_idle::keeper::Keeper;
use mc_idle::metadata::{Caution, Notice, ReclaimAction};
use mc_idle::metrics::textfile::Textfile;
use mc_idle::notify::Supervisor;
use mc_idle::service::{Service, Signal, World};
use tokio::sync::{mpsc, watch};
use tokio::time::{self, Instant};

/// What the outside world does next, and what it has seen of the agent.
#[derive(Default)]
struct Outside {
    players: usize,
    unreadable: bool,
    /// Readings for the next samples, before it goes on as above.
    next: VecDeque<Reading>,
    witness: Option<Reading>,
    samples: Vec<Instant>,
    pings: Vec<Instant>,
    status: String,
    ready: bool,
    stopping: bool,
    requests: Vec<Instant>,
    /// Answers to the next requests; after them every request is granted.
    answers: VecDeque<Result<(), Refusal>>,
    request_hangs: bool,
    prepare_hangs: bool,
    holds: Vec<Hold>,
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

fn seen(players: usize) -> Reading {
    let socket = |number: usize| Socket {
        local: "192.0.2.1:25565".parse().unwrap(),
        peer: format!("198.51.100.1:{}", 40000 + number).parse().unwrap(),
        inode: std::num::NonZeroU64::new(1000 + number as u64),
    };
    Reading::Seen(Seen { listener: true, sockets: (0..players).map(socket).collect() })
}

impl Host for Shared {
    fn sample(&mut self, _: &Scope) -> Sample {
        let mut outside = self.get();
        outside.samples.push(Instant::now());
        let cause = outside.unreadable.then(|| Reading::Unknown("cannot read the table".to_owned()));
        let usual = cause.unwrap_or_else(|| seen(outside.players));
        Sample::of(outside.next.pop_front().unwrap_or(usual))
    }

    fn witness(&mut self, _: &Scope) -> Reading {
        let outside = self.get();
        outside.witness.clone().unwrap_or_else(|| seen(outside.players))
    }

    fn mount(&mut self, _: &EfsSettings) -> Mount {
        Mount::Nfs { id: 1 }
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

    async fn prepare(&self, _: StopAction) -> Result<(), Refusal> {
        if self.get().prepare_hangs {
            pending::<()>().await;
        }
        Ok(())
    }

    async fn request(&self, _: Clearance, _: StopAction, (): ()) -> Result<(), Refusal> {
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
    lines: Receiver<Line>,
    news: mpsc::UnboundedSender<News>,
    settings: Arc<Mutex<String>>,
    ended: tokio::task::JoinHandle<()>,
}

const SETTINGS: &str = "idle_minutes = 15\nefs.mount_point = \"\"";

fn parse(text: &str) -> Result<Settings, mc_idle::config::ConfigError> {
    let mut settings = Settings::default();
    files::apply(&mut settings, "config.toml".as_ref(), text)?;
    Ok(settings)
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
        let (heart, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
        let author = Author { instance_id: "i-0123456789abcdef0".to_owned(), boot_id: "boot".to_owned() };
        let (link_sender, link) = watch::channel(Some(Link { store: outside.clone(), author }));
        tokio::spawn(async move {
            heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))).await;
            drop(link_sender);
        });
        let slept = || SLEPT.with(std::cell::Cell::get);
        let load_text = Arc::clone(&text);
        let held_by = outside.clone();
        let world = World {
            host: outside.clone(),
            supervisor: outside.clone(),
            journal,
            clock,
            slept,
            memory,
            keeper: Keeper::none(),
            boot_id: "boot".to_owned(),
            metrics: Textfile::none(),
            holds: Box::new(move |_| Known { holds: held_by.get().holds.clone(), ..Known::default() }),
            hold: watch::channel(HoldSettings::default()).0,
            heart,
            health,
            news,
            action: watch::channel(settings.action).0,
            target: watch::channel(None).0,
            verdict: watch::channel(None).1,
            signals: signal_receiver,
            load: Box::new(move || parse(&load_text.lock().unwrap())),
            dry_run: false,
        };
        let ended = tokio::spawn(Service::new(world, outside.clone(), settings).run());
        Agent { outside, signals, lines, news: news_sender, settings: text, ended }
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
    for witness in [seen(1), Reading::Unknown("no answer".to_owned())] {
        let agent = Agent::start(SETTINGS, Outside { witness: Some(witness), ..Outside::default() });
        agent.minutes(60).await;
        assert_eq!(agent.requests(), 0);
        agent.outside.get().witness = None;
        // At the latest after the longest wait; the stop itself does not come here, so it may be asked for again.
        agent.minutes(6).await;
        assert!(agent.requests() >= 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_last_look_has_seen_counts_even_if_the_witness_could_not_look() {
    let agent = Agent::start(SETTINGS, Outside::default());
    agent.minutes(14).await;
    agent.seconds(58).await;
    agent.outside.get().next = [seen(0), seen(1)].into();
    agent.outside.get().witness = Some(Reading::Unknown("no answer".to_owned()));
    agent.seconds(3).await;
    assert_eq!(agent.requests(), 0);
    assert!(agent.kinds().contains(&Kind::StopCalledOff));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_in_the_status_and_the_journal_and_is_tried_again() {
    for (lasting, least, most) in [(true, 12, 13), (false, 14, 40)] {
        let refusal = Refusal { lasting, text: "EC2 answered No: change this".to_owned() };
        let answers = std::iter::repeat_n(Err(refusal), 1000).collect();
        let agent = Agent::start(SETTINGS, Outside { answers, ..Outside::default() });
        agent.minutes(16).await;
        assert!(agent.outside.get().status.starts_with("The stop failed: EC2 answered No: change this."));
        agent.minutes(60).await;
        assert!((least..=most).contains(&agent.requests()), "{} requests", agent.requests());
        assert!(agent.kinds().contains(&Kind::StopRefused));
        agent.outside.get().answers.clear();
        agent.minutes(6).await;
        assert!(agent.outside.get().status.starts_with("EC2 has agreed"));
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
    assert!(agent.outside.get().status.starts_with("Nobody plays"));
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
async fn heartbeats_that_are_not_written_are_told_once_and_so_is_their_return() {
    let error = PutError { throttled: false, text: "SSM answered AccessDeniedException".to_owned() };
    let agent = Agent::start(SETTINGS, Outside { put_error: Some(error), ..Outside::default() });
    agent.minutes(10).await;
    assert!(agent.outside.get().status.ends_with("Heartbeats are not written: SSM answered AccessDeniedException."));
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
    let lines: Vec<Line> = agent.lines.try_iter().filter(|line| line.kind == Kind::Configuration).collect();
    assert_eq!(lines.iter().map(|line| line.level).collect::<Vec<_>>(), [tracing::Level::ERROR, tracing::Level::INFO]);
}

#[tokio::test(start_paused = true)]
async fn what_will_be_refused_is_known_long_before_the_window_ends() {
    let agent = Agent::start(SETTINGS, Outside::default());
    let refusal = Refusal { lasting: true, text: "allow ec2:StopInstances".to_owned() };
    agent.news.send(News::Permission(Err(refusal.clone()))).unwrap();
    agent.news.send(News::Permission(Err(refusal))).unwrap();
    agent.seconds(2).await;
    let status = agent.outside.get().status.clone();
    assert!(status.contains("the stop is due in 15 min") && status.contains("allow ec2:StopInstances"), "{status}");
    assert!(!status.contains("this instance stops"), "what EC2 refuses will not come: {status}");
    assert_eq!(agent.kinds().iter().filter(|kind| **kind == Kind::PermissionRefused).count(), 1);
    agent.news.send(News::Permission(Ok(()))).unwrap();
    agent.news.send(News::Identity(Err("it is silent".to_owned()))).unwrap();
    agent.seconds(2).await;
    let status = agent.outside.get().status.clone();
    assert!(!status.contains("allow") && status.contains("instance metadata is not to be had: it is silent"));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_goes_on_where_the_one_before_it_was() {
    let running = Some(Running { clock: window::Clock::Idle, elapsed: Duration::from_mins(14) });
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
    let notice = Notice { action: ReclaimAction::Terminate, at: "2026-11-22T21:40:00Z".parse().unwrap() };
    agent.news.send(News::Reclaim(Some(notice))).unwrap();
    agent.seconds(2).await;
    let told = "EC2 takes this spot instance back and terminates it at 21:40 UTC";
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
    let notice = Notice { action: ReclaimAction::Stop, at: "2026-11-22T21:40:00Z".parse().unwrap() };
    agent.minutes(14).await;
    agent.news.send(News::Reclaim(Some(notice))).unwrap();
    agent.minutes(2).await;
    assert_eq!(agent.requests(), 0);
    agent.news.send(News::Reclaim(None)).unwrap();
    agent.seconds(10).await;
    assert_eq!(agent.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_makes_a_stop_another_thing_here_is_told_once_and_stays_in_the_status() {
    let agent = Agent::start(SETTINGS, Outside::default());
    let cautions =
        [Caution::Spot, Caution::AutoScalingGroup, Caution::InstanceStoreRoot, Caution::MayStopOthers, Caution::Spot];
    for caution in cautions {
        agent.news.send(News::Caution(caution)).unwrap();
    }
    agent.minutes(10).await;
    let status = agent.outside.get().status.clone();
    for said in ["spot request is persistent", "Auto Scaling group", "instance store", "stop other instances too"] {
        assert!(status.contains(said), "{said}: {status}");
    }
    assert_eq!(agent.kinds().into_iter().filter(|kind| *kind == Kind::Caution).count(), 4);
    let why = agent.outside.get().heartbeats.last().unwrap()["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("Nobody plays on port 25565"), "{why}");
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
    assert!(status.contains("waits for the end of a hold") && status.contains("an inhibitor lock"), "{status}");
    assert_eq!(agent.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_due_stop_waits_for_is_told_again_when_it_is_something_else() {
    let hold = Hold { source: Source::Operator, reason: "nightly backup".to_owned(), left: None };
    // EFS is mounted, and has never answered.
    let agent = Agent::start("idle_minutes = 15", Outside { holds: vec![hold], ..Outside::default() });
    agent.minutes(16).await;
    agent.outside.get().holds.clear();
    agent.minutes(5).await;
    let told: Vec<Line> = agent.lines.try_iter().filter(|line| line.kind == Kind::StateChanged).collect();
    let waits = ["Nobody plays", "the stop waits for the end of a hold", "EFS has not answered yet; the stop waits"];
    assert_eq!(told.len(), waits.len(), "{told:#?}");
    for (line, said) in told.iter().zip(waits) {
        assert!(line.text.contains(said), "{said:?} is not in {line:?}");
    }
}
