//! What systemd makes of an agent's notices (sd_notify(3)).

use std::thread;
use std::time::{Duration, Instant};

use super::{Notices, wait_until};

/// After this long without a word of life systemd would kill the agent.
pub const WATCHDOG: Duration = Duration::from_secs(3);

impl Notices {
    fn lines(&self) -> Vec<String> {
        self.all().iter().flat_map(|message| message.lines()).map(str::to_owned).collect()
    }

    /// How often it was told `line`.
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|told| *told == line).count()
    }

    /// Waits until it is told `line`, `READY=1` for example.
    pub fn wait_for(&self, line: &str) {
        wait_until(&format!("{line} comes"), || (self.count(line) > 0).then_some(()));
    }

    /// Every sentence so far.
    pub fn statuses(&self) -> Vec<String> {
        self.lines().iter().filter_map(|line| Some(line.strip_prefix("STATUS=")?.to_owned())).collect()
    }

    /// The sentence that stands now.
    pub fn status(&self) -> String {
        self.statuses().pop().unwrap_or_default()
    }

    /// Waits for a sentence that contains `text`, now or at any time before, and returns it.
    pub fn wait_for_status(&self, text: &str) -> String {
        wait_until(&format!("the status says {text:?}"), || {
            self.statuses().into_iter().find(|status| status.contains(text))
        })
    }

    /// What each forecast said, in seconds: "this instance stops in 57 s".
    pub fn countdown(&self) -> Vec<u64> {
        let seconds = |status: &String| status.split_once(" stops in ")?.1.split_once(" s ")?.0.parse().ok();
        self.statuses().iter().filter_map(seconds).collect()
    }

    /// Waits for a forecast of `seconds` or less.
    pub fn wait_for_countdown(&self, seconds: u64) {
        wait_until(&format!("{seconds} s are left"), || self.countdown().into_iter().find(|left| *left <= seconds));
    }

    /// Watches for a `while` whether samples are said to be on time, and fails the test when systemd would lose patience.
    pub fn assert_alive_for(&self, time: Duration) {
        let began = Instant::now();
        let (mut pings, mut last) = (self.count("WATCHDOG=1"), began);
        // For how long this test itself did not get on: a machine that stands still is no fault of the agent.
        let mut stood = Duration::ZERO;
        while began.elapsed() < time {
            let asleep = Instant::now();
            thread::sleep(Duration::from_millis(50));
            stood += asleep.elapsed().saturating_sub(Duration::from_millis(100));
            let told = self.count("WATCHDOG=1");
            if told > pings {
                (pings, last, stood) = (told, Instant::now(), Duration::ZERO);
            }
            assert!(
                last.elapsed().saturating_sub(stood) < WATCHDOG * 3 / 2,
                "no word of life for {WATCHDOG:?}; the status is {:?}",
                self.status()
            );
        }
    }
}
