//! What one sample costs, beside two floors under it: reading the same tables into a fixed buffer until the kernel tells
//! that they are over, and the same without asking it for the end, as a sample does.
//!
//! `sample-cost compare --port 25565 --rounds 200` measures all in turn, A B C A B C, and prints one line of JSON.
//! `sample-cost repeat sample --port 25565 --rounds 10` does one of them so often and nothing else, for strace and valgrind.
//! `sample-cost turns --port 25565` does one sample, with its rule, for every line on stdin, and prints what each took: for
//! comparisons with other programs, in turn with them.
//!
//! `--root FOLDER` takes a folder that looks like a host instead of this one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mc_idle::config::Settings;
use mc_idle::config::settings::Scope;
use mc_idle::host::seq_file::{End, SeqFile};
use mc_idle::host::{Host, ThisHost};
use mc_idle::idle::{Efs, Moment, Reading, Rule};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

const USAGE: &str = "usage: sample-cost compare|turns|repeat [floor|short-floor|sample|witness|rule|observe] \
    [--root FOLDER] [--port N] [--rounds N]";
/// More than the kernel hands out at a time.
const BUFFER: usize = 64 * 1024;

struct Arguments {
    words: Vec<String>,
    root: PathBuf,
    port: u16,
    rounds: usize,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { words: Vec::new(), root: "/".into(), port: 25565, rounds: 200 };
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            arguments.words.push(word);
            continue;
        };
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let wrong = |_| format!("{word} {value}: not a number that fits");
        match name {
            "root" => arguments.root = value.into(),
            "port" => arguments.port = value.parse().map_err(wrong)?,
            "rounds" => arguments.rounds = value.parse().map_err(wrong)?,
            _ => return Err(format!("{word} is unknown; {USAGE}")),
        }
    }
    Ok(arguments)
}

/// The things that can be measured.
struct Bench {
    net: PathBuf,
    buffer: Vec<u8>,
    host: ThisHost,
    scope: Scope,
    rule: Rule,
    now: Moment,
    bytes: usize,
}

impl Bench {
    fn new(root: &Path, port: u16) -> Self {
        let settings = Settings::default();
        Bench {
            net: root.join("proc/self/net"),
            buffer: vec![0; BUFFER],
            host: ThisHost::below(root),
            scope: Scope { ports: [port].into(), ..settings.scope.clone() },
            rule: Rule::new(settings.terms()),
            now: Moment(Duration::from_hours(1)),
            bytes: 0,
        }
    }

    fn floor(&mut self, end: End) -> io::Result<()> {
        self.bytes = 0;
        for name in ["tcp", "tcp6"] {
            let mut table = SeqFile::new(File::open(self.net.join(name))?, end);
            loop {
                match table.read(&mut self.buffer)? {
                    0 => break,
                    length => self.bytes += length,
                }
            }
        }
        Ok(())
    }

    fn sample(&mut self) -> io::Result<usize> {
        players(&self.host.sample(&self.scope).reading)
    }

    /// A sample and what the rule makes of it.
    fn rule(&mut self) -> io::Result<usize> {
        let reading = self.host.sample(&self.scope).reading;
        self.observe(&reading)
    }

    /// What the rule makes of a sample.
    fn observe(&mut self, reading: &Reading) -> io::Result<usize> {
        self.now = self.now.plus(Duration::from_secs(5));
        self.rule.observe(self.now, reading, Efs::Off);
        players(reading)
    }

    /// What the last look takes besides.
    fn witness(&mut self) -> io::Result<usize> {
        self.sample()?;
        players(&self.host.witness(&self.scope))
    }
}

/// A look that failed costs less than one that did not, and must not pass for it.
fn players(reading: &Reading) -> io::Result<usize> {
    match reading {
        Reading::Seen(seen) => Ok(seen.sockets.len()),
        Reading::Unknown(why) => Err(io::Error::other(why.clone())),
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let before = cpu();
    work()?;
    Ok(cpu().saturating_sub(before).as_secs_f64() * 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn status(name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/status")))
}

fn compare(bench: &mut Bench, rounds: usize) -> io::Result<()> {
    let (mut floors, mut short_floors) = (Vec::new(), Vec::new());
    let (mut samples, mut witnesses) = (Vec::new(), Vec::new());
    let mut sockets = 0;
    for round in 0..=rounds {
        let floor = timed(|| bench.floor(End::Told))?;
        let short_floor = timed(|| bench.floor(End::Seen))?;
        let sample = timed(|| bench.sample().map(|seen| sockets = seen))?;
        // The first of each finds cold caches.
        if round > 0 {
            floors.push(floor);
            short_floors.push(short_floor);
            samples.push(sample);
        }
    }
    // Not the median of the rounds: a look in which all processes are gone through, as one in sixty is, has to count.
    let beside = |floors: &[f64]| samples.iter().sum::<f64>() / floors.iter().sum::<f64>();
    let (ratio, short_ratio) = (beside(&floors), beside(&short_floors));
    let memory = status("VmHWM")?;
    for _ in 0..rounds.min(20) {
        witnesses.push(timed(|| bench.witness().map(drop))?);
    }
    let report = json!({
        "floor_us": median(floors), "short_floor_us": median(short_floors), "sample_us": median(samples),
        "ratio": ratio, "short_ratio": short_ratio,
        "last_look_us": median(witnesses),
        "connections": sockets, "table_bytes": bench.bytes, "peak_kib": memory, "rounds": rounds,
    });
    println!("{report}");
    Ok(())
}

fn turns(bench: &mut Bench) -> io::Result<()> {
    for line in std::iter::once(Ok(String::new())).chain(io::stdin().lines()) {
        line?;
        let mut connections = 0;
        let taken = timed(|| bench.rule().map(|seen| connections = seen))?;
        println!("{}", json!({"cpu": taken / 1e6, "connections": connections}));
    }
    Ok(())
}

fn run() -> Result<(), String> {
    let Arguments { words, root, port, rounds } = arguments(std::env::args().skip(1))?;
    let mut bench = Bench::new(&root, port);
    let repeat = |mut work: Box<dyn FnMut() -> io::Result<()> + '_>| (0..rounds).try_for_each(|_| work());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["compare"] => compare(&mut bench, rounds),
        ["turns"] => turns(&mut bench),
        ["repeat", "floor"] => repeat(Box::new(|| bench.floor(End::Told))),
        ["repeat", "short-floor"] => repeat(Box::new(|| bench.floor(End::Seen))),
        ["repeat", "sample"] => repeat(Box::new(|| bench.sample().map(drop))),
        ["repeat", "witness"] => repeat(Box::new(|| bench.witness().map(drop))),
        ["repeat", "rule"] => repeat(Box::new(|| bench.rule().map(drop))),
        ["repeat", "observe"] => {
            let reading = bench.host.sample(&bench.scope).reading;
            repeat(Box::new(|| bench.observe(&reading).map(drop)))
        }
        _ => return Err(USAGE.to_owned()),
    }
    .map_err(|error| error.to_string())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample-cost: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
