//! The ledger and its file, shared by the main loop and the tasks that ask the sources. Over 400 lines, nearly half of
//! them tests.
//!
//! Nothing here waits: the mutex is held only for short computations, and a thread writes `holds.json`.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::Moment;
use mc_service::error_chain::chain;
use mc_service::worker::Worker;
use mc_service::{small_file, whole_file};
use tokio::sync::watch;
use tokio::time;
use tracing::Level;

use crate::clock::{Clock, SLEEP};
use crate::config::settings::HoldSettings;
use crate::holds::file::{self, Time};
use crate::holds::ledger::{Claim, HoldSource, Ledger, Remembered};
use crate::holds::memory::{self, MemoryError};
use crate::holds::{KnownHolds, notes};
use crate::journal::{Journal, Kind};

/// The time between two attempts to queue the last write.
const RETRY: Duration = Duration::from_millis(20);

/// The environment of the sources.
#[derive(Debug)]
pub struct SourceContext {
    /// The runtime directory.
    pub folder: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// How long the machine has been suspended since boot.
    pub slept: Duration,
    /// Whether this agent may write `holds.json`: no other agent does, and the boot id is known.
    pub keeps: bool,
    /// Whether SSM is asked.
    pub asks_aws: bool,
}

/// The hold sources. Clones share their state.
#[derive(Debug, Clone)]
pub struct HoldSources {
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
}

#[derive(Debug)]
struct Shared {
    place: SourceContext,
    settings: watch::Receiver<HoldSettings>,
    ledger: Ledger,
    writer: Worker<String>,
    /// The text queued last.
    written: Option<String>,
    /// The last write failed.
    failing: Arc<AtomicBool>,
}

impl HoldSources {
    /// The sources in `settings`, with the answers from `holds.json`. A file that must be ignored is logged once.
    ///
    /// # Errors
    /// The thread that writes cannot be started.
    pub fn open(
        place: SourceContext,
        settings: watch::Receiver<HoldSettings>,
        clock: Clock,
        journal: &Journal,
    ) -> io::Result<Self> {
        let now = clock.now();
        let path = place.folder.join(memory::NAME);
        let failing = Arc::<AtomicBool>::default();
        let (writer, memory) = if place.keeps {
            (writer(path.clone(), journal.clone(), Arc::clone(&failing))?, recall(&path, &place, now, journal))
        } else {
            (Worker::none(), Vec::new())
        };
        let questions = questions(&settings.borrow(), place.asks_aws);
        let ledger = Ledger::new(&questions, memory, now);
        let shared = Shared { place, settings, ledger, writer, written: None, failing };
        Ok(HoldSources { shared: Arc::new(Mutex::new(shared)), clock })
    }

    /// A source has answered with all its holds.
    pub fn answered(&self, question: &HoldSource, claims: Vec<Claim>) {
        self.update(|ledger, now| ledger.answered(question, claims, now));
    }

    /// A source has not answered.
    pub fn failed(&self, question: &HoldSource, why: String) {
        self.update(|ledger, now| ledger.failed(question, why, now));
    }

    /// There is no such source on this machine, for the reason `why`.
    pub fn absent(&self, question: &HoldSource, why: String) {
        self.update(|ledger, now| ledger.absent(question, why, now));
    }

    fn update(&self, change: impl FnOnce(&mut Ledger, Moment)) {
        let now = self.clock.now();
        let mut shared = self.shared();
        shared.take_up_settings(now);
        change(&mut shared.ledger, now);
        shared.keep(now);
    }

    /// What is known at `now`, which is `wall` on the wall clock. `slept` is how long the machine has been suspended
    /// since boot.
    #[must_use]
    pub fn known(&self, now: Moment, wall: Timestamp, slept: Duration) -> KnownHolds {
        let mut shared = self.shared();
        shared.take_up_settings(now);
        if slept.saturating_sub(shared.place.slept) >= SLEEP {
            shared.ledger.slept(now);
        }
        shared.place.slept = slept;
        shared.look_into_the_file(now);
        shared.look_for_ended_processes();
        shared.keep(now);
        let ledger = &shared.ledger;
        KnownHolds {
            holds: ledger.holds(now, wall),
            notes: notes::notes(&ledger.troubles(now, wall)),
            pending: ledger.pending(now),
        }
    }

    /// Waits until everything is written; each of the two steps takes no longer than `patience`.
    pub async fn finish(&self, patience: Duration) {
        let handed_in = async {
            while !self.shared().keep(self.clock.now()) {
                time::sleep(RETRY).await;
            }
        };
        let _ = time::timeout(patience, handed_in).await;
        let writer = std::mem::replace(&mut self.shared().writer, Worker::none());
        writer.finish(patience);
    }

    /// The mutex cannot be poisoned: a panic would have ended the agent.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Called before anything else, so that an answer to a new question does not meet the old ones.
    fn take_up_settings(&mut self, now: Moment) {
        if self.settings.has_changed().unwrap_or(false) {
            let questions = questions(&self.settings.borrow_and_update(), self.place.asks_aws);
            self.ledger.ask(&questions, now);
        }
    }

    fn look_into_the_file(&mut self, now: Moment) {
        let SourceContext { folder, boot_id, slept, .. } = &self.place;
        match file::read(folder, Time { boot_id, slept: *slept, now }) {
            Ok(claim) => self.ledger.answered(&HoldSource::File, claim.into_iter().collect(), now),
            Err(error) => self.ledger.failed(&HoldSource::File, chain(&error), now),
        }
    }

    /// Reads only `/proc`, which never blocks on a disk, and only for processes whose source does not answer.
    fn look_for_ended_processes(&mut self) {
        let ended: Vec<_> = self.ledger.unwatched().filter(|process| process.has_ended(&self.place.proc)).collect();
        for process in ended {
            self.ledger.ended(process);
        }
    }

    /// Queues what has changed; false: the thread is busy, and the next sample tries again.
    fn keep(&mut self, now: Moment) -> bool {
        if !self.writer.works() {
            return true;
        }
        let text = memory::text(&self.ledger.memory(now), &self.place.boot_id, self.place.slept);
        if self.written.as_ref() == Some(&text) && !self.failing.load(Ordering::Relaxed) {
            return true;
        }
        let handed_in = self.writer.hand_in(text.clone()).is_ok();
        if handed_in {
            self.written = Some(text);
        }
        handed_in
    }
}

/// The sources to ask with these settings.
fn questions(settings: &HoldSettings, asks_aws: bool) -> Vec<HoldSource> {
    let parameter = settings.parameter.as_ref().filter(|_| asks_aws);
    [HoldSource::File, HoldSource::Locks]
        .into_iter()
        .chain(settings.ssh_sessions.then_some(HoldSource::Sessions))
        .chain(parameter.map(|name| HoldSource::Parameter(name.as_written().to_owned())))
        .collect()
}

fn recall(path: &Path, place: &SourceContext, now: Moment, journal: &Journal) -> Vec<Remembered> {
    let refused = |why: &dyn Display| {
        let text = format!("Ignoring {}; every hold source is asked first: {why}.", path.display());
        journal.tell(Level::WARN, Kind::HoldsUnknown, text, None);
        Vec::new()
    };
    match small_file::read_own(path) {
        Ok(text) => match memory::parse(&text, &place.boot_id, place.slept, now) {
            Ok(memory) => memory,
            // Expected after a reboot or a suspend.
            Err(MemoryError::OtherBoot | MemoryError::Slept) => Vec::new(),
            Err(error) => refused(&chain(&error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => refused(&format!("cannot read it: {}", chain(&error))),
    }
}

fn writer(path: PathBuf, journal: Journal, failing: Arc<AtomicBool>) -> io::Result<Worker<String>> {
    Worker::start("holds", move |text: String| {
        let written = whole_file::replace(&path, &text, 0o600);
        let failed_before = failing.swap(written.is_err(), Ordering::Relaxed);
        let path = path.display();
        match (written, failed_before) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                let text = format!("{path} is written again; holds survive a restart.");
                journal.tell(Level::INFO, Kind::HoldsUnknown, text, None);
            }
            (Err(error), false) => {
                let text = format!("Holds would not survive a restart: cannot write {path}: {error}.");
                journal.tell(Level::WARN, Kind::HoldsUnknown, text, None);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::config::load;
    use crate::holds::ledger::HoldEnd;
    use crate::holds::process::Process;
    use crate::journal::LogLine;

    const PATIENCE: Duration = Duration::from_mins(1);

    fn place(folder: &Path) -> SourceContext {
        SourceContext {
            folder: folder.to_owned(),
            proc: folder.join("proc"),
            boot_id: "boot".to_owned(),
            slept: Duration::from_secs(10),
            keeps: true,
            asks_aws: true,
        }
    }

    struct Agent {
        sources: HoldSources,
        settings: watch::Sender<HoldSettings>,
        lines: Receiver<LogLine>,
        slept: Duration,
    }

    impl Agent {
        fn start(place: SourceContext) -> Self {
            let (settings, receiver) = watch::channel(HoldSettings::default());
            let (journal, lines) = Journal::channel();
            let slept = place.slept;
            let sources = HoldSources::open(place, receiver, Clock::start(), &journal).unwrap();
            Agent { sources, settings, lines, slept }
        }

        fn known(&self) -> KnownHolds {
            self.sources.known(self.sources.clock.now(), "2026-11-22T20:00:00Z".parse().unwrap(), self.slept)
        }

        fn reasons(&self) -> Vec<String> {
            self.known().holds.into_iter().map(|hold| hold.reason).collect()
        }

        /// Exits after everything is written.
        async fn end(self) -> Vec<LogLine> {
            self.sources.finish(PATIENCE).await;
            self.lines.try_iter().collect()
        }
    }

    fn claim(reason: &str, end: HoldEnd) -> Vec<Claim> {
        vec![Claim { reason: reason.to_owned(), end }]
    }

    #[tokio::test]
    async fn what_was_said_is_kept_for_the_next_agent_of_the_same_boot() {
        let folder = tempfile::tempdir().unwrap();
        let first = Agent::start(place(folder.path()));
        assert!(first.known().pending);
        first.sources.answered(&HoldSource::Locks, claim("backup", HoldEnd::Open));
        assert_eq!((first.reasons(), first.known().pending), (vec!["backup".to_owned()], false));
        assert!(first.end().await.is_empty());
        let file = folder.path().join(memory::NAME);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let next = Agent::start(place(folder.path()));
        assert_eq!((next.reasons(), next.known().pending), (vec!["backup".to_owned()], true));
        next.sources.answered(&HoldSource::Locks, Vec::new());
        assert!(next.reasons().is_empty() && next.end().await.is_empty());
        assert!(Agent::start(place(folder.path())).reasons().is_empty(), "a released hold stays released");
    }

    #[tokio::test]
    async fn another_boot_and_a_sleep_are_another_evening_and_a_wrong_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let first = Agent::start(place(folder.path()));
        first.sources.answered(&HoldSource::Locks, claim("backup", HoldEnd::Open));
        first.end().await;
        let other_boot = SourceContext { boot_id: "another".to_owned(), ..place(folder.path()) };
        // Neither overwrites the file.
        for other in [other_boot, SourceContext { slept: Duration::from_secs(11), ..place(folder.path()) }] {
            let agent = Agent::start(other);
            let kept = fs::read_to_string(folder.path().join(memory::NAME)).unwrap();
            assert!(agent.lines.try_recv().is_err() && kept.contains("backup"), "{kept}");
            assert!(agent.sources.shared().ledger.holds(Moment(Duration::ZERO), Timestamp::UNIX_EPOCH).is_empty());
        }
        let mut agent = Agent::start(place(folder.path()));
        assert_eq!(agent.reasons(), ["backup"]);
        agent.slept += SLEEP;
        assert!(agent.reasons().is_empty() && agent.known().pending, "a sleep while it runs");
        agent.end().await;
        fs::write(folder.path().join(memory::NAME), "{").unwrap();
        let lines = Agent::start(place(folder.path())).end().await;
        assert!(lines.len() == 1 && lines[0].text.contains("holds.json; every hold source"), "{lines:?}");
    }

    #[tokio::test]
    async fn an_agent_that_may_not_keep_anything_neither_reads_nor_writes() {
        let folder = tempfile::tempdir().unwrap();
        let first = Agent::start(place(folder.path()));
        first.sources.answered(&HoldSource::Locks, claim("backup", HoldEnd::Open));
        let before = fs::read_to_string(folder.path().join(memory::NAME));
        let second = Agent::start(SourceContext { keeps: false, ..place(folder.path()) });
        assert!(second.reasons().is_empty());
        second.sources.answered(&HoldSource::Locks, claim("another", HoldEnd::Open));
        second.end().await;
        first.end().await;
        let after = fs::read_to_string(folder.path().join(memory::NAME)).unwrap();
        assert!(after.contains("backup") && !after.contains("another"), "{before:?} {after}");
    }

    #[tokio::test]
    async fn a_remembered_lock_ends_when_its_process_does() {
        let folder = tempfile::tempdir().unwrap();
        let stat = |id: u32, started: u32| {
            let to = folder.path().join(format!("proc/{id}"));
            fs::create_dir_all(&to).unwrap();
            fs::write(to.join("stat"), format!("{id} (cp) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 0 0\n"))
                .unwrap();
        };
        stat(1, 1);
        stat(77, 5);
        let lock = || claim("backup", HoldEnd::Process(Process { id: 77, started: 5 }));
        let first = Agent::start(place(folder.path()));
        first.sources.answered(&HoldSource::Locks, lock());
        first.end().await;
        let next = Agent::start(place(folder.path()));
        assert_eq!(next.reasons(), ["backup"]);
        stat(77, 6);
        assert!(next.reasons().is_empty(), "another process has its id");
        // While logind answers, it is believed: the lock may have been passed on.
        next.sources.answered(&HoldSource::Locks, lock());
        assert_eq!(next.reasons(), ["backup"]);
        next.sources.failed(&HoldSource::Locks, "no bus".to_owned());
        assert!(next.reasons().is_empty());
    }

    #[test]
    fn an_answer_to_new_settings_may_come_before_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let agent = Agent::start(place(folder.path()));
        agent.sources.answered(&HoldSource::Locks, Vec::new());
        assert!(!agent.known().pending);
        agent.settings.send_modify(|settings| settings.ssh_sessions = true);
        agent.sources.answered(&HoldSource::Sessions, claim("alice is logged in", HoldEnd::Open));
        assert_eq!((agent.reasons(), agent.known().pending), (vec!["alice is logged in".to_owned()], false));
        agent.settings.send_modify(|settings| settings.ssh_sessions = false);
        assert!(agent.reasons().is_empty());
    }

    #[test]
    fn a_dry_run_waits_for_no_parameter() {
        let settings = load::parse(Path::new("config.toml"), "hold.parameter = \"/hold\"").unwrap();
        let parameter = HoldSource::Parameter("/hold".to_owned());
        assert!(questions(&settings.hold, true).contains(&parameter));
        assert!(!questions(&settings.hold, false).contains(&parameter));
    }
}
