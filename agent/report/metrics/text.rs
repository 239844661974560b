//! The metrics in the text exposition format of Prometheus, version 0.0.4. Pure.
//!
//! What is unknown is left out, never written as zero.

use std::fmt::{Display, Write};

use mc_idle_rule::Efs;
use mc_idle_rule::clocks::Running;
use mc_idle_rule::view::State;
use mc_service::printable::printable;

use crate::holds::Source;
use crate::report::metrics::measurements::Measurements;

const SOURCES: [(Source, &str); 4] = [
    (Source::Operator, "operator"),
    (Source::Inhibitor, "inhibitor"),
    (Source::Ssh, "ssh"),
    (Source::Parameter, "parameter"),
];

/// The text of the file.
#[must_use]
pub fn text(measurements: &Measurements) -> String {
    let values = &measurements.values;
    let mut exposition = Exposition::default();
    exposition.gauge(
        "mc_idle_build_info",
        "The version of mc-idle; always 1.",
        [label("version", env!("CARGO_PKG_VERSION"), 1)],
    );
    exposition.gauge(
        "mc_idle_state",
        "1 for the current state, 0 for all others.",
        State::WORDS.map(|word| label("state", word, u8::from(word == values.state))),
    );
    exposition.gauge("mc_idle_players", "Players; absent when unknown.", values.players.map(plain));
    exposition.gauge(
        "mc_idle_young_connections",
        "Connections too young to count as players; absent when unknown.",
        values.young.map(plain),
    );
    exposition.gauge(
        "mc_idle_online",
        "Players online as reported by the server; absent when it does not answer.",
        values.online.map(plain),
    );
    exposition.gauge(
        "mc_idle_last_player_timestamp_seconds",
        "When a player was last seen, in seconds since 1970; absent when there was none since boot.",
        measurements.last_player_at.map(|at| plain(at.as_second())),
    );
    exposition.gauge(
        "mc_idle_clock_seconds",
        "Time on the running clock; absent when no clock is running.",
        measurements.running.map(|(Running { clock, elapsed }, _)| label("clock", clock.word(), elapsed.as_secs())),
    );
    exposition.gauge(
        "mc_idle_window_seconds",
        "The window of the running clock: the stop is due when the clock reaches it.",
        measurements.running.map(|(Running { clock, .. }, window)| label("clock", clock.word(), window.as_secs())),
    );
    let attempts = values.attempts;
    exposition.counter(
        "mc_idle_stop_attempts_total",
        "Attempts to stop the instance since mc-idle started, by result.",
        [
            label("result", "accepted", attempts.accepted),
            label("result", "refused", attempts.refused),
            label("result", "failed", attempts.failed),
            label("result", "called-off", attempts.called_off),
        ],
    );
    exposition.gauge(
        "mc_idle_holds",
        "Holds in force, by source.",
        values.holds.iter().flat_map(|holds| {
            SOURCES.map(|(source, word)| label("source", word, holds.iter().filter(|hold| **hold == source).count()))
        }),
    );
    exposition.gauge(
        "mc_idle_efs",
        "1 for the current state of EFS, 0 for all others.",
        values.efs.iter().flat_map(|efs| Efs::WORDS.map(|word| label("state", word, u8::from(word == *efs)))),
    );
    exposition.gauge(
        "mc_idle_heartbeat_timestamp_seconds",
        "When the heartbeat was last written, in seconds since 1970; absent before the first one.",
        measurements.heartbeat_written.map(|at| plain(at.as_second())),
    );
    exposition.gauge("mc_idle_dry_run", "1 if no requests go to AWS.", [plain(u8::from(values.dry_run))]);
    exposition.gauge(
        "mc_idle_written_timestamp_seconds",
        "When this file was written, in seconds since 1970; if that is long ago, mc-idle is dead or stuck.",
        [plain(measurements.at.as_second())],
    );
    exposition.0
}

/// A sample without a label.
fn plain(value: impl Display) -> String {
    format!(" {value}")
}

/// A sample with one label. Escapes its value as the format requires.
fn label(name: &str, value: &str, sample: impl Display) -> String {
    let value = printable(value).replace('\\', "\\\\").replace('"', "\\\"");
    format!("{{{name}=\"{value}\"}} {sample}")
}

#[derive(Default)]
struct Exposition(String);

impl Exposition {
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
