//! The journal: lines with fields that a script can query.
//!
//! journald may hang, so lines go through a bounded queue to a separate thread. A line that finds the queue full is
//! dropped and counted; the count is reported with the next line that gets through.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;
use std::{io, thread};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::terminal;

/// How many lines may wait for a journal that hangs.
const LONGEST: usize = 256;
/// The target of every line; lines of other crates, which have other targets, are left out.
pub const TARGET: &str = "mc";

/// Where lines are handed in. Never blocks.
#[derive(Debug)]
pub struct Queue<L> {
    lines: SyncSender<L>,
    dropped: Arc<AtomicU64>,
}

impl<L> Clone for Queue<L> {
    fn clone(&self) -> Self {
        Queue { lines: self.lines.clone(), dropped: Arc::clone(&self.dropped) }
    }
}

impl<L> Queue<L> {
    /// A queue, and the end at which its lines come out.
    #[must_use]
    pub fn channel() -> (Self, Receiver<L>) {
        let (sender, lines) = mpsc::sync_channel(LONGEST);
        (Queue { lines: sender, dropped: Arc::default() }, lines)
    }

    /// Hands in a line.
    pub fn hand_in(&self, line: L) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread that writes the lines.
#[derive(Debug)]
pub struct JournalThread {
    finished: Receiver<()>,
}

impl JournalThread {
    /// Starts writing to systemd's journal if stderr is connected to it, otherwise to stderr. `write` turns each line
    /// into an event of `tracing` with the target [`TARGET`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start<L: Send + 'static>(write: fn(&L)) -> io::Result<(Queue<L>, Self)> {
        let (queue, lines) = Queue::channel();
        let dropped = Arc::clone(&queue.dropped);
        let (finish, finished) = mpsc::sync_channel(1);
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            tracing::subscriber::with_default(subscriber(), || {
                for line in lines {
                    write(&line);
                    match dropped.swap(0, Ordering::Relaxed) {
                        0 => {}
                        lost => tracing::warn!(target: TARGET, "{lost} lines were lost: the journal stood still"),
                    }
                }
            });
            // The receiver may be gone.
            let _ = finish.send(());
        })?;
        Ok((queue, JournalThread { finished }))
    }

    /// Waits until every line handed in is written and every [`Queue`] is dropped, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        // Either outcome ends the wait.
        let _ = self.finished.recv_timeout(patience);
    }
}

fn subscriber() -> Box<dyn Subscriber + Send + Sync> {
    let ours = || Targets::new().with_target(TARGET, LevelFilter::INFO);
    let registry = tracing_subscriber::registry();
    if stderr_is_journal()
        && let Ok(layer) = tracing_journald::layer()
    {
        // systemd's notice is for normal but significant events; what an operator reads every day is informational.
        let priorities = tracing_journald::PriorityMappings {
            info: tracing_journald::Priority::Informational,
            ..tracing_journald::PriorityMappings::new()
        };
        let layer = layer.with_field_prefix(None).with_priority_mappings(priorities);
        return Box::new(registry.with(layer.with_filter(ours())));
    }
    let layer = tracing_subscriber::fmt::layer()
        .event_format(terminal::Plain)
        .with_ansi(false)
        .with_writer(io::stderr)
        .with_filter(ours());
    Box::new(registry.with(layer))
}

/// Whether stderr is the stream that systemd has connected to the journal: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)).
#[must_use]
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(io::stderr().as_fd()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}
