//! Many days of a server, watched by mc-idle, by two other rules and by one that knows everything.
//!
//! `cargo run --release -p mc-idle-tools --bin simulate -- --days 100000 --seed 1 --window-minutes 15 --machines plain`
//!
//! `--machines any` (the default) are all kinds of machines; `plain` are those with one server on the host, which answers
//! truly.
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
use simulator::script::MINUTE;
use simulator::settings::Settings;
use simulator::sweep::smallest;

const USAGE: &str = "usage: simulate [--days N] [--seed N] [--window-minutes N] [--machines any|plain] [--flaw NAME]";

struct Arguments {
    days: u64,
    seed: u64,
    window_minutes: u64,
    /// Only machines with one server on the host, which answers truly.
    plain: bool,
    /// Watch with a core that is broken on purpose.
    flaw: Option<Flaw>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { days: 10_000, seed: 1, window_minutes: 15, plain: false, flaw: None };
    while let Some(name) = words.next() {
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--days" => arguments.days = number()?,
            "--seed" => arguments.seed = number()?,
            "--window-minutes" => arguments.window_minutes = number()?,
            "--machines" if value == "any" || value == "plain" => arguments.plain = value == "plain",
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
    let Arguments { days, seed, window_minutes, plain, flaw } = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let settings = Settings { idle_window: window_minutes * MINUTE, ..Settings::default() };
    let weather = if plain { Weather::Plain(settings) } else { Weather::With(settings) };
    let mut comparison = report::compare(days, seed, weather, flaw);
    if let Some(day) = comparison.broken {
        match smallest(seed, day, weather, flaw) {
            Some((script, breach)) => eprintln!("seed {seed}, day {day}: {breach}\n{script}"),
            None => eprintln!("seed {seed}, day {day}: broken, and then not"),
        }
        return ExitCode::FAILURE;
    }
    let samples = comparison.samples;
    println!("{}", report::table(&mut comparison));
    println!(
        "{days} server-days, seed {seed}, window {window_minutes} min, {samples} samples by mc-idle, no promise broken, {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
