//! Metrics for Prometheus: a text file (exposition format, version 0.0.4), written by a thread of its own, so that a disk
//! that hangs delays nothing.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use mc_service::whole_file;
use mc_service::worker::Worker;
use tracing::Level;

use crate::counters::Counters;
use crate::journal::{Journal, Kind};

/// Where the metrics are written, if anywhere.
#[derive(Debug)]
pub struct Textfile(Worker<String>);

impl Textfile {
    /// Starts the thread. A failure that lasts is logged once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(path: Option<PathBuf>, journal: Journal) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Textfile(Worker::none())) };
        let mut fails = false;
        let worker = Worker::start("metrics", move |text: String| {
            let name = path.display();
            match whole_file::replace(&path, &text, 0o644) {
                Ok(()) if std::mem::take(&mut fails) => {
                    journal.tell(Level::INFO, Kind::Metrics, None, format!("Metrics are written to {name} again."));
                }
                Err(error) if !std::mem::replace(&mut fails, true) => {
                    let text = format!(
                        "Cannot write metrics to {name}: {error}. The service must be allowed to write to that folder: \
                         systemctl edit mc-broker, [Service], ReadWritePaths=."
                    );
                    journal.tell(Level::WARN, Kind::Metrics, None, text);
                }
                Ok(()) | Err(_) => {}
            }
        })?;
        Ok(Textfile(worker))
    }

    /// Writes these numbers. If the last ones are still being written, they are left out: the next ones come soon.
    pub fn write(&self, counters: &Counters, gauges: Gauges) {
        if self.0.works() {
            let _ = self.0.hand_in(text(counters, gauges));
        }
    }
}

/// What is so now.
#[derive(Debug, Clone, Copy)]
pub struct Gauges {
    /// Open connections.
    pub connections: usize,
    /// Players who are held.
    pub held: usize,
    /// The word for the server's state.
    pub state: &'static str,
}

fn text(counters: &Counters, gauges: Gauges) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let plain = |value: u64| [(String::new(), value)];
    let count = |counter: &AtomicU64| [(String::new(), counter.load(Ordering::Relaxed))];
    let version = [(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1)];
    metric("mc_broker_build_info", "gauge", "The version of mc-broker; always 1.", &version);
    let states = ["asleep", "starting", "up", "stopping", "trouble", "unknown"];
    let states = states.map(|state| (format!("{{state=\"{state}\"}}"), u64::from(state == gauges.state)));
    metric("mc_broker_server_state", "gauge", "1 for the server's state, 0 for all others.", &states);
    metric("mc_broker_connections", "gauge", "Open connections.", &plain(whole(gauges.connections)));
    metric(
        "mc_broker_held_players",
        "gauge",
        "Players who are held until the server is up.",
        &plain(whole(gauges.held)),
    );
    metric("mc_broker_pings_total", "counter", "Status pings answered.", &count(&counters.pings));
    metric("mc_broker_logins_total", "counter", "Logins that got as far as a name.", &count(&counters.logins));
    metric("mc_broker_starts_total", "counter", "Starts that the launcher has accepted.", &count(&counters.starts));
    metric("mc_broker_handed_over_total", "counter", "Players handed over.", &count(&counters.handed_over));
    metric("mc_broker_relayed_total", "counter", "Players whose data was relayed.", &count(&counters.relayed));
    let turned_away = counters.all_turned_away();
    let turned_away: Vec<_> = turned_away.iter().map(|(why, count)| (format!("{{why=\"{why}\"}}"), *count)).collect();
    metric("mc_broker_turned_away_total", "counter", "Players who were told why they cannot come in.", &turned_away);
    metric(
        "mc_broker_refused_connections_total",
        "counter",
        "Connections beyond the limits.",
        &count(&counters.refused),
    );
    metric(
        "mc_broker_malformed_connections_total",
        "counter",
        "Connections that were no login and no ping.",
        &count(&counters.malformed),
    );
    metric(
        "mc_broker_silent_connections_total",
        "counter",
        "Connections on which nothing came in for too long.",
        &count(&counters.silent),
    );
    text
}
