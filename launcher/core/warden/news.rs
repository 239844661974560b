//! What to tell people about an evening, once each. Pure. It is made of what EC2 and SSM show, never of events, which come
//! twice, late or not at all. Over 400 lines, nearly half of them tests.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use mc_heartbeat::time;
use serde::{Deserialize, Serialize};

use crate::server::heartbeat::Received;
use crate::server::instance::{Instance, InstanceState};
use crate::server::state::{ServerState, Trouble};
use crate::server::status::Status;
use crate::server::usage::Usage;

/// A start is of whoever asked for one at most so long before.
const ASKED_BEFORE: Duration = Duration::from_mins(15);
/// A start that EC2 has taken back is told for this long after it, even if nobody saw it.
const TAKEN_BACK: Duration = Duration::from_hours(1);
/// Who has started an instance is noted so soon after EC2 has taken the start.
const NOTED_WITHIN: Duration = Duration::from_secs(5);

/// What has been told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    evening: Option<ToldEvening>,
    /// What somebody has to look at.
    trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ToldEvening {
    instance_id: String,
    #[serde(with = "time::required")]
    launch_time: Timestamp,
    told: BTreeSet<Item>,
    /// When the last player had left, as it was told.
    #[serde(with = "time::optional")]
    left_at: Option<Timestamp>,
}

/// What is told once of an evening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Item {
    Starting,
    Up,
    FirstPlayer,
    SpotNotice,
    Stopped,
}

/// What is so.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The server's name.
    pub server: &'a str,
    pub state: &'a ServerState,
    /// For the address, and what it costs.
    pub status: &'a Status,
    /// The instance that was started last; `None`: EC2 shows none.
    pub latest: Option<&'a Instance>,
    /// Of this boot, and not lapsed.
    pub heartbeat: Option<&'a Received>,
    pub usage: &'a Usage,
    /// The instance of a notice that EC2 takes a spot instance back.
    pub spot_notice: Option<&'a str>,
    pub now: Timestamp,
}

/// Whether `instance` was started so short a time ago that the page may be about to note by whom.
#[must_use]
pub fn is_just_started(instance: &Instance, now: Timestamp) -> bool {
    now < after(instance.launch_time, NOTED_WITHIN)
}

/// What has been told once the messages are, and the messages.
#[must_use]
pub fn news(told: &Told, facts: &Facts<'_>) -> (Told, Vec<String>) {
    let (mut told, mut messages) = (told.clone(), Vec::new());
    // What cannot be seen is no news.
    if matches!(facts.state, ServerState::Unknown(_)) {
        return (told, messages);
    }
    let same = |evening: &ToldEvening, instance: &Instance| {
        evening.instance_id == instance.id && evening.launch_time == instance.launch_time
    };
    match (facts.latest, told.evening.take()) {
        (Some(instance), before) => {
            let before = match before {
                Some(evening) if same(&evening, instance) => evening,
                before => {
                    messages.extend(before.as_ref().and_then(|evening| ended(evening, facts)));
                    begun(instance, facts)
                }
            };
            told.evening = Some(of_evening(before, instance, facts, &mut messages));
        }
        // EC2 has forgotten it.
        (None, Some(evening)) => {
            messages.extend(ended(&evening, facts));
            let mut evening = evening;
            evening.told.insert(Item::Stopped);
            told.evening = Some(evening);
        }
        (None, None) => {}
    }
    let trouble = trouble(facts);
    if told.trouble != trouble {
        messages.extend(trouble.clone());
        told.trouble = trouble;
    }
    (told, messages)
}

/// An evening of which nothing has been told. One that was over before anybody looked is no news, unless EC2 took it back.
fn begun(instance: &Instance, facts: &Facts<'_>) -> ToldEvening {
    let over = matches!(instance.state, InstanceState::Stopped | InstanceState::Terminated);
    let young = facts.now <= after(instance.launch_time, TAKEN_BACK);
    ToldEvening {
        instance_id: instance.id.clone(),
        launch_time: instance.launch_time,
        told: if over && !(instance.taken_back().is_some() && young) {
            [Item::Stopped].into()
        } else {
            BTreeSet::new()
        },
        left_at: None,
    }
}

fn of_evening(before: ToldEvening, instance: &Instance, facts: &Facts<'_>, messages: &mut Vec<String>) -> ToldEvening {
    let (mut evening, server) = (before, facts.server);
    // Perhaps it is about to be noted who has started it.
    let too_early = by(instance, facts.usage).is_empty() && is_just_started(instance, facts.now);
    match facts.state {
        ServerState::Starting(_) if too_early => {}
        ServerState::Starting(_) if evening.told.insert(Item::Starting) => {
            messages.push(format!("{server} is starting{}.", by(instance, facts.usage)));
        }
        ServerState::Up(_) if evening.told.insert(Item::Up) => {
            let by = if evening.told.insert(Item::Starting) { by(instance, facts.usage) } else { String::new() };
            let address = facts.status.address_in_words().map(|address| format!(" at {address}")).unwrap_or_default();
            messages.push(format!("{server} is up{address}{by}."));
        }
        _ => {}
    }
    if let Some(heartbeat) = facts.heartbeat.map(|received| &received.heartbeat) {
        let somebody = heartbeat.players.is_some_and(|players| players > 0);
        if (somebody || heartbeat.last_player_at.is_some()) && evening.told.insert(Item::FirstPlayer) {
            let who = heartbeat.names.as_deref().filter(|names| somebody && !names.is_empty()).unwrap_or("Somebody");
            messages.push(format!("{who} joined {server}."));
        }
        if let (Some(0), Some(left)) = (heartbeat.players, heartbeat.last_player_at)
            && evening.left_at != Some(left)
        {
            let stop = heartbeat.stop_at.map(|time| format!("; it stops at {}", clock(time))).unwrap_or_default();
            messages.push(format!("Nobody has been on {server} since {}{stop}.", clock(left)));
            evening.left_at = Some(left);
        }
    }
    let runs = matches!(instance.state, InstanceState::Pending | InstanceState::Running);
    if runs && facts.spot_notice == Some(instance.id.as_str()) && evening.told.insert(Item::SpotNotice) {
        messages.push(format!("EC2 is about to take {server}'s spot instance back, within two minutes."));
    }
    if matches!(instance.state, InstanceState::Stopped | InstanceState::Terminated) {
        messages.extend(ended(&evening, facts));
        evening.told.insert(Item::Stopped);
    }
    evening
}

/// That an evening is over; `None`: that has been told.
fn ended(evening: &ToldEvening, facts: &Facts<'_>) -> Option<String> {
    if evening.told.contains(&Item::Stopped) {
        return None;
    }
    let server = facts.server;
    let instance = facts.latest.filter(|instance| instance.launch_time == evening.launch_time);
    if let Some(reason) = instance.and_then(Instance::taken_back) {
        return Some(format!("EC2 has taken the start of {server} back: {reason}. Try again in some minutes."));
    }
    let last = facts.usage.last.filter(|last| last.started == evening.launch_time);
    let lasted = last.map(|last| format!(" after {}", in_words(last.lasted()))).unwrap_or_default();
    let usd = |amount: f64| format!("${amount:.2}");
    let costs = match (last.zip(facts.status.price_per_hour), facts.status.month_usd) {
        (Some((last, price)), Some(month)) => {
            let evening = price * last.lasted().as_secs_f64() / 3600.0;
            format!(": {} this evening, {} this month", usd(evening), usd(month))
        }
        _ => String::new(),
    };
    Some(format!("{server} has stopped{lasted}{costs}."))
}

/// What somebody has to look at. An agent that is silent is the dead-man's switch's to tell.
fn trouble(facts: &Facts<'_>) -> Option<String> {
    match facts.state {
        ServerState::Trouble(Trouble::Several(_) | Trouble::NoServer(_)) => {
            Some(format!("{}: {}", facts.server, facts.status.why))
        }
        _ => None,
    }
}

fn by(instance: &Instance, usage: &Usage) -> String {
    let earliest = instance.launch_time.checked_sub(ASKED_BEFORE).unwrap_or(Timestamp::MIN);
    match usage.asked.as_ref().filter(|asked| asked.at >= earliest) {
        Some(asked) => format!(", started by {}", asked.by.as_deref().unwrap_or("a friend with the link")),
        None => String::new(),
    }
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A time of day.
pub(super) fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M UTC").to_string()
}

/// A duration such as `2 h 5 min`.
pub(super) fn in_words(duration: Duration) -> String {
    match duration.as_secs() / 60 {
        minutes @ ..60 => format!("{minutes} min"),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::heartbeat::Received;
    use crate::server::status::Subject;
    use crate::server::status::tests::{at, instance, occupied, settings};
    use crate::server::usage::Asked;
    use mc_heartbeat::{AgentState, Heartbeat};
    use proptest::prelude::*;

    /// What the warden sees of one evening at a time.
    struct Scene {
        state: ServerState,
        latest: Option<Instance>,
        heartbeat: Option<Received>,
        now: i64,
    }

    impl Scene {
        fn new(state: ServerState, now: i64) -> Self {
            let of_state = match &state {
                ServerState::Starting(instance) | ServerState::Up(instance) | ServerState::Stopping(instance) => {
                    Some(instance.clone())
                }
                _ => None,
            };
            Scene { state, latest: of_state, heartbeat: None, now }
        }

        fn told(&self, told: &Told, usage: &mut Usage) -> (Told, Vec<String>) {
            let settings = settings(&[("MC_PRICE_PER_HOUR", "0.0832"), ("MC_ADDRESS", "play.example.org")]);
            let now = at(self.now);
            usage.see(self.latest.as_slice(), now);
            let subject = Subject {
                settings: &settings,
                state: &self.state,
                heartbeat: self.heartbeat.as_ref(),
                usage: Some(usage),
                wished: false,
                taken_back: None,
                now,
            };
            news(
                told,
                &Facts {
                    server: "survival",
                    state: &self.state,
                    status: &Status::new(&subject),
                    latest: self.latest.as_ref(),
                    heartbeat: self.heartbeat.as_ref(),
                    usage,
                    spot_notice: None,
                    now,
                },
            )
        }
    }

    fn stopped(at_second: i64) -> Instance {
        Instance { state: InstanceState::Stopped, stopped_at: Some(at(at_second)), ..instance() }
    }

    fn left() -> Received {
        let heartbeat = occupied().heartbeat;
        let heartbeat = Heartbeat {
            state: AgentState::Idle,
            players: Some(0),
            names: None,
            last_player_at: Some(at(7000)),
            stop_at: Some(at(7900)),
            ..heartbeat
        };
        Received { heartbeat, ..occupied() }
    }

    fn evening() -> Vec<Scene> {
        let asleep = Scene { latest: Some(stopped(7910)), ..Scene::new(ServerState::Asleep, 8000) };
        vec![
            Scene::new(ServerState::Starting(instance()), 30),
            Scene::new(ServerState::Up(instance()), 120),
            Scene { heartbeat: Some(occupied()), ..Scene::new(ServerState::Up(instance()), 7200) },
            Scene { heartbeat: Some(left()), ..Scene::new(ServerState::Up(instance()), 7210) },
            Scene::new(ServerState::Stopping(instance()), 7905),
            asleep,
        ]
    }

    fn asked() -> Usage {
        Usage { asked: Some(Asked { by: Some("Alex".to_owned()), at: at(-20) }), ..Usage::default() }
    }

    const EVENING: [&str; 5] = [
        "survival is starting, started by Alex.",
        "survival is up at play.example.org.",
        "Alex, Steve joined survival.",
        "Nobody has been on survival since 00:10 UTC; it stops at 00:25 UTC.",
        "survival has stopped after 2 h 11 min: $0.18 this evening, $0.18 this month.",
    ];

    #[test]
    fn a_start_is_told_when_it_can_be_known_whose_it_is() {
        let messages = |second, mut usage: Usage| {
            Scene::new(ServerState::Starting(instance()), second).told(&Told::default(), &mut usage).1
        };
        assert_eq!(messages(1, asked()), ["survival is starting, started by Alex."]);
        assert_eq!(messages(1, Usage::default()), [""; 0]);
        // By the console.
        assert_eq!(messages(5, Usage::default()), ["survival is starting."]);
    }

    #[test]
    fn an_evening_is_told_once() {
        let (mut told, mut usage, mut all) = (Told::default(), asked(), Vec::new());
        for scene in evening().iter().flat_map(|scene| [scene, scene]) {
            let (next, messages) = scene.told(&told, &mut usage);
            told = next;
            all.extend(messages);
        }
        assert_eq!(all, EVENING);
    }

    proptest! {
        /// Whichever looks are missed, nothing is told twice, and what is told is true of the evening.
        #[test]
        fn looks_may_be_missed_or_repeated(looks in prop::collection::vec((0_usize..6, 1_usize..3), 1..30)) {
            let mut looks: Vec<usize> = looks.into_iter().flat_map(|(scene, times)| vec![scene; times]).collect();
            looks.sort_unstable();
            let (mut told, mut usage, mut all) = (Told::default(), asked(), Vec::new());
            let scenes = evening();
            for scene in looks.iter().map(|scene| &scenes[*scene]) {
                let (next, messages) = scene.told(&told, &mut usage);
                told = next;
                all.extend(messages);
            }
            let mut once = all.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), all.len());
            // The end is told if anything was, and somebody looked afterwards.
            let ends = looks.last() == Some(&5) && looks[0] != 5;
            prop_assert_eq!(all.iter().any(|message| message.starts_with("survival has stopped")), ends);
        }
    }

    #[test]
    fn an_evening_that_was_over_before_anybody_looked_is_no_news() {
        let scene = Scene { latest: Some(stopped(7910)), ..Scene::new(ServerState::Asleep, 8000) };
        assert_eq!(scene.told(&Told::default(), &mut asked()).1, [""; 0]);
    }

    #[test]
    fn a_start_that_ec2_takes_back_is_told_even_if_nobody_saw_it() {
        let reason = Some("Server.InsufficientInstanceCapacity".to_owned());
        let taken_back = Instance { reason, ..stopped(20) };
        let scene = |now| Scene { latest: Some(taken_back.clone()), ..Scene::new(ServerState::Asleep, now) };
        let (told, messages) = scene(60).told(&Told::default(), &mut asked());
        assert_eq!(messages.len(), 1);
        assert!(messages[0].contains("Server.InsufficientInstanceCapacity"), "{messages:?}");
        assert_eq!(scene(360).told(&told, &mut asked()).1, [""; 0]);
        assert_eq!(scene(4000).told(&Told::default(), &mut asked()).1, [""; 0]);
    }

    #[test]
    fn what_cannot_be_seen_is_no_news() {
        let (told, _) = Scene::new(ServerState::Up(instance()), 120).told(&Told::default(), &mut asked());
        let blind = Scene::new(ServerState::Unknown("timed out".to_owned()), 200);
        assert_eq!(blind.told(&told, &mut asked()), (told, Vec::new()));
    }

    #[test]
    fn a_launched_instance_that_ec2_has_forgotten_has_stopped() {
        let mut usage = asked();
        let (told, _) = Scene::new(ServerState::Up(instance()), 120).told(&Told::default(), &mut usage);
        let gone = Scene { latest: None, ..Scene::new(ServerState::Asleep, 9000) };
        let (told, messages) = gone.told(&told, &mut usage);
        assert!(messages[0].starts_with("survival has stopped after 2 min"), "{messages:?}");
        assert_eq!(gone.told(&told, &mut usage).1, [""; 0]);
    }
}
