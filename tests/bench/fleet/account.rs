//! One account's SSM in one region, with what its readers see beside what is so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use mc_heartbeat::{AgentState, Heartbeat};
use mc_idle::clock::Clock;
use mc_idle::report::heartbeat::{PutError, Store};
use mc_idle_rule::Moment;
use tokio::time::sleep;

/// The way to SSM and back.
const LATENCY: Duration = Duration::from_millis(30);
/// The SDK's standard retry: so many attempts,
const ATTEMPTS: u32 = 3;
/// before the second a wait of up to this, before the third of up to twice this,
const BACKOFF: f64 = 1.0;
/// and a quota of its own: so much of it at first,
const QUOTA: u32 = 500;
/// and so much for each further attempt; a success gives the last of them back, or 1 when there was none.
const RETRY_COST: u32 = 5;
/// `at` and `next_by` are whole seconds.
const ROUNDING: Duration = Duration::from_secs(1);

/// What is told of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub state: AgentState,
    pub players: Option<usize>,
}

/// How fast the account takes writes: a bucket of tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Tokens a second.
    pub rate: f64,
    /// The most that it holds. AWS does not say how many.
    pub burst: f64,
}

/// What came of the changes of one kind.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub all: u64,
    /// Not written before the next one of the kind, or before the end.
    pub lost: u64,
    /// Seconds until it was written, of every other.
    pub delays: Vec<f64>,
}

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Requests, granted or not.
    pub requests: u64,
    /// Calls that the SDK gave up.
    pub refused: u64,
    /// Heartbeats that told of a new state,
    pub of_states: u64,
    /// of another number of players,
    pub of_players: u64,
    /// of nothing new.
    pub regular: u64,
    /// The `starting` that was never written: the second report followed it.
    pub unseen_starts: u64,
    pub states: Changes,
    pub players: Changes,
    /// Lost changes of state by the state.
    pub lost: BTreeMap<AgentState, u64>,
    /// How often a reader called a living agent dead, for how many seconds in all, and the most.
    pub dead: u64,
    pub dead_seconds: f64,
    pub longest_dead: f64,
    pub finals: u64,
    /// Server-seconds with a running agent, and the most servers at once.
    pub up_seconds: f64,
    pub most_up: usize,
}

impl Ledger {
    pub(crate) fn writes(&self) -> u64 {
        self.of_states + self.of_players + self.regular
    }
}

#[derive(Debug, Default)]
struct Server {
    up_since: Option<Moment>,
    truth: Option<Facts>,
    state_untold: Option<Moment>,
    players_untold: Option<Moment>,
    start_untold: bool,
    shown: Option<(AgentState, Option<usize>)>,
    next_by: Option<Moment>,
    quota: u32,
    retry_held: bool,
}

#[derive(Debug)]
pub(crate) struct Account {
    limit: Limit,
    tokens: f64,
    at: Moment,
    servers: Vec<Server>,
    up: usize,
    rng: Rng,
    pub(crate) ledger: Ledger,
}

impl Account {
    pub(crate) fn new(limit: Limit, servers: usize, seed: u64) -> Self {
        let server = || Server { quota: QUOTA, ..Server::default() };
        let servers = std::iter::repeat_with(server).take(servers).collect();
        let (at, rng) = (Moment(Duration::ZERO), Rng::with_seed(seed));
        Account { limit, tokens: limit.burst, at, servers, up: 0, rng, ledger: Ledger::default() }
    }

    fn granted(&mut self, now: Moment) -> bool {
        let passed = now.0.saturating_sub(self.at.0).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.limit.rate).min(self.limit.burst);
        self.ledger.requests += 1;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }

    /// What a server's SDK does after a refused request: waits, or gives up.
    fn wait(&mut self, server: usize, attempt: u32) -> Option<Duration> {
        let server = &mut self.servers[server];
        if attempt >= ATTEMPTS || server.quota < RETRY_COST {
            self.ledger.refused += 1;
            return None;
        }
        server.quota -= RETRY_COST;
        server.retry_held = true;
        Some(Duration::from_secs_f64(self.rng.f64() * BACKOFF * 2_f64.powf(f64::from(attempt - 1))))
    }

    fn written(&mut self, server: usize, now: Moment, told: &Heartbeat) {
        let (server, ledger) = (&mut self.servers[server], &mut self.ledger);
        let players = told.players.and_then(|players| usize::try_from(players).ok());
        let returned = if std::mem::take(&mut server.retry_held) { RETRY_COST } else { 1 };
        server.quota = (server.quota + returned).min(QUOTA);
        server.start_untold &= told.state != AgentState::Starting;
        match &server.shown {
            Some((state, known)) if *state == told.state && *known == players => ledger.regular += 1,
            Some((state, _)) if *state == told.state => ledger.of_players += 1,
            _ => ledger.of_states += 1,
        }
        let seconds_since = |since: Moment| now.0.saturating_sub(since.0).as_secs_f64();
        if let Some(truth) = server.truth {
            if truth.state == told.state {
                ledger.states.delays.extend(server.state_untold.take().map(seconds_since));
            }
            if truth.players == players {
                ledger.players.delays.extend(server.players_untold.take().map(seconds_since));
            }
        }
        server.missed(ledger, now);
        server.next_by = Some(now.plus(told.speaks_for()));
        server.shown = Some((told.state, players));
    }

    /// The agent of this server runs from now on.
    pub(crate) fn begin(&mut self, server: usize, now: Moment) {
        self.up += 1;
        self.ledger.most_up = self.ledger.most_up.max(self.up);
        self.servers[server].up_since = Some(now);
        self.servers[server].start_untold = true;
    }

    /// This is so from now on.
    pub(crate) fn change(&mut self, server: usize, now: Moment, facts: Facts) {
        let (server, ledger) = (&mut self.servers[server], &mut self.ledger);
        let before = server.truth.replace(facts);
        if before.is_none_or(|before| before.state != facts.state) {
            server.lose_state(ledger, before);
            ledger.states.all += 1;
            server.state_untold = Some(now);
        }
        if before.is_some_and(|before| before.players != facts.players) {
            ledger.players.lost += u64::from(server.players_untold.replace(now).is_some());
            ledger.players.all += 1;
        }
    }

    /// The agent is no more.
    pub(crate) fn end(&mut self, server: usize, now: Moment) {
        self.up -= 1;
        let (server, ledger) = (&mut self.servers[server], &mut self.ledger);
        ledger.finals += 1;
        ledger.unseen_starts += u64::from(server.start_untold);
        let truth = server.truth;
        server.lose_state(ledger, truth);
        ledger.players.lost += u64::from(server.players_untold.take().is_some());
        ledger.up_seconds += server.up_since.map_or(0.0, |since| now.0.saturating_sub(since.0).as_secs_f64());
        server.missed(ledger, now);
        server.next_by = None;
    }
}

impl Server {
    fn lose_state(&mut self, ledger: &mut Ledger, truth: Option<Facts>) {
        if let (Some(_), Some(truth)) = (self.state_untold.take(), truth) {
            ledger.states.lost += 1;
            *ledger.lost.entry(truth.state).or_default() += 1;
        }
    }

    /// Whether its readers have called it dead until now.
    fn missed(&self, ledger: &mut Ledger, now: Moment) {
        let Some(next_by) = self.next_by else { return };
        let late = now.0.saturating_sub(next_by.0);
        if late > ROUNDING {
            ledger.dead += 1;
            ledger.dead_seconds += late.as_secs_f64();
            ledger.longest_dead = ledger.longest_dead.max(late.as_secs_f64());
        }
    }
}

/// What one server writes to: the SDK, and SSM behind it.
#[derive(Debug, Clone)]
pub(crate) struct Ssm {
    pub account: Arc<Mutex<Account>>,
    pub server: usize,
    pub clock: Clock,
}

impl Ssm {
    pub(crate) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Ssm {
    async fn put(&self, _: String, value: String) -> Result<(), PutError> {
        let error = |throttled, text: String| PutError { throttled, text };
        let told = Heartbeat::parse(&value).map_err(|wrong| error(false, wrong.to_string()))?;
        for attempt in 1.. {
            sleep(LATENCY).await;
            let wait = {
                let (mut account, now) = (self.account(), self.clock.now());
                if account.granted(now) {
                    account.written(self.server, now, &told);
                    break;
                }
                account.wait(self.server, attempt).ok_or_else(|| error(true, "ThrottlingException".to_owned()))?
            };
            sleep(wait).await;
        }
        Ok(())
    }
}
