//! The metrics as Prometheus reads them (its text exposition format, version 0.0.4). Pure.
//!
//! What is unknown is left out: it is never zero.

use std::fmt::{Display, Write};

use crate::hold::Source;
use crate::idle::Efs;
use crate::idle::view::State;
use crate::idle::window::{Clock, Running};

use super::facts::Facts;

const SOURCES: [(Source, &str); 4] = [
    (Source::Operator, "operator"),
    (Source::Inhibitor, "inhibitor"),
    (Source::Ssh, "ssh"),
    (Source::Parameter, "parameter"),
];

/// The file.
#[must_use]
pub fn text(facts: &Facts) -> String {
    let what = &facts.what;
    let mut page = Page::default();
    page.gauge(
        "mc_idle_build_info",
        "The version of mc-idle; always 1.",
        [label("version", env!("CARGO_PKG_VERSION"), 1)],
    );
    page.gauge(
        "mc_idle_state",
        "1 for the state that is so, 0 for every other.",
        State::WORDS.map(|word| label("state", word, u8::from(word == what.state))),
    );
    page.gauge("mc_idle_players", "Players; absent when unknown.", what.players.map(plain));
    page.gauge(
        "mc_idle_young_connections",
        "Connections that are too young to be players; absent when unknown.",
        what.young.map(plain),
    );
    page.gauge(
        "mc_idle_clock_seconds",
        "How far the clock that runs towards a stop has come; absent when none runs.",
        facts.running.map(|(Running { clock, elapsed }, _)| label("clock", clock_word(clock), elapsed.as_secs())),
    );
    page.gauge(
        "mc_idle_window_seconds",
        "The window of the clock that runs: when the clock has reached it, the stop is due.",
        facts.running.map(|(Running { clock, .. }, window)| label("clock", clock_word(clock), window.as_secs())),
    );
    let attempts = what.attempts;
    page.counter(
        "mc_idle_stop_attempts_total",
        "Attempts to stop the instance since mc-idle was started, by what came of them.",
        [
            label("result", "accepted", attempts.accepted),
            label("result", "refused", attempts.refused),
            label("result", "failed", attempts.failed),
            label("result", "called-off", attempts.called_off),
        ],
    );
    page.gauge(
        "mc_idle_holds",
        "What keeps the instance up whoever plays, by where it comes from.",
        what.holds.iter().flat_map(|holds| {
            SOURCES.map(|(source, word)| label("source", word, holds.iter().filter(|hold| **hold == source).count()))
        }),
    );
    page.gauge(
        "mc_idle_efs",
        "1 for what is so of the EFS mount, 0 for all else.",
        what.efs.iter().flat_map(|efs| Efs::WORDS.map(|word| label("state", word, u8::from(word == *efs)))),
    );
    page.gauge(
        "mc_idle_heartbeat_timestamp_seconds",
        "When the heartbeat was last written, in seconds since 1970; absent before the first one.",
        facts.heartbeat_written.map(|at| plain(at.as_second())),
    );
    page.gauge("mc_idle_dry_run", "1 if nothing is asked of AWS.", [plain(u8::from(what.dry_run))]);
    page.gauge(
        "mc_idle_written_timestamp_seconds",
        "When this was written, in seconds since 1970; when it is old, mc-idle is dead or stuck.",
        [plain(facts.at.as_second())],
    );
    page.0
}

fn clock_word(clock: Clock) -> &'static str {
    match clock {
        Clock::Idle => "idle",
        Clock::NoServer => "no-server",
    }
}

/// A sample without a label.
fn plain(value: impl Display) -> String {
    format!(" {value}")
}

/// A sample with one label. No value of one has a quote, a backslash or a line end in it.
fn label(name: &str, value: &str, sample: impl Display) -> String {
    format!("{{{name}=\"{value}\"}} {sample}")
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = String>) {
        self.family(name, "gauge", help, samples);
    }

    fn counter(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = String>) {
        self.family(name, "counter", help, samples);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = String>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            // Writing to a String does not fail.
            let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for sample in samples {
                let _ = writeln!(self.0, "{name}{sample}");
            }
        }
    }
}
