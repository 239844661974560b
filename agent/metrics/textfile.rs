//! When and where the metrics are written.
//!
//! A thread of its own writes them, so that a disk that hangs or fails delays nothing. The file is there whole or not at
//! all; its old one is removed when the configuration names another, or none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time;
use tracing::Level;

use super::facts::{Facts, What};
use super::text::text;
use crate::background::Background;
use crate::idle::Moment;
use crate::journal::{Journal, Kind};
use crate::whole_file;

/// While nothing but the clocks changes the file is written this often: Prometheus asks every 15 s or less often, and the
/// file may be on a disk that is paid for by the write.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time between two tries to hand in the last page.
const RETRY: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Job {
    /// `None`: there is to be no file.
    path: Option<PathBuf>,
    text: String,
    /// Told when it is done.
    done: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Shown {
    path: PathBuf,
    what: What,
    at: Moment,
}

/// Where metrics are handed in. Never waits, but at the end.
#[derive(Debug)]
pub struct Textfile {
    writer: Background<Job>,
    last: Option<Shown>,
}

impl Textfile {
    /// One that is never written.
    #[must_use]
    pub fn none() -> Self {
        Textfile { writer: Background::none(), last: None }
    }

    /// Starts the thread. What is wrong is told once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(journal: Journal) -> io::Result<Self> {
        let mut pen = Pen { journal, at: None, failing: None };
        let writer = Background::start("metrics", move |job: Job| {
            pen.work(job.path, &job.text);
            // Nobody waits any more: then nobody hears.
            job.done.map(|done| done.send(()));
        })?;
        Ok(Textfile { writer, last: None })
    }

    /// Writes `facts` to `path`, or nothing if it is `None`, unless the last ones are as good.
    pub fn show(&mut self, path: Option<&Path>, now: Moment, facts: &Facts) {
        let job = match (path, &self.last) {
            (None, None) => return,
            (Some(path), Some(last))
                if last.path == path && last.what == facts.what && now.since(last.at) < INTERVAL =>
            {
                return;
            }
            (Some(path), _) => Job { path: Some(path.to_owned()), text: text(facts), done: None },
            (None, Some(_)) => Job { path: None, text: String::new(), done: None },
        };
        // Busy: the next sample comes soon.
        if self.writer.hand_in(job).is_ok() {
            self.last = path.map(|path| Shown { path: path.to_owned(), what: facts.what.clone(), at: now });
        }
    }

    /// Writes the last `facts`, and waits until that is done, but no longer than `patience`.
    pub async fn end(&self, path: Option<&Path>, facts: &Facts, patience: Duration) {
        let (Some(path), true) = (path, self.writer.works()) else { return };
        let (done, written) = oneshot::channel();
        let mut job = Job { path: Some(path.to_owned()), text: text(facts), done: Some(done) };
        let end = async {
            while let Err(back) = self.writer.hand_in(job) {
                job = back;
                time::sleep(RETRY).await;
            }
            // An error: the thread is gone.
            let _ = written.await;
        };
        // Late is as good as never.
        let _ = time::timeout(patience, end).await;
    }
}

struct Pen {
    journal: Journal,
    /// The file that was written last.
    at: Option<PathBuf>,
    /// The file that could not be written.
    failing: Option<PathBuf>,
}

impl Pen {
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
                    self.tell(Level::WARN, format!("Metrics are not written: cannot write {name}: {error}.{advice}"));
                }
                self.failing = Some(path);
            }
        }
    }

    fn remove(&self, old: &Path) {
        match fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let old = old.display();
                self.tell(Level::WARN, format!("{old} is out of date from now on, and cannot be removed: {error}."));
            }
            _ => {}
        }
    }

    fn tell(&self, level: Level, text: String) {
        self.journal.tell(level, Kind::Metrics, text, None);
    }
}

/// What to do about `error`, a sentence with a space before it.
fn advice(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                " Under systemd let the service write there: systemctl edit mc-idle, [Service], ReadWritePaths={folder}."
            )
        }
        io::ErrorKind::PermissionDenied => format!(" Let the user that mc-idle runs as write to the folder {folder}."),
        io::ErrorKind::NotFound => format!(" Make the folder {folder}."),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::{State, View};
    use crate::metrics::facts::Attempts;
    use jiff::Timestamp;

    fn facts(state: State, attempts: u64) -> Facts {
        let view = View { state, counts: None, running: None, window: None, efs: crate::idle::Efs::Off, stop_in: None };
        let attempts = Attempts { accepted: attempts, ..Attempts::default() };
        Facts::new(&view, &[], attempts, false, None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_change_is_written_at_once_and_clocks_alone_now_and_then() {
        let (journal, _lines) = Journal::channel();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mc-idle.prom");
        let mut textfile = Textfile::start(journal).unwrap();
        let mut written_at = |seconds: u64, state: State, attempts: u64| {
            let now = Moment(Duration::from_secs(seconds));
            let facts = facts(state, attempts);
            // What finds the writer busy is handed in again.
            for _ in 0..1_000_000 {
                textfile.show(Some(&path), now, &facts);
                if textfile.last.as_ref().is_some_and(|last| last.what == facts.what) {
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
            textfile.show(Some(&path), Moment(Duration::from_secs(second)), &facts(State::Idle, second));
        }
        textfile.end(Some(&path), &facts(State::Ended, 0), Duration::from_mins(1)).await;
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.contains("mc_idle_state{state=\"ended\"} 1"), "{page}");
        assert!(lines.try_recv().is_err());
    }
}
