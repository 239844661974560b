//! What one server goes through: an evening, from its start until it is stopped.

use std::time::Duration;

use fastrand::Rng;
use mc_heartbeat::{AgentState, EfsState};
use mc_idle::config::settings::HeartbeatSettings;
use mc_idle::report::heartbeat::writer::{Link, pair};
use mc_idle::report::heartbeat::{HeartbeatHandle, Report, Writer};
use tokio::sync::watch;
use tokio::time::sleep;

use super::account::{Facts, Ssm};

/// `idle_minutes`, as it is by default.
const IDLE_WINDOW: u64 = 15 * MINUTE;
/// How long the final heartbeats are waited for: as agent/service/mod.rs has it.
const STOPPING_PATIENCE: Duration = Duration::from_secs(5);
const ENDED_PATIENCE: Duration = Duration::from_secs(1);
/// One evening in so many ends by an operator's hand, in its middle.
const BY_HAND: u64 = 20;
/// How many friends play of an evening.
const FRIENDS: [usize; 6] = [1, 1, 2, 2, 3, 4];
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// The weight of each hour from noon on, for an evening to begin in it.
const EVENINGS: [u64; 12] = [2, 2, 3, 4, 7, 10, 14, 18, 17, 12, 7, 4];

/// When the servers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Starts {
    /// From noon to midnight, most in the evening, all in one time zone.
    Evening,
    /// All within one hour.
    Hour,
    /// All in the same second.
    Second,
}

impl Starts {
    pub(crate) const ALL: [(&'static str, Starts); 3] =
        [("evening", Starts::Evening), ("hour", Starts::Hour), ("second", Starts::Second)];

    pub(crate) fn word(self) -> &'static str {
        Starts::ALL.into_iter().find(|(_, starts)| *starts == self).map_or("", |(word, _)| word)
    }

    fn draw(self, rng: &mut Rng) -> Duration {
        Duration::from_millis(match self {
            Starts::Evening => {
                let mut chance = rng.u64(..EVENINGS.iter().sum::<u64>());
                let mut hour = 0;
                for weight in EVENINGS {
                    if chance < weight {
                        break;
                    }
                    chance -= weight;
                    hour += HOUR;
                }
                hour * 1000 + rng.u64(..HOUR * 1000)
            }
            Starts::Hour => rng.u64(..HOUR * 1000),
            Starts::Second => rng.u64(..1000),
        })
    }
}

/// The evening of one server, drawn beforehand so that no heartbeat can change it. Seconds.
struct Evening {
    start: Duration,
    /// From the start of the agent until the server listens.
    booting: f64,
    /// When the number of players changes after that, and to how many.
    players: Vec<(f64, usize)>,
    /// When it is over after that: the idle window has passed, or somebody ends it.
    over: f64,
    by_hand: bool,
    /// From the request to stop until the agent is ended with the machine.
    going_down: f64,
}

impl Evening {
    fn draw(starts: Starts, rng: &mut Rng) -> Self {
        let mut steps: Vec<(f64, bool)> = Vec::new();
        for friend in 0..FRIENDS[rng.usize(..FRIENDS.len())] {
            // The first one has started the server, and waits for it.
            let comes = if friend == 0 { seconds(rng, 5, MINUTE) } else { seconds(rng, 0, 40 * MINUTE) };
            let leaves = comes
                + match rng.u8(..20) {
                    0..=4 => seconds(rng, 2 * MINUTE, 10 * MINUTE),
                    5..=15 => seconds(rng, 10 * MINUTE, 50 * MINUTE),
                    _ => seconds(rng, 50 * MINUTE, 100 * MINUTE),
                };
            steps.extend([(comes, true), (leaves, false)]);
            if rng.u8(..4) == 0 {
                // Drops out, and comes again.
                let drops = comes + (leaves - comes) * rng.f64();
                steps
                    .extend([(drops, false), (drops + seconds(rng, 10, 2 * MINUTE).min((leaves - drops) / 2.0), true)]);
            }
        }
        steps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (mut now, mut over, mut count, mut players) = (0.0, f64::INFINITY, 0_usize, Vec::new());
        for (at, comes) in steps {
            if at > over {
                break;
            }
            // One sample tells no two changes apart.
            now = at.max(now + 5.0);
            count = if comes { count + 1 } else { count - 1 };
            over = if count == 0 { now + seconds(rng, IDLE_WINDOW, IDLE_WINDOW + 1) } else { f64::INFINITY };
            players.push((now, count));
        }
        let by_hand = rng.u64(..BY_HAND) == 0;
        let over = if by_hand { over.min(now + 60.0) * rng.f64() } else { over };
        players.retain(|(at, _)| *at < over);
        let (start, booting, going_down) = (starts.draw(rng), seconds(rng, 30, 90), seconds(rng, 5, 15));
        Evening { start, booting, players, over, by_hand, going_down }
    }
}

fn seconds(rng: &mut Rng, from: u64, to: u64) -> f64 {
    Duration::from_millis(rng.u64(from * 1000..to * 1000)).as_secs_f64()
}

/// Lives through an evening of one server, with the agent's own writer.
pub(crate) async fn evening(ssm: Ssm, settings: HeartbeatSettings, starts: Starts, mut rng: Rng) {
    let evening = Evening::draw(starts, &mut rng);
    sleep(evening.start).await;
    let (heartbeat, writer) = pair(settings, ssm.clock);
    let author = Writer { instance_id: format!("i-{:017x}", ssm.server), boot_id: String::new() };
    let (_link, link) = watch::channel(Some(Link { store: ssm.clone(), author }));
    let agent = tokio::spawn(writer.run(link, drop));
    ssm.account().begin(ssm.server, ssm.clock.now());
    let tell = |state, players| heartbeat.tell(change(&ssm, state, players));
    tell(AgentState::NoServer, 0);
    sleep(Duration::from_secs_f64(evening.booting)).await;
    tell(AgentState::Idle, 0);
    let (mut now, mut count) = (0.0, 0);
    for (at, players) in evening.players {
        sleep(Duration::from_secs_f64(at - now)).await;
        (now, count) = (at, players);
        tell(if players == 0 { AgentState::Idle } else { AgentState::Occupied }, players);
    }
    sleep(Duration::from_secs_f64(evening.over - now)).await;
    if evening.by_hand {
        last(&heartbeat, change(&ssm, AgentState::Ended, count), ENDED_PATIENCE).await;
    } else {
        let down = sleep(Duration::from_secs_f64(evening.going_down));
        let stopping = change(&ssm, AgentState::Stopping, count);
        last(&heartbeat, stopping.clone(), STOPPING_PATIENCE).await;
        heartbeat.tell(stopping);
        down.await;
    }
    agent.abort();
    ssm.account().end(ssm.server, ssm.clock.now());
}

async fn last(heartbeat: &HeartbeatHandle, report: Report, patience: Duration) {
    heartbeat.clone().last(report, patience).await;
}

fn change(ssm: &Ssm, state: AgentState, players: usize) -> Report {
    let facts = Facts { state, players: Some(players) };
    ssm.account().change(ssm.server, ssm.clock.now(), facts);
    Report {
        state,
        players: facts.players,
        ..Report::starting(EfsState::Mounted, "A sentence for a person.".to_owned())
    }
}
