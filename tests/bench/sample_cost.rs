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
use mc_idle::host::networks::{Depth, SecondLook};
use mc_idle::host::sockets::seq_file::{SeqFile, TableEnd};
use mc_idle::host::{Host, OwnEnds, ThisHost};
use mc_idle_rule::{Efs, Facts, Moment, Rule};
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
            rule: Rule::new(settings.rule_settings()),
            now: Moment(Duration::from_hours(1)),
            bytes: 0,
        }
    }

    fn floor(&mut self, end: TableEnd) -> io::Result<()> {
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

    /// A sample's look, one interval after the last one.
    fn look(&mut self) -> Facts {
        self.now = self.now.plus(Duration::from_secs(5));
        self.host.look(self.now, Depth::Sample, &self.scope, &OwnEnds::new()).facts
    }

    fn sample(&mut self) -> io::Result<usize> {
        connections(&self.look())
    }

    /// A sample and what the rule makes of it.
    fn rule(&mut self) -> io::Result<usize> {
        let facts = self.look();
        self.observe(&facts)
    }

    /// What the rule makes of a sample.
    fn observe(&mut self, facts: &Facts) -> io::Result<usize> {
        self.now = self.now.plus(Duration::from_secs(5));
        self.rule.observe(self.now, facts, Efs::Off);
        connections(facts)
    }

    /// What the last look takes.
    fn last_look(&mut self) -> io::Result<usize> {
        let own = self.host.look(self.now, Depth::LastLook, &self.scope, &OwnEnds::new());
        connections(&own.facts)?;
        match self.host.second_look(self.now, &self.scope, &OwnEnds::new()) {
            SecondLook::Witness(facts) => connections(&facts),
            SecondLook::Reread { why, .. } => Err(io::Error::other(why)),
        }
    }
}

/// A look that failed costs less than one that did not, and must not pass for it.
fn connections(facts: &Facts) -> io::Result<usize> {
    let mut number = 0;
    for network in &facts.networks {
        let sockets = network.sockets.as_ref().map_err(|why| io::Error::other(why.clone()))?;
        number += sockets.connections.len();
    }
    Ok(number)
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
        let floor = timed(|| bench.floor(TableEnd::Told))?;
        let short_floor = timed(|| bench.floor(TableEnd::Seen))?;
        let sample = timed(|| bench.sample().map(|seen| sockets = seen))?;
        // The first of each finds cold caches.
        if round > 0 {
            floors.push(floor);
            short_floors.push(short_floor);
            samples.push(sample);
        }
    }
    // Not the median of the rounds: a look in which all processes are gone through, as one in six is, has to count.
    let beside = |floors: &[f64]| samples.iter().sum::<f64>() / floors.iter().sum::<f64>();
    let (ratio, short_ratio) = (beside(&floors), beside(&short_floors));
    let memory = status("VmHWM")?;
    for _ in 0..rounds.min(20) {
        witnesses.push(timed(|| bench.last_look().map(drop))?);
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
        ["repeat", "floor"] => repeat(Box::new(|| bench.floor(TableEnd::Told))),
        ["repeat", "short-floor"] => repeat(Box::new(|| bench.floor(TableEnd::Seen))),
        ["repeat", "sample"] => repeat(Box::new(|| bench.sample().map(drop))),
        ["repeat", "witness"] => repeat(Box::new(|| bench.last_look().map(drop))),
        ["repeat", "rule"] => repeat(Box::new(|| bench.rule().map(drop))),
        ["repeat", "observe"] => {
            let facts = bench.look();
            repeat(Box::new(|| bench.observe(&facts).map(drop)))
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
