//! Many days of a server, watched by mc-idle, by two other rules and by one that knows everything.
//!
//! `cargo run --release --example simulate -- --days 100000 --seed 1 --window-minutes 15`
//!
//! Ends with 1 if mc-idle breaks a promise on any day, and then shows the smallest script that does it.

#![expect(clippy::disallowed_methods, reason = "says how long it took")]

#[path = "mod.rs"]
mod simulator;

mod report;

use std::process::ExitCode;
use std::time::Instant;

use simulator::day::Weather;
use simulator::flaws::Flaw;
use simulator::script::{MINUTE, Settings};
use simulator::sweep::smallest;

const USAGE: &str = "usage: simulate [--days N] [--seed N] [--window-minutes N] [--flaw NAME]";

struct Arguments {
    days: u64,
    seed: u64,
    window_minutes: u64,
    /// Watch with a core that is broken on purpose.
    flaw: Option<Flaw>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { days: 10_000, seed: 1, window_minutes: 15, flaw: None };
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--days" => arguments.days = number()?,
            "--seed" => arguments.seed = number()?,
            "--window-minutes" => arguments.window_minutes = number()?,
            "--flaw" => {
                let flaw = Flaw::ALL.into_iter().find(|flaw| format!("{flaw:?}") == value);
                arguments.flaw = Some(flaw.ok_or_else(|| format!("--flaw takes one of {:?}", Flaw::ALL))?);
            }
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let Arguments { days, seed, window_minutes, flaw } = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let weather = Weather::With(Settings { idle_window: window_minutes * MINUTE, ..Settings::default() });
    let comparison = report::compare(days, seed, weather, flaw);
    if let Some(day) = comparison.broken {
        match smallest(seed, day, weather, flaw) {
            Some((script, breach)) => eprintln!("seed {seed}, day {day}: {breach}\n{script}"),
            None => eprintln!("seed {seed}, day {day}: broken, and then not"),
        }
        return ExitCode::FAILURE;
    }
    let samples = comparison.samples;
    println!("{}", report::table(comparison));
    println!(
        "{days} server-days, seed {seed}, window {window_minutes} min, {samples} samples by mc-idle, no promise broken, {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
