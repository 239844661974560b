//! Many servers that write heartbeats in one account and region: how many of their changes of state are seen, and when.
//!
//! `cargo run --release -p mc-idle-tools --bin fleet -- [--json] [--seed N]` makes the whole report;
//! with `--servers N [--seconds S] [--rate R] [--burst B] [--starts evening|hour|second]` it is one line of it.
//!
//! Every server is the agent's own heartbeat writer and pace, on a clock that jumps from one event to the next. SSM is a
//! bucket of tokens behind the SDK's retries.

#[path = "fleet/account.rs"]
mod account;
#[path = "fleet/life.rs"]
mod life;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use mc_idle::clock::Clock;
use mc_idle::config::Settings;
use mc_idle::config::settings::HeartbeatSettings;
use serde_json::{Value, json};

use account::{Account, Changes, Ledger, Limit, Ssm};
use life::Starts;

const USAGE: &str = "usage: fleet [--json] [--seed N] [--servers N [--seconds N] [--rate N] [--burst N] [--starts evening|hour|second]]";
/// Writes a second without and with higher throughput, each with the bursts to try.
const LIMITS: [Limit; 4] = [
    Limit { rate: 3.0, burst: 3.0 },
    Limit { rate: 3.0, burst: 10.0 },
    Limit { rate: 10.0, burst: 10.0 },
    Limit { rate: 10.0, burst: 30.0 },
];
/// The sizes tried for the largest fleet that loses nothing, each in so many evenings.
const SIZES: [usize; 19] = [15, 30, 45, 60, 75, 90, 120, 150, 180, 210, 240, 300, 360, 420, 480, 600, 720, 900, 1200];
const EVENINGS: u64 = 3;
const SECONDS: [u64; 4] = [60, 300, 900, 3600];
/// Dollars for 10,000 requests with higher throughput; without they are free.
const PRICE: f64 = 0.05;
const MONTH: f64 = 30.0;

struct Arguments {
    json: bool,
    seed: u64,
    servers: Option<usize>,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    seed: u64,
    servers: usize,
    interval: Duration,
    limit: Limit,
    starts: Starts,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let interval = Settings::default().heartbeat.interval;
    let run = Run { seed: 1, servers: 0, interval, limit: LIMITS[0], starts: Starts::Evening };
    let mut arguments = Arguments { json: false, seed: 1, servers: None, run };
    while let Some(word) = words.next() {
        if word == "--json" {
            arguments.json = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value; {USAGE}"))?;
        let wrong = || format!("{word} {value}: not a value that fits");
        let number = || value.parse::<u32>().map_err(|_| wrong());
        let run = &mut arguments.run;
        match word.as_str() {
            "--seed" => arguments.seed = number()?.into(),
            "--servers" => arguments.servers = Some(value.parse().map_err(|_| wrong())?),
            "--seconds" => run.interval = Duration::from_secs(number()?.into()),
            "--rate" => run.limit.rate = number()?.into(),
            "--burst" => run.limit.burst = number()?.into(),
            "--starts" => {
                let starts = Starts::ALL.into_iter().find(|(name, _)| *name == value);
                run.starts = starts.ok_or_else(wrong)?.1;
            }
            _ => return Err(format!("{word} is unknown; {USAGE}")),
        }
    }
    Ok(arguments)
}

impl Run {
    fn ledger(self) -> Result<Ledger, Box<dyn Error>> {
        // The writer draws its jitter from the thread's generator.
        fastrand::seed(self.seed);
        let account = Arc::new(Mutex::new(Account::new(self.limit, self.servers, self.seed)));
        let settings = HeartbeatSettings { interval: self.interval, ..Settings::default().heartbeat };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let clock = Clock::start();
            let mut rng = Rng::with_seed(self.seed);
            let servers: Vec<_> = (0..self.servers)
                .map(|server| {
                    let ssm = Ssm { account: Arc::clone(&account), server, clock };
                    tokio::spawn(life::evening(ssm, settings.clone(), self.starts, rng.fork()))
                })
                .collect();
            for server in servers {
                server.await?;
            }
            Ok::<_, tokio::task::JoinError>(())
        })?;
        drop(runtime);
        let account = Arc::try_unwrap(account).map_err(|_| "a server still runs")?;
        Ok(account.into_inner().unwrap_or_else(PoisonError::into_inner).ledger)
    }

    fn report(self) -> Result<Value, Box<dyn Error>> {
        let mut ledger = self.ledger()?;
        let requests = ledger.requests;
        #[expect(clippy::cast_precision_loss, reason = "counts are far smaller")]
        let monthly = requests as f64 / self.servers as f64 * MONTH;
        Ok(json!({
            "servers": self.servers, "seconds": self.interval.as_secs(), "rate": self.limit.rate, "burst": self.limit.burst,
            "starts": self.starts.word(), "most_up": ledger.most_up, "hours_up": ledger.up_seconds / 3600.0,
            "requests": requests, "writes": ledger.writes(), "of_states": ledger.of_states, "of_players": ledger.of_players,
            "regular": ledger.regular, "refused": ledger.refused,
            "unseen_starts": ledger.unseen_starts, "finals": ledger.finals, "lost": ledger.lost,
            "states": changes(&mut ledger.states), "players": changes(&mut ledger.players),
            "dead": ledger.dead, "dead_hours": ledger.dead_seconds / 3600.0, "longest_dead_s": ledger.longest_dead,
            "requests_per_server_month": monthly, "dollars_per_server_month": dollars(monthly),
        }))
    }
}

fn changes(changes: &mut Changes) -> Value {
    changes.delays.sort_by(f64::total_cmp);
    let at = |per_mille: usize| {
        let last = changes.delays.len().saturating_sub(1);
        changes.delays.get((last * per_mille).div_ceil(1000)).copied()
    };
    json!({"all": changes.all, "lost": changes.lost, "median_s": at(500), "p99_s": at(990), "longest_s": at(1000)})
}

fn dollars(requests: f64) -> f64 {
    requests / 10_000.0 * PRICE
}

/// The largest fleet that loses no change of state, and the largest of which no living agent is called dead, on any evening,
/// with everything smaller.
fn largest(run: Run, seed: u64) -> Result<[usize; 2], Box<dyn Error>> {
    let (mut largest, mut fine) = ([0; 2], [true; 2]);
    for servers in SIZES {
        for evening in 0..EVENINGS {
            let ledger = Run { servers, seed: seed + evening, ..run }.ledger()?;
            fine = [fine[0] && ledger.states.lost == 0, fine[1] && ledger.dead == 0];
        }
        for (largest, _) in largest.iter_mut().zip(fine).filter(|(_, fine)| *fine) {
            *largest = servers;
        }
        if fine == [false; 2] {
            break;
        }
    }
    Ok(largest)
}

fn carried(run: Run, seed: u64) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (word, starts) in Starts::ALL {
        for limit in LIMITS {
            let run = Run { limit, starts, ..run };
            let [lossless, alive] = largest(run, seed)?;
            rows.push(json!({
                "starts": word, "rate": limit.rate, "burst": limit.burst,
                "no_state_lost": lossless, "none_called_dead": alive,
            }));
        }
    }
    Ok(rows)
}

fn whole(run: Run, seed: u64) -> Result<Value, Box<dyn Error>> {
    let run = Run { seed, ..run };
    let small = |limit| Run { limit, ..run };
    let (plain, higher) = (small(LIMITS[0]), small(LIMITS[2]));
    let mut rows = Vec::new();
    for (_, starts) in Starts::ALL {
        for servers in [90, 180, 360, 1000] {
            rows.push(Run { servers, starts, ..plain }.report()?);
        }
    }
    let mut settings = Vec::new();
    for servers in [1000, 10_000] {
        for limited in [plain, higher] {
            for seconds in SECONDS {
                for starts in [Starts::Evening, Starts::Hour] {
                    let interval = Duration::from_secs(seconds);
                    settings.push(Run { servers, interval, starts, ..limited }.report()?);
                }
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let costs: Vec<Value> = SECONDS
        .into_iter()
        .map(|seconds| {
            let writes = MONTH * 86_400.0 / seconds as f64;
            json!({"seconds": seconds, "writes": writes, "dollars": dollars(writes),
                "paper_3": 3 * seconds, "paper_10": 10 * seconds})
        })
        .collect();
    Ok(json!({
        "seed": seed, "default_seconds": run.interval.as_secs(), "sizes": SIZES, "evenings": EVENINGS,
        "carried": carried(run, seed)?, "default": rows, "settings": settings, "always_on": costs,
    }))
}

const HEAD: [&str; 16] = [
    "servers",
    "seconds",
    "rate",
    "burst",
    "starts",
    "up",
    "writes",
    "of states",
    "of players",
    "refused",
    "states",
    "lost",
    "median s",
    "p99 s",
    "longest s",
    "dead",
];

fn cells<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let padded: Vec<String> = cells.into_iter().map(|cell| format!("{:>10}", cell.as_ref())).collect();
    padded.concat()
}

fn line(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().map_or_else(|| row[name].to_string(), str::to_owned);
    let states = &row["states"];
    let seconds = |name: &str| states[name].as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let counts =
        ["servers", "seconds", "rate", "burst", "starts", "most_up", "writes", "of_states", "of_players", "refused"];
    let changes = ["all", "lost"].map(|name| states[name].to_string());
    let delays = ["median_s", "p99_s", "longest_s"].map(seconds);
    cells(counts.map(text).into_iter().chain(changes).chain(delays).chain([text("dead")]))
}

fn table(report: &Value) {
    let rows = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    println!("The largest fleet, every {} s, of {} evenings:", report["default_seconds"], report["evenings"]);
    println!("{:>8} {:>6} {:>6} {:>14} {:>17}", "starts", "rate", "burst", "no state lost", "none called dead");
    for row in rows("carried") {
        let starts = row["starts"].as_str().unwrap_or_default();
        let [rate, burst, lossless, alive] =
            ["rate", "burst", "no_state_lost", "none_called_dead"].map(|name| row[name].to_string());
        println!("{starts:>8} {rate:>6} {burst:>6} {lossless:>14} {alive:>17}");
    }
    println!("\n{}", cells(HEAD));
    for row in rows("default").iter().chain(&rows("settings")) {
        println!("{}", line(row));
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let Arguments { json, seed, servers, run } = arguments(std::env::args().skip(1))?;
    let report = match servers {
        Some(servers) => Run { seed, servers, ..run }.report()?,
        None => whole(run, seed)?,
    };
    match servers {
        _ if json => println!("{report}"),
        Some(_) => println!("{}\n{}\n{report:#}", cells(HEAD), line(&report)),
        None => table(&report),
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}
