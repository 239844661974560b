//! When and where the metrics are written.
//!
//! A separate thread writes them, so that a disk that hangs or fails delays nothing. The file is complete or absent.
//! When the configuration names another file, or none, the old one is removed.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use mc_idle_rule::Moment;
use mc_service::whole_file;
use mc_service::worker::Worker;
use tokio::sync::oneshot;
use tokio::time;
use tracing::Level;

use crate::journal::{Journal, Kind};
use crate::report::metrics::measurements::{Measurements, Values};
use crate::report::metrics::text::text;

/// The time between two writes while only the clocks change: Prometheus scrapes every 15 s or less often, and the file
/// may be on a disk that bills each write.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time between two attempts to queue the last page.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Job {
    /// `None`: no file is wanted.
    path: Option<PathBuf>,
    text: String,
    /// Signalled when the job is done.
    done: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Shown {
    path: PathBuf,
    values: Values,
    at: Moment,
}

/// Queues metrics for writing. Waits only in [`Textfile::end`].
#[derive(Debug)]
pub struct Textfile {
    writer: Worker<Job>,
    last: Option<Shown>,
}

impl Textfile {
    /// A file that is never written.
    #[must_use]
    pub fn none() -> Self {
        Textfile { writer: Worker::none(), last: None }
    }

    /// Starts the thread. A failure that lasts is logged once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(journal: Journal) -> io::Result<Self> {
        let mut writer_thread = TextfileWriter { journal, at: None, failing: None };
        let writer = Worker::start("metrics", move |job: Job| {
            writer_thread.work(job.path, &job.text);
            // An error: the caller has stopped waiting.
            job.done.map(|done| done.send(()));
        })?;
        Ok(Textfile { writer, last: None })
    }

    /// Writes `measurements` to `path` unless the last write is recent and equal. `None` removes the file.
    pub fn show(&mut self, path: Option<&Path>, now: Moment, measurements: &Measurements) {
        let job = match (path, &self.last) {
            (None, None) => return,
            (Some(path), Some(last))
                if last.path == path && last.values == measurements.values && now.since(last.at) < INTERVAL =>
            {
                return;
            }
            (Some(path), _) => Job { path: Some(path.to_owned()), text: text(measurements), done: None },
            (None, Some(_)) => Job { path: None, text: String::new(), done: None },
        };
        // If the writer is busy, the next sample comes soon.
        if self.writer.hand_in(job).is_ok() {
            self.last = path.map(|path| Shown { path: path.to_owned(), values: measurements.values.clone(), at: now });
        }
    }

    /// Writes the last `measurements` and waits until that is done, but no longer than `patience`.
    pub async fn end(&self, path: Option<&Path>, measurements: &Measurements, patience: Duration) {
        let (Some(path), true) = (path, self.writer.works()) else { return };
        let (done, written) = oneshot::channel();
        let mut job = Job { path: Some(path.to_owned()), text: text(measurements), done: Some(done) };
        let end = async {
            while let Err(back) = self.writer.hand_in(job) {
                job = back;
                time::sleep(RETRY).await;
            }
            // An error: the thread is gone.
            let _ = written.await;
        };
        let _ = time::timeout(patience, end).await;
    }
}

struct TextfileWriter {
    journal: Journal,
    /// The file written last.
    at: Option<PathBuf>,
    /// The file that could not be written.
    failing: Option<PathBuf>,
}

impl TextfileWriter {
    fn work(&mut self, path: Option<PathBuf>, text: &str) {
        if let Some(old) = self.at.take_if(|old| Some(&*old) != path.as_ref()) {
            self.remove(&old);
        }
        let Some(path) = path else {
            self.failing = None;
            return;
        };
        let failing = self.failing.as_ref() == Some(&path);
        let name = path.display();
        match whole_file::replace(&path, text, 0o644) {
            Ok(()) => {
                if failing {
                    self.tell(Level::INFO, format!("Metrics are written to {name} again."));
                }
                self.failing = None;
                self.at = Some(path);
            }
            Err(error) => {
                if !failing {
                    let advice = advice(&path, &error);
                    self.tell(Level::WARN, format!("Cannot write metrics to {name}: {error}.{advice}"));
                }
                self.failing = Some(path);
            }
        }
    }

    fn remove(&self, old: &Path) {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let old = old.display();
                self.tell(Level::WARN, format!("Cannot remove {old}, which is now out of date: {error}."));
            }
            _ => {}
        }
    }

    fn tell(&self, level: Level, text: String) {
        self.journal.tell(level, Kind::Metrics, text, None);
    }
}

/// What to do about `error`: a sentence with a leading space, or nothing.
fn advice(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                " Under systemd let the service write there: systemctl edit mc-idle, [Service], \
                 ReadWritePaths={folder}."
            )
        }
        io::ErrorKind::PermissionDenied => format!(" Let the user that mc-idle runs as write to {folder}."),
        io::ErrorKind::NotFound => format!(" Create the folder {folder}."),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::report::attempts::Attempts;
    use crate::report::conditions::Conditions;
    use crate::report::snapshot::Snapshot;
    use jiff::Timestamp;
    use mc_idle_rule::{Rule, State, View};

    fn measured(state: State, attempts: u64) -> Measurements {
        let settings = Settings::default();
        let attempts = Attempts { accepted: attempts, ..Attempts::default() };
        let conditions = Conditions { attempts, ..Conditions::default() };
        let (rule, moment) = (Rule::new(settings.rule_settings()), Moment(Duration::ZERO));
        let snapshot = Snapshot::new(&rule, &[], &settings, &conditions, moment, Timestamp::UNIX_EPOCH);
        Measurements::new(&Snapshot { view: View::of(state), ..snapshot })
    }

    #[test]
    fn a_change_is_written_at_once_and_clocks_alone_now_and_then() {
        let (journal, _lines) = Journal::channel();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mc-idle.prom");
        let mut textfile = Textfile::start(journal).unwrap();
        let mut written_at = |seconds: u64, state: State, attempts: u64| {
            let now = Moment(Duration::from_secs(seconds));
            let measurements = measured(state, attempts);
            // What finds the writer busy is queued again.
            for _ in 0..1_000_000 {
                textfile.show(Some(&path), now, &measurements);
                if textfile.last.as_ref().is_some_and(|last| last.values == measurements.values) {
                    break;
                }
                std::thread::yield_now();
            }
            textfile.last.as_ref().unwrap().at.0.as_secs()
        };
        assert_eq!(written_at(100, State::Idle, 0), 100);
        assert_eq!(written_at(109, State::Idle, 0), 100);
        assert_eq!(written_at(109, State::Idle, 1), 109);
        assert_eq!(written_at(118, State::Idle, 1), 109);
    }

    #[tokio::test]
    async fn the_last_page_is_there_when_the_end_has_been_waited_for() {
        let (journal, lines) = Journal::channel();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mc-idle.prom");
        let mut textfile = Textfile::start(journal).unwrap();
        for second in 0..50 {
            textfile.show(Some(&path), Moment(Duration::from_secs(second)), &measured(State::Idle, second));
        }
        textfile.end(Some(&path), &measured(State::Ended, 0), Duration::from_mins(1)).await;
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains("mc_idle_state{state=\"ended\"} 1"), "{page}");
        assert!(lines.try_recv().is_err());
    }
}
