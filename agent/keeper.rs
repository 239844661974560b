//! The two files that the agent keeps true in its runtime directory: `state.json` for the agent after it, and `status.json`
//! for people.
//!
//! They are written at once when something has changed, and now and then while only time passes: whoever reads them knows
//! how old they are, and a clock that comes back a little too early delays a stop, never hastens one. A file system may
//! hang like anything else, so a thread writes; what finds it busy is handed in again with the next sample.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time;
use tracing::Level;

use crate::background::Background;
use crate::error::chain;
use crate::idle::{Memory, Moment};
use crate::journal::{Journal, Kind};
use crate::state_file::{self, StateError};
use crate::status::{self, Status};
use crate::{small_file, whole_file};

/// The time between two writes while only time passes. Each wakes the machine up; and an agent that is killed loses no more
/// than this of its clock.
const REST: Duration = Duration::from_secs(15);
/// A sample that is due is taken a little late, and sometimes less so than the one before.
const SLACK: Duration = Duration::from_millis(500);
/// For this long after the start every sample is written, so that an agent that is killed every few seconds gets on.
const BEGINNING: Duration = Duration::from_mins(1);
/// The time between two tries to hand in the last page.
const RETRY: Duration = Duration::from_millis(20);

/// The time between two writes at most, for an agent that takes its samples on time.
#[must_use]
pub fn longest_rest(interval: Duration) -> Duration {
    let mut rest = interval;
    while rest + SLACK < REST {
        rest += interval;
    }
    rest
}

/// What there is to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What the agent after this one has to know.
    pub memory: Memory,
    /// How long the machine has slept since boot.
    pub slept: Duration,
    /// The picture for people.
    pub status: Status,
}

impl Page {
    /// Whether nothing but time has passed since `before`.
    fn only_goes_on_from(&self, before: &Page) -> bool {
        self.status.only_goes_on_from(&before.status) && goes_on_from(&self.memory, &before.memory)
    }
}

/// A clock that has come further is the same clock; one that has not would let the next agent count too much.
fn goes_on_from(now: &Memory, before: &Memory) -> bool {
    let same_clock = match (now.running, before.running) {
        (None, None) => true,
        (Some(now), Some(before)) => now.clock == before.clock && now.elapsed >= before.elapsed,
        _ => false,
    };
    same_clock && now.efs_waited >= before.efs_waited && now.first_seen == before.first_seen
}

/// Where pages are handed in. Never waits, but at the end.
#[derive(Debug)]
pub struct Keeper {
    writer: Background<Page>,
    pace: Pace,
}

impl Keeper {
    /// A keeper that keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        Keeper { writer: Background::none(), pace: Pace::new(Moment(Duration::ZERO)) }
    }

    /// Takes up what `folder` holds from before, and keeps what is handed in from now on. What is wrong is told once.
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
        let (lock, boot_id) = match (lock(folder), boot_id) {
            (Ok(lock), Some(boot_id)) => (lock, boot_id.to_owned()),
            (Err(error), _) => {
                warn(format!("The clocks will not survive a restart: no {}: {}.", path.display(), chain(&error)));
                return Ok((Keeper::none(), None));
            }
            (Ok(_), None) => {
                warn(format!("The clocks will not survive a restart: {}.", StateError::NoBootId));
                return Ok((Keeper::none(), None));
            }
        };
        let memory = match small_file::read_own(&path) {
            Ok(text) => state_file::parse(&text, &boot_id, slept, now).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::Unreadable(error)),
        };
        let memory = memory.unwrap_or_else(|error| {
            warn(format!("{} is not taken up, and the clock starts at zero: {}.", path.display(), chain(&error)));
            None
        });
        let picture = folder.join(status::record::NAME);
        let pace = Pace::new(now);
        let mut pen = Pen { path, journal: journal.clone(), failing: Arc::clone(&pace.failing) };
        let of_this_agent = picture.clone();
        let work = move |Page { memory, slept, status }: Page| {
            // Held for as long as the thread lives.
            let _lock = &lock;
            pen.write(&state_file::text(&memory, &boot_id, slept));
            // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
            let text = serde_json::to_string(&status).unwrap_or_default();
            // A folder that cannot be written to was told of just now.
            let _ = whole_file::replace(&picture, &text, 0o644);
        };
        // There is no agent any more, and nothing keeps the picture true. What cannot be removed says when it was written.
        let end = move || drop(fs::remove_file(&of_this_agent));
        Ok((Keeper { writer: Background::start_with_end("files", work, end)?, pace }, memory))
    }

    /// Writes `page`, which is so at `now`, unless only time has passed since the last one.
    pub fn keep(&mut self, now: Moment, page: Page) {
        if self.pace.is_due(now, &page) && self.writer.hand_in(page.clone()).is_ok() {
            self.pace.last = Some((now, page));
        }
    }

    /// Hands in the last `page`, for which it waits no longer than `patience`.
    pub async fn last(&self, page: Page, patience: Duration) {
        let mut page = page;
        let handed_in = async {
            while let Err(back) = self.writer.hand_in(page) {
                page = back;
                time::sleep(RETRY).await;
            }
        };
        // Late is as good as never.
        let _ = time::timeout(patience, handed_in).await;
    }

    /// Waits until all is written and the picture is taken away, but no longer than `patience`.
    pub fn finish(self, patience: Duration) {
        self.writer.finish(patience);
    }
}

/// Decides when to write.
#[derive(Debug)]
struct Pace {
    started: Moment,
    last: Option<(Moment, Page)>,
    /// The last page is not in its file.
    failing: Arc<AtomicBool>,
}

impl Pace {
    fn new(started: Moment) -> Self {
        Pace { started, last: None, failing: Arc::default() }
    }

    fn is_due(&self, now: Moment, page: &Page) -> bool {
        let Some((at, last)) = &self.last else { return true };
        now.since(self.started) < BEGINNING
            || now.since(*at) + SLACK >= REST
            || self.failing.load(Ordering::Relaxed)
            || !page.only_goes_on_from(last)
    }
}

struct Pen {
    path: PathBuf,
    journal: Journal,
    failing: Arc<AtomicBool>,
}

impl Pen {
    fn write(&mut self, text: &str) {
        let path = self.path.display();
        let written = whole_file::replace(&self.path, text, 0o600);
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match (written, failed_before) {
            (Ok(()), false) | (Err(_), true) => {}
            (Ok(()), true) => {
                let text = format!("{path} is written again: the clocks survive a restart.");
                self.journal.tell(Level::INFO, Kind::StateFile, text, None);
            }
            (Err(error), false) => {
                let text = format!("The clocks would not survive a restart: cannot write {path}: {error}.");
                self.journal.tell(Level::WARN, Kind::StateFile, text, None);
            }
        }
    }
}

/// Held for as long as the file is open (flock(2)), so that a second agent does not write into the first one's state.
fn lock(folder: &Path) -> Result<File, StateError> {
    let lock = File::open(folder).map_err(StateError::Folder)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse),
        Err(errno) => Err(StateError::Folder(errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announcer::Announcer;
    use crate::config::Settings;
    use crate::host::Sample;
    use crate::idle::window::{Clock, Running};
    use crate::idle::{Efs, Reading, Rule, Seen, Socket};
    use crate::status::record::Subject;
    use crate::wall_time::millis;
    use jiff::Timestamp;
    use std::path::Path;

    const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";
    const NOW: Moment = Moment(Duration::from_hours(3));

    /// An agent that takes samples, and what it hands in.
    struct Agent {
        settings: Settings,
        announcer: Announcer,
        rule: Rule,
        now: Moment,
        wall: Timestamp,
    }

    impl Agent {
        fn start() -> Self {
            let settings = Settings::default();
            let announcer = Announcer::new(Journal::channel().0, &settings, true);
            let rule = Rule::new(settings.terms());
            Agent { settings, announcer, rule, now: NOW, wall: "2026-11-22T21:40:00.5Z".parse().unwrap() }
        }

        /// What it hands in after `seconds`, with `players` there then.
        fn sample(&mut self, seconds: u64, players: u16) -> Page {
            let passed = Duration::from_secs(seconds);
            (self.now, self.wall) = (self.now.plus(passed), self.wall + passed);
            let socket = |player| Socket {
                local: "192.0.2.1:25565".parse().unwrap(),
                peer: ([198, 51, 100, 7], 40000 + player).into(),
                inode: std::num::NonZeroU64::new(77 + u64::from(player)),
            };
            let seen = Seen { listener: true, sockets: (0..players).map(socket).collect() };
            let sample = Sample::of(Reading::Seen(seen));
            self.rule.observe(self.now, &sample.reading, Efs::Off);
            let subject = Subject {
                settings: &self.settings,
                circumstances: self.announcer.circumstances(),
                rule: &self.rule,
                sample: &sample,
                heartbeat_written: None,
                boot_id: BOOT,
            };
            let status = Status::new(&subject, self.now, self.wall);
            Page { memory: self.rule.memory(), slept: Duration::ZERO, status }
        }
    }

    /// Whether each sample of `agent`, five seconds apart, is written.
    fn written(pace: &mut Pace, agent: &mut Agent, samples: usize, players: u16) -> Vec<bool> {
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
        let (mut pace, mut agent) = (Pace::new(NOW), Agent::start());
        assert_eq!(written(&mut pace, &mut agent, 11, 0), [true; 11]);
        // The sentence changes with the minute in it: "stops in 14 min".
        let written = written(&mut pace, &mut agent, 120, 0);
        let count = written.iter().filter(|written| **written).count();
        assert!((40..=50).contains(&count), "{count} of 120");
        assert!(written.windows(3).all(|three| three.contains(&true)), "{written:?}");
    }

    #[test]
    fn a_long_evening_of_play_is_written_every_third_sample() {
        let (mut pace, mut agent) = (Pace::new(NOW), Agent::start());
        // Until everybody is a player.
        written(&mut pace, &mut agent, 20, 2);
        let written = written(&mut pace, &mut agent, 300, 2);
        assert_eq!(written.iter().filter(|written| **written).count(), 100);
    }

    #[test]
    fn what_changes_is_written_at_once() {
        let (mut pace, mut agent) = (Pace::new(NOW), Agent::start());
        written(&mut pace, &mut agent, 20, 0);
        let mut before = 0;
        for players in [1, 2, 1, 0] {
            // Old enough to be players, so that nothing changes any more; and the last sample was written.
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
            running: Some(Running { clock: Clock::Idle, elapsed: Duration::from_secs(seconds) }),
            ..Memory::default()
        };
        assert!(goes_on_from(&elapsed(60), &elapsed(55)) && goes_on_from(&elapsed(55), &elapsed(55)));
        assert!(!goes_on_from(&elapsed(0), &elapsed(55)));
        let (mut pace, mut agent) = (Pace::new(NOW), Agent::start());
        written(&mut pace, &mut agent, 40, 0);
        pace.failing.store(true, Ordering::Relaxed);
        assert_eq!(written(&mut pace, &mut agent, 4, 0), [true; 4]);
    }

    #[test]
    fn a_reader_gives_a_writer_that_rests_time_to_miss_two_writes() {
        let rests = [0.2, 0.3, 1.0, 5.0, 10.0, 60.0].map(|interval| {
            let rest = longest_rest(Duration::from_secs_f64(interval));
            assert!(rest + SLACK >= REST, "{interval}: {rest:?}");
            rest.as_millis()
        });
        assert_eq!(rests, [14_600, 14_700, 15_000, 15_000, 20_000, 60_000]);
        let status = Agent::start().sample(5, 0).status;
        assert_eq!(status.next_by_ms - status.at_ms, 3 * 15_000 + 1000);
    }

    #[tokio::test]
    async fn the_last_page_is_kept_whatever_was_written_when_and_the_picture_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _lines) = Journal::channel();
        let (mut keeper, _) = Keeper::open(folder.path(), Some(BOOT), Duration::ZERO, NOW, &journal).unwrap();
        let mut agent = Agent::start();
        for _ in 0..100 {
            let page = agent.sample(5, 0);
            keeper.keep(agent.now, page);
        }
        let last = agent.sample(5, 0);
        let elapsed = millis(last.memory.running.unwrap().elapsed);
        keeper.last(last, Duration::from_mins(1)).await;
        keeper.finish(Duration::from_mins(1));
        let kept = fs::read_to_string(folder.path().join(state_file::NAME)).unwrap();
        assert!(kept.contains(&format!("\"elapsed_ms\":{elapsed},")), "{elapsed}: {kept}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn is_kept_in_its_folder_and_by_one_agent_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let open = |boot| {
            let (journal, lines) = Journal::channel();
            let (keeper, memory) = Keeper::open(folder.path(), Some(boot), Duration::ZERO, NOW, &journal).unwrap();
            (keeper, memory, lines)
        };
        let (mut first, nothing, lines) = open(BOOT);
        assert_eq!(nothing, None);
        assert!(lines.try_recv().is_err(), "that there is no file yet is no news");
        let (_second, nothing, warnings) = open(BOOT);
        assert_eq!(nothing, None);
        assert!(warnings.try_recv().unwrap().text.contains("another mc-idle"));
        let page = Agent::start().sample(0, 2);
        first.keep(NOW, page.clone());
        drop(first);
        // The thread ends, and with it the lock, once it has written: until then there is another one.
        let again = std::iter::repeat_with(|| open(BOOT)).find(|(keeper, ..)| keeper.writer.works()).unwrap();
        assert_eq!(again.1, Some(page.memory));
        drop(again);
        let other = std::iter::repeat_with(|| open("other")).find(|(keeper, ..)| keeper.writer.works()).unwrap();
        assert_eq!(other.1, None);
        let warnings: Vec<_> = other.2.try_iter().map(|line| line.text).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("another boot"), "{warnings:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_once() {
        let (journal, lines) = Journal::channel();
        let folder = Path::new("/nonexistent/mc-idle");
        let (mut keeper, memory) = Keeper::open(folder, Some(BOOT), Duration::ZERO, NOW, &journal).unwrap();
        keeper.keep(NOW, Agent::start().sample(0, 0));
        assert_eq!(memory, None);
        let warnings: Vec<_> = lines.try_iter().map(|line| line.text).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("/nonexistent/mc-idle"), "{warnings:?}");
    }
}
