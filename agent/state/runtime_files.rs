//! The two files that the agent keeps up to date in its runtime directory: `state.json` for the agent after a restart,
//! and `status.json` for people. Over 400 lines, half of them tests.
//!
//! They are written at once when something changes, and at intervals while nothing but time does: readers know how old
//! the files are, and a restored clock that is a little behind can only delay a stop. A file system may hang, so a
//! thread writes; while it is busy, the next sample tries again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use mc_idle_rule::{ListenerId, Memory, Moment};
use mc_service::error_chain::chain;
use mc_service::worker::Worker;
use mc_service::{small_file, whole_file};
use tokio::time;
use tracing::Level;

use crate::journal::{Journal, Kind};
use crate::report::status::interval::is_rested;
use crate::report::status::{self, Status};
use crate::state::lock;
use crate::state::state_file::{self, StateError};

/// For this long after the start every sample is written, so that the clock advances even if the agent is killed every
/// few seconds.
const BEGINNING: Duration = Duration::from_mins(1);
/// The time between two attempts to queue the final contents.
const RETRY: Duration = Duration::from_millis(20);

/// The contents of both files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// What the agent after a restart has to know.
    pub memory: Memory,
    /// How long the machine has been suspended since boot.
    pub slept: Duration,
    pub status: Status,
}

impl FileContents {
    /// Whether nothing but time has changed since `before`.
    fn only_goes_on_from(&self, before: &FileContents) -> bool {
        self.status.only_goes_on_from(&before.status) && goes_on_from(&self.memory, &before.memory)
    }
}

/// Whether no clock went back. One that did must be written at once, or the next agent would count too much.
fn goes_on_from(now: &Memory, before: &Memory) -> bool {
    let said = |(listener, online, _): &(ListenerId, u32, Moment)| (*listener, *online);
    let same_clock = match (now.running, before.running) {
        (None, None) => true,
        (Some(now), Some(before)) => now.clock == before.clock && now.elapsed >= before.elapsed,
        _ => false,
    };
    same_clock
        && now.no_player >= before.no_player
        && now.efs_waited >= before.efs_waited
        && now.joining_waited >= before.joining_waited
        && now.join_ended == before.join_ended
        && now.connections == before.connections
        && now.reclaimed == before.reclaimed
        && now.followed == before.followed
        && now.ports == before.ports
        && now.answers.iter().map(said).eq(before.answers.iter().map(said))
}

/// Queues contents for writing. Waits only in [`RuntimeFiles::last`] and [`RuntimeFiles::finish`].
#[derive(Debug)]
pub struct RuntimeFiles {
    writer: Worker<FileContents>,
    pace: WritePace,
}

impl RuntimeFiles {
    /// Files that are never written.
    #[must_use]
    pub fn none() -> Self {
        RuntimeFiles { writer: Worker::none(), pace: WritePace::new(Moment(Duration::ZERO)) }
    }

    /// Reads the state in `folder` from before a restart, and starts writing. A failure that lasts is logged once.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open(
        folder: &Path,
        boot_id: Option<&str>,
        slept: Duration,
        now: Moment,
        journal: &Journal,
    ) -> io::Result<(Self, Option<Memory>)> {
        let path = folder.join(state_file::NAME);
        let warn = |text: String| journal.tell(Level::WARN, Kind::StateFile, text, None);
        let (lock, boot_id) = match (lock::take(folder), boot_id) {
            (Ok(lock), Some(boot_id)) => (Some(lock), boot_id.to_owned()),
            // Losing the clocks at each restart would be worse than an undetected second agent, which is unlikely.
            (Err(error @ StateError::NoLock(_)), Some(boot_id)) => {
                warn(format!("Cannot detect a second mc-idle in {}: {}.", folder.display(), chain(&error)));
                (None, boot_id.to_owned())
            }
            (Err(error), _) => {
                let (path, why) = (path.display(), chain(&error));
                warn(format!("The clocks will not survive a restart: cannot keep {path}: {why}."));
                return Ok((RuntimeFiles::none(), None));
            }
            (Ok(_), None) => {
                warn(format!("The clocks will not survive a restart: {}.", StateError::NoBootId));
                return Ok((RuntimeFiles::none(), None));
            }
        };
        let memory = match small_file::read_own(&path) {
            Ok(text) => state_file::parse(&text, &boot_id, slept, now).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::Unreadable(error)),
        };
        let memory = memory.unwrap_or_else(|error| {
            warn(format!("Ignoring {}; the clock starts at zero: {}.", path.display(), chain(&error)));
            None
        });
        let picture = folder.join(status::record::NAME);
        let pace = WritePace::new(now);
        let mut writer_thread = StateWriter { path, journal: journal.clone(), failing: Arc::clone(&pace.failing) };
        let of_this_agent = picture.clone();
        let work = move |FileContents { memory, slept, status }: FileContents| {
            // Held while the thread lives.
            let _lock = &lock;
            writer_thread.write(&state_file::text(&memory, &boot_id, slept));
            // Fails only for maps with non-string keys and for failing Serialize impls; there are none here.
            let text = serde_json::to_string(&status).unwrap_or_default();
            // A folder that cannot be written to has just been logged.
            let _ = whole_file::replace(&picture, &text, 0o644);
        };
        // Without an agent the status is out of date. If it cannot be removed, it still says when it was written.
        let end = move || drop(fs::remove_file(&of_this_agent));
        Ok((RuntimeFiles { writer: Worker::start_with_end("files", work, end)?, pace }, memory))
    }

    /// Whether the files are written: the folder exists, and no other agent uses it.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.writer.works()
    }

    /// Writes the contents as of `now`, unless nothing but time has changed since the last ones.
    pub fn keep(&mut self, now: Moment, contents: FileContents) {
        if self.pace.is_due(now, &contents) && self.writer.hand_in(contents.clone()).is_ok() {
            self.pace.last = Some((now, contents));
        }
    }

    /// Queues the final contents, waiting no longer than `patience`.
    pub async fn last(&self, contents: FileContents, patience: Duration) {
        let mut contents = contents;
        let handed_in = async {
            while let Err(back) = self.writer.hand_in(contents) {
                contents = back;
                time::sleep(RETRY).await;
            }
        };
        let _ = time::timeout(patience, handed_in).await;
    }

    /// Waits until everything is written and `status.json` is removed, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        self.writer.finish(patience);
    }
}

/// Decides when to write.
#[derive(Debug)]
struct WritePace {
    started: Moment,
    last: Option<(Moment, FileContents)>,
    /// The last write failed.
    failing: Arc<AtomicBool>,
}

impl WritePace {
    fn new(started: Moment) -> Self {
        WritePace { started, last: None, failing: Arc::default() }
    }

    fn is_due(&self, now: Moment, contents: &FileContents) -> bool {
        let Some((at, last)) = &self.last else { return true };
        now.since(self.started) < BEGINNING
            || is_rested(now.since(*at))
            || self.failing.load(Ordering::Relaxed)
            || !contents.only_goes_on_from(last)
    }
}

struct StateWriter {
    path: PathBuf,
    journal: Journal,
    failing: Arc<AtomicBool>,
}

impl StateWriter {
    fn write(&mut self, text: &str) {
        let path = self.path.display();
        let written = whole_file::replace(&self.path, text, 0o600);
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match (written, failed_before) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                let text = format!("{path} is written again; the clocks survive a restart.");
                self.journal.tell(Level::INFO, Kind::StateFile, text, None);
            }
            (Err(error), false) => {
                let text = format!("The clocks would not survive a restart: cannot write {path}: {error}.");
                self.journal.tell(Level::WARN, Kind::StateFile, text, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::millis;
    use crate::config::Settings;
    use crate::host::networks::Look;
    use crate::report::conditions::Conditions;
    use crate::report::snapshot::Snapshot;
    use jiff::Timestamp;
    use mc_idle_rule::clocks::{ClockKind, Running};
    use mc_idle_rule::facts::{ConnectionRow, Facts, Listening, Sockets};
    use mc_idle_rule::{Efs, NetworkId, Rule, Socket};
    use std::path::Path;

    const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";
    const NOW: Moment = Moment(Duration::from_hours(3));

    /// An agent that takes samples and queues contents.
    struct Agent {
        settings: Settings,
        conditions: Conditions,
        rule: Rule,
        now: Moment,
        wall: Timestamp,
    }

    impl Agent {
        fn start() -> Self {
            let settings = Settings::default();
            let conditions = Conditions { boot_id: BOOT.to_owned(), dry_run: true, ..Conditions::default() };
            let rule = Rule::new(settings.rule_settings());
            Agent { settings, conditions, rule, now: NOW, wall: "2026-11-22T21:40:00.5Z".parse().unwrap() }
        }

        /// The contents after `seconds`, with `players` connected.
        fn sample(&mut self, seconds: u64, players: u16) -> FileContents {
            let passed = Duration::from_secs(seconds);
            (self.now, self.wall) = (self.now.plus(passed), self.wall + passed);
            let socket = |player| Socket {
                network: NetworkId::HOST,
                local: "192.0.2.1:25565".parse().unwrap(),
                peer: ([198, 51, 100, 7], 40000 + player).into(),
                inode: std::num::NonZeroU64::new(77 + u64::from(player)),
            };
            let listening =
                Listening { address: "0.0.0.0:25565".parse().unwrap(), uid: Some(1000), control_group: None };
            let sockets = Sockets {
                listening: vec![listening],
                connections: (0..players).map(|it| ConnectionRow { socket: socket(it), received: None }).collect(),
                ..Sockets::default()
            };
            let look = Look { facts: Facts::of_host(sockets), ignored: Vec::new() };
            self.rule.observe(self.now, &look.facts, Efs::Off);
            let snapshot =
                Snapshot::new(&self.rule, &look.ignored, &self.settings, &self.conditions, self.now, self.wall);
            let status = Status::new(&snapshot);
            FileContents { memory: self.rule.memory(), slept: Duration::ZERO, status }
        }
    }

    /// Whether each sample of `agent`, five seconds apart, is written.
    fn written(pace: &mut WritePace, agent: &mut Agent, samples: usize, players: u16) -> Vec<bool> {
        let mut sample = || {
            let latest = agent.sample(5, players);
            let due = pace.is_due(agent.now, &latest);
            if due {
                pace.last = Some((agent.now, latest));
            }
            due
        };
        (0..samples).map(|_| sample()).collect()
    }

    #[test]
    fn in_the_first_minute_every_sample_is_written_and_then_every_third_while_only_time_passes() {
        let (mut pace, mut agent) = (WritePace::new(NOW), Agent::start());
        assert_eq!(written(&mut pace, &mut agent, 11, 0), [true; 11]);
        // The sentence changes with its minutes: "stops in 14 min".
        let written = written(&mut pace, &mut agent, 120, 0);
        let count = written.iter().filter(|written| **written).count();
        assert!((40..=50).contains(&count), "{count} of 120");
        assert!(written.windows(3).all(|three| three.contains(&true)), "{written:?}");
    }

    #[test]
    fn a_long_evening_of_play_is_written_every_third_sample() {
        let (mut pace, mut agent) = (WritePace::new(NOW), Agent::start());
        // Until all count as players.
        written(&mut pace, &mut agent, 20, 2);
        let written = written(&mut pace, &mut agent, 300, 2);
        assert_eq!(written.iter().filter(|written| **written).count(), 100);
    }

    #[test]
    fn what_changes_is_written_at_once() {
        let (mut pace, mut agent) = (WritePace::new(NOW), Agent::start());
        written(&mut pace, &mut agent, 20, 0);
        let mut before = 0;
        for players in [1, 2, 1, 0] {
            // Old enough to be players, so that nothing changes; and the last sample was written.
            written(&mut pace, &mut agent, 20, before);
            while written(&mut pace, &mut agent, 1, before) == [false] {}
            assert_eq!(written(&mut pace, &mut agent, 1, players), [true], "{before} were there, then {players}");
            before = players;
        }
        assert_eq!(written(&mut pace, &mut agent, 1, 1), [true], "somebody comes");
        assert_eq!(written(&mut pace, &mut agent, 12, 1), [true; 12], "and is said to be young for so many seconds");
    }

    #[test]
    fn a_clock_that_has_gone_back_and_one_that_the_file_lacks_are_written_at_once() {
        let elapsed = |seconds| Memory {
            running: Some(Running { clock: ClockKind::Idle, elapsed: Duration::from_secs(seconds) }),
            ..Memory::default()
        };
        assert!(goes_on_from(&elapsed(60), &elapsed(55)) && goes_on_from(&elapsed(55), &elapsed(55)));
        assert!(!goes_on_from(&elapsed(0), &elapsed(55)));
        let (mut pace, mut agent) = (WritePace::new(NOW), Agent::start());
        written(&mut pace, &mut agent, 40, 0);
        pace.failing.store(true, Ordering::Relaxed);
        assert_eq!(written(&mut pace, &mut agent, 4, 0), [true; 4]);
    }

    #[test]
    fn a_reader_gives_a_writer_that_rests_time_to_miss_two_writes() {
        let status = Agent::start().sample(5, 0).status;
        assert_eq!(status.next_by_ms - status.at_ms, 3 * 15_000 + 1000);
    }

    #[tokio::test]
    async fn the_last_page_is_kept_whatever_was_written_when_and_the_picture_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _lines) = Journal::channel();
        let (mut runtime_files, _) =
            RuntimeFiles::open(folder.path(), Some(BOOT), Duration::ZERO, NOW, &journal).unwrap();
        let mut agent = Agent::start();
        for _ in 0..100 {
            let contents = agent.sample(5, 0);
            runtime_files.keep(agent.now, contents);
        }
        let last = agent.sample(5, 0);
        let elapsed = millis(last.memory.running.unwrap().elapsed);
        runtime_files.last(last, Duration::from_mins(1)).await;
        runtime_files.finish(Duration::from_mins(1));
        let kept = fs::read_to_string(folder.path().join(state_file::NAME)).unwrap();
        assert!(kept.contains(&format!("\"elapsed_ms\":{elapsed},")), "{elapsed}: {kept}");
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [lock::NAME, state_file::NAME]);
    }

    #[test]
    fn is_kept_in_its_folder_and_by_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = |boot| {
            let (journal, lines) = Journal::channel();
            let (runtime_files, memory) =
                RuntimeFiles::open(folder.path(), Some(boot), Duration::ZERO, NOW, &journal).unwrap();
            (runtime_files, memory, lines)
        };
        let (mut first, nothing, lines) = open(BOOT);
        assert_eq!(nothing, None);
        assert!(lines.try_recv().is_err(), "a file that does not exist yet is not worth a line");
        let (_second, nothing, warnings) = open(BOOT);
        assert_eq!(nothing, None);
        assert!(warnings.try_recv().unwrap().text.contains("another mc-idle"));
        let contents = Agent::start().sample(0, 2);
        first.keep(NOW, contents.clone());
        drop(first);
        // The thread holds the lock until it has written.
        let again =
            std::iter::repeat_with(|| open(BOOT)).find(|(runtime_files, ..)| runtime_files.writer.works()).unwrap();
        assert_eq!(again.1, Some(contents.memory));
        drop(again);
        let other =
            std::iter::repeat_with(|| open("other")).find(|(runtime_files, ..)| runtime_files.writer.works()).unwrap();
        assert_eq!(other.1, None);
        let warnings: Vec<_> = other.2.try_iter().map(|line| line.text).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("another boot"), "{warnings:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_once() {
        let (journal, lines) = Journal::channel();
        let folder = Path::new("/nonexistent/mc-idle");
        let (mut runtime_files, memory) =
            RuntimeFiles::open(folder, Some(BOOT), Duration::ZERO, NOW, &journal).unwrap();
        runtime_files.keep(NOW, Agent::start().sample(0, 0));
        assert_eq!(memory, None);
        let warnings: Vec<_> = lines.try_iter().map(|line| line.text).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("/nonexistent/mc-idle"), "{warnings:?}");
    }
}
