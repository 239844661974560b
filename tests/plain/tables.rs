//! Hosts from folders: `tests/hosts/CASE` looks like a host below `proc/self`, and `expected` beside it says what the
//! agent is to see there; `config.toml` beside it holds settings, if any. Then hosts whose tables go wrong while the rule watches them.
//! Just over 400 lines, half of them the description of a host.

#![allow(clippy::unwrap_used, reason = "ends the test at what is wrong")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mc_idle::config::settings::{MountPoint, Scope};
use mc_idle::config::{Settings, keys};
use mc_idle::host::mounts::efs::{Mounts, WatchedMount};
use mc_idle::host::networks::Depth;
use mc_idle::host::{Host, ThisHost};
use mc_idle_rule::alarms::BLIND;
use mc_idle_rule::backoff::Jitter;
use mc_idle_rule::facts::{Listening, Sockets};
use mc_idle_rule::judge::{Evidence, Watch, judge};
use mc_idle_rule::rule::AbortReason;
use mc_idle_rule::{
    Action, Alarm, AttemptId, Efs, Facts, Moment, NetworkId, Patience, Rule, RuleSettings, State, Windows, Witness,
};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::checkout;

const NOW: Moment = Moment(Duration::from_secs(1000));

/// What the agent sees of the host below `root`, as `expected` has it.
fn description(root: &Path) -> String {
    let mut loaded = keys::defaults();
    loaded.settings.efs.mount_point = MountPoint::At("/mnt/efs".into());
    // A folder without process 1 is a host whose processes cannot be seen; most are about something else.
    loaded.settings.scope.containers = root.join("proc/1").exists();
    if let Ok(text) = fs::read_to_string(root.join("config.toml")) {
        loaded.take(Path::new("config.toml"), &text).unwrap();
    }
    let settings = loaded.settings;
    let mut host = ThisHost::below(root);
    let facts = host.look(NOW, Depth::Sample, &settings.scope, &BTreeSet::new()).facts;
    let text = in_words(&facts, &settings.scope) + &efs_in_words(host.mounts(&settings.efs.mount_point));
    text.replace(root.to_str().unwrap(), "")
}

/// What cannot be known, who listens and who is connected.
fn in_words(facts: &Facts, scope: &Scope) -> String {
    let watch = Watch { ports: scope.ports.clone(), bedrock_patience: Settings::default().no_server_window };
    let observation = judge(facts, &Evidence::default(), &watch, NOW);
    let place = |id: NetworkId| {
        let addresses = facts.networks.iter().filter(|network| network.id == id).flat_map(|network| &network.addresses);
        let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
        if id.is_host() { "on the host".to_owned() } else { format!("in the network of {}", addresses.join(" and ")) }
    };
    let mut lines: Vec<String> = observation.unknown.iter().map(|unknown| format!("unknown: {unknown}")).collect();
    if !observation.servers.is_empty() {
        lines.push("a server".to_owned());
    } else if lines.is_empty() {
        lines.push("no server".to_owned());
    }
    // The inode of a network's table says nothing, and is another one in every checkout.
    let mut listening: Vec<String> = Vec::new();
    for id in &observation.listeners {
        let whose = if observation.servers.contains(id) { "a server's" } else { "no server's for certain" };
        let question = observation.questions.iter().find(|question| question.listener == *id);
        let asked = question.map_or("not asked".to_owned(), |question| format!("asked at {}", question.address));
        listening.push(format!("{:?} {} {}: {whose}, {asked}", id.edition, id.address, place(id.network)));
    }
    listening.sort();
    let mut connected: Vec<String> = Vec::new();
    for watched in &observation.connections {
        let socket = watched.connection.socket;
        let inode = socket.inode.map_or_else(|| "not accepted".to_owned(), |inode| format!("inode {inode}"));
        let counts = if watched.listening { "" } else { ", does not count: nothing listens there" };
        let from = watched.from.map_or_else(String::new, |from| format!(", from {}", place(from)));
        connected.push(format!(
            "{} {} from {}, {inode}{from}{counts}",
            socket.local,
            place(socket.network),
            socket.peer
        ));
    }
    connected.sort();
    let lines = lines.into_iter().chain(listening).chain(connected);
    lines.map(|line| on_one_line(&line) + "\n").collect()
}

fn efs_in_words(Mounts { watched, later }: Mounts) -> String {
    let mut text = String::new();
    for watched in &watched {
        let words = on_one_line(&watched.in_words());
        match watched {
            WatchedMount::Mounted { named, mount } if *named == mount.at => {
                writeln!(text, "EFS is mount {}", mount.id).unwrap();
            }
            WatchedMount::Mounted { mount, .. } => writeln!(text, "EFS is mount {}: {words}", mount.id).unwrap(),
            WatchedMount::Missing { .. } => writeln!(text, "EFS is missing: {words}").unwrap(),
            WatchedMount::Unknown(_) => writeln!(text, "EFS is unknown: {words}").unwrap(),
        }
    }
    for later in later {
        writeln!(text, "EFS is mounted at {} when it is used", later.display()).unwrap();
    }
    text
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the lines are the same; what follows " ..." is up to a library.
fn fits(found: &str, expected: &str) -> bool {
    found.lines().count() == expected.lines().count()
        && found.lines().zip(expected.lines()).all(|(found, expected)| match expected.strip_suffix(" ...") {
            Some(beginning) => found.starts_with(beginning),
            None => found == expected,
        })
}

#[test]
fn every_host_is_seen_as_expected() {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(checkout().join("tests/hosts")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 30, "{} cases", cases.len());
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let (found, file) = (description(case), case.join("expected"));
            let expected = fs::read_to_string(&file).unwrap_or_default();
            (!fits(&found, &expected)).then(|| format!("{}:\n{expected}--- but found ---\n{found}", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const INTERVAL: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_mins(1);

fn rule_settings() -> RuleSettings {
    RuleSettings {
        windows: Windows { idle: WINDOW, no_server: WINDOW * 2 },
        interval: INTERVAL,
        min_connection: Duration::from_secs(20),
        joining_patience: Duration::from_hours(24),
        efs_patience: Patience::AtMost(Duration::ZERO),
        ports: [25565].into(),
    }
}

/// A host whose tables change, and the rule that looks at it every interval. No real time passes.
struct Changing {
    root: TempDir,
    rule: Rule,
    now: Moment,
}

/// A way in which a host's tables cannot be read.
#[derive(Debug, Clone, Copy)]
struct Fault {
    name: &'static str,
    /// What the reading says.
    says: &'static str,
    strike: fn(&Path),
}

const FAULTS: &[Fault] = &[
    Fault { name: "tcp gone", says: "tcp: No such file", strike: |net| clear(&net.join("tcp")) },
    Fault { name: "tcp a folder", says: "tcp: Is a directory", strike: |net| folder(&net.join("tcp")) },
    Fault { name: "tcp6 a folder", says: "tcp6: Is a directory", strike: |net| folder(&net.join("tcp6")) },
    Fault {
        name: "tcp empty",
        says: "tcp lacks its header line",
        strike: |net| edit(&net.join("tcp"), |_| String::new()),
    },
    Fault {
        name: "tcp6 empty",
        says: "tcp6 lacks its header",
        strike: |net| edit(&net.join("tcp6"), |_| String::new()),
    },
    Fault {
        name: "no header",
        says: "tcp6 lacks its header line",
        strike: |net| edit(&net.join("tcp6"), |text| text.split_once('\n').unwrap().1.to_owned()),
    },
    Fault {
        name: "another header",
        says: "tcp6 lacks its header line",
        strike: |net| edit(&net.join("tcp6"), |text| text.replacen("sl ", "nr ", 1)),
    },
    Fault {
        name: "cut",
        says: "tcp6 is cut off in row 1",
        strike: |net| edit(&net.join("tcp6"), |text| text[..text.find(" 0A ").unwrap()].to_owned()),
    },
    Fault {
        name: "a row that is not one",
        says: "malformed row",
        strike: |net| edit(&net.join("tcp6"), |text| text + "nonsense\n"),
    },
];

fn clear(path: &Path) {
    if path.is_dir() {
        fs::remove_dir(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

fn folder(path: &Path) {
    clear(path);
    fs::create_dir(path).unwrap();
}

fn edit(path: &Path, change: impl Fn(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
}

impl Changing {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/self/net")).unwrap();
        let host = Changing { root, rule: Rule::new(rule_settings()), now: NOW };
        host.becomes("header-only");
        host
    }

    fn net(&self) -> PathBuf {
        self.root.path().join("proc/self/net")
    }

    /// Takes both tables from a case under tests/hosts.
    fn becomes(&self, case: &str) {
        for name in ["tcp", "tcp6", "udp"] {
            clear(&self.net().join(name));
            let from = checkout().join("tests/hosts").join(case).join("proc/self/net").join(name);
            fs::copy(from, self.net().join(name)).unwrap();
        }
    }

    /// A server on which nobody plays.
    fn is_idle(&self) {
        self.becomes("no-players");
    }

    fn breaks(&self, fault: Fault) {
        self.is_idle();
        (fault.strike)(&self.net());
    }

    fn read(&self) -> Facts {
        let scope = Scope { containers: false, ..Settings::default().scope };
        ThisHost::below(self.root.path()).look(self.now, Depth::Sample, &scope, &BTreeSet::new()).facts
    }

    /// The last look of `attempt`, with a second witness who sees a server and nobody else.
    fn last_look(&mut self, attempt: AttemptId) -> AbortReason {
        let own = self.read();
        let listening = Listening { address: "[::]:25565".parse().unwrap(), uid: Some(1000), control_group: None };
        let empty = Facts::of_host(Sockets { listening: vec![listening], ..Sockets::default() });
        let leave = self.rule.last_look(attempt, self.now, &own, Witness::Second(&empty), Vec::new(), Jitter::new(0.0));
        leave.unwrap_err()
    }

    fn sample(&mut self) -> Vec<Action> {
        self.now = self.now.plus(INTERVAL);
        let facts = self.read();
        self.rule.observe(self.now, &facts, Efs::Off)
    }

    /// Takes this many samples; none of them may lead to anything.
    fn samples(&mut self, number: u32) {
        for _ in 0..number {
            assert_eq!(self.sample(), []);
        }
    }

    fn elapsed(&self) -> Duration {
        self.rule.view(self.now).running.unwrap().elapsed
    }

    fn state(&self) -> State {
        self.rule.view(self.now).state
    }

    /// Goes on sampling until the rule wants to stop the machine, at most until the window is over.
    fn attempt(&mut self) -> AttemptId {
        for _ in 0..=WINDOW.as_secs() / INTERVAL.as_secs() {
            if let [Action::Prepare(attempt)] = self.sample()[..] {
                return attempt;
            }
        }
        panic!("no stop; the state is {:?}", self.state());
    }
}

#[test]
fn a_blind_agent_freezes_its_clock_alarms_once_and_goes_on_where_it_was() {
    for fault in FAULTS {
        let mut host = Changing::new();
        host.is_idle();
        host.samples(7);
        assert_eq!(host.elapsed(), INTERVAL * 6);
        host.breaks(*fault);
        // An hour: long past the window.
        let mut alarms = Vec::new();
        let began = host.now.plus(INTERVAL);
        for _ in 0..720 {
            let actions = host.sample();
            let state = host.state();
            assert!(
                matches!(&state, State::Blind { why, .. } if why.contains(fault.says)),
                "{}: {state:?}",
                fault.name
            );
            assert_eq!(host.elapsed(), INTERVAL * 6, "{}", fault.name);
            assert_eq!(host.rule.view(host.now).counts, None, "{}: unknown is not zero", fault.name);
            alarms.extend(actions.into_iter().map(|action| (host.now.since(began), action)));
        }
        assert_eq!(alarms, [(BLIND, Action::Alarm(Alarm::Blind))], "{}", fault.name);

        host.is_idle();
        host.samples(1);
        assert_eq!((host.state(), host.elapsed()), (State::Idle, INTERVAL * 6), "{}", fault.name);
        host.samples(5);
        assert_eq!(host.elapsed(), INTERVAL * 11, "{}", fault.name);
        assert!(matches!(host.sample()[..], [Action::Prepare(_)]), "{}", fault.name);
    }
}

#[test]
fn a_second_blindness_is_an_alarm_of_its_own() {
    let mut host = Changing::new();
    for _ in 0..2 {
        host.is_idle();
        host.samples(2);
        host.breaks(FAULTS[0]);
        let alarms: usize = (0..100).map(|_| host.sample().len()).sum();
        assert_eq!(alarms, 1);
    }
}

#[test]
fn a_player_who_is_there_before_and_after_a_blindness_is_still_a_player() {
    let mut host = Changing::new();
    host.becomes("one-player");
    host.samples(5);
    assert_eq!(host.state(), State::Occupied);
    host.breaks(FAULTS[3]);
    host.samples(10);
    host.becomes("one-player");
    host.samples(1);
    assert_eq!((host.state(), host.elapsed()), (State::Occupied, Duration::ZERO));
}

#[test]
fn a_stop_under_way_is_given_up_when_a_table_breaks() {
    for fault in FAULTS {
        let mut host = Changing::new();
        host.is_idle();
        let attempt = host.attempt();
        host.breaks(*fault);
        assert_eq!(host.sample(), [], "{}", fault.name);
        assert!(matches!(host.state(), State::Blind { .. }), "{}", fault.name);
        // Even if all is well again: what was prepared is void.
        host.is_idle();
        assert_eq!(host.last_look(attempt), AbortReason::Superseded, "{}", fault.name);
        assert!(matches!(host.sample()[..], [Action::Prepare(again)] if again != attempt), "{}", fault.name);
    }
}

#[test]
fn a_last_look_at_a_broken_table_is_no_leave_to_stop() {
    for fault in FAULTS {
        let mut host = Changing::new();
        host.is_idle();
        let attempt = host.attempt();
        host.breaks(*fault);
        let abort_reason = host.last_look(attempt);
        assert!(
            matches!(&abort_reason, AbortReason::Blind(why) if why.contains(fault.says)),
            "{}: {abort_reason:?}",
            fault.name
        );
        assert!(matches!(host.state(), State::Blind { .. }), "{}", fault.name);
    }
}

/// What a host is at one sample.
#[derive(Debug, Clone, Copy)]
enum Now {
    Idle,
    Played,
    Broken(usize),
}

fn now() -> impl Strategy<Value = Now> {
    prop_oneof![8 => Just(Now::Idle), 1 => Just(Now::Played), 2 => (0..FAULTS.len()).prop_map(Now::Broken)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The clock shows the intervals between two idle samples in a row since the last player, whatever breaks between.
    #[test]
    fn only_time_between_two_readable_samples_counts(history in prop::collection::vec(now(), 1..60)) {
        let mut host = Changing::new();
        // Everyone seen is a player, so that the model need not know ages.
        host.rule.set_settings(RuleSettings { min_connection: Duration::ZERO, ..rule_settings() });
        let (mut elapsed, mut before) = (Duration::ZERO, Now::Played);
        for now in history {
            match now {
                Now::Idle => host.is_idle(),
                Now::Played => host.becomes("one-player"),
                Now::Broken(fault) => host.breaks(FAULTS[fault]),
            }
            match (before, now) {
                (Now::Idle, Now::Idle) => elapsed += INTERVAL,
                (_, Now::Played) => elapsed = Duration::ZERO,
                _ => {}
            }
            before = now;
            let stops = host.sample().iter().any(|action| matches!(action, Action::Prepare(_)));
            prop_assert_eq!(host.rule.view(host.now).running.map_or(Duration::ZERO, |running| running.elapsed), elapsed);
            prop_assert_eq!(stops, elapsed >= WINDOW);
            if stops {
                break;
            }
        }
    }
}
