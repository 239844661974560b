//! `hold.json` in the runtime directory, which `mc-idle hold` writes.
//!
//! A hold ends by itself, at a moment on the monotonic clock, which changes of the wall clock do not move. It is void
//! after a reboot or a suspend of the machine.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use mc_idle_rule::Moment;
use mc_service::{small_file, whole_file};
use serde::{Deserialize, Serialize};

use crate::clock::SLEEP;
use crate::clock::millis;
use crate::holds::ledger::{Claim, HoldEnd};
use crate::holds::{LONGEST, tidy};

/// The file's name.
pub const NAME: &str = "hold.json";
const VERSION: u8 = 1;

/// Why a hold cannot be read, placed or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The file is truncated, malformed, or from another version.
    #[error("{} is not a valid hold; mc-idle release removes it", path.display())]
    Wrong { path: PathBuf },
    /// The file cannot be written or removed.
    #[error("cannot change {}; run this as root or as a member of the group mc-idle", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldFile {
    v: u8,
    boot_id: String,
    until_ms: u64,
    reason: String,
    /// How long the machine had been suspended since boot. Earlier versions did not write this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slept_ms: Option<u64>,
}

/// When a file is read or written.
#[derive(Debug, Clone, Copy)]
pub struct Time<'a> {
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
    /// How long the machine has been suspended since boot.
    pub slept: Duration,
    pub now: Moment,
}

/// Parses the duration of `mc-idle hold`: a number followed by `m`, `h` or `d`, over 0 and at most 7 days.
///
/// # Errors
/// Says what is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let allowed = || format!("{text:?} is not a duration; use 90m, 2h or 1d, at most 7d");
    let unit = match text.chars().last() {
        Some('m') => 60.0,
        Some('h') => 3600.0,
        Some('d') => 86400.0,
        _ => return Err(allowed()),
    };
    let number = text.get(..text.len() - 1).unwrap_or_default();
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| is_plain).ok_or_else(allowed)? * unit;
    if seconds > 0.0 && seconds <= LONGEST.as_secs_f64() {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(allowed())
    }
}

/// Places a hold for `duration` in `folder`, replacing the previous one.
///
/// # Errors
/// The folder cannot be written to.
pub fn place(folder: &Path, time: Time<'_>, duration: Duration, reason: &str) -> Result<(), HoldError> {
    let record = HoldFile {
        v: VERSION,
        boot_id: time.boot_id.to_owned(),
        until_ms: millis(time.now.plus(duration).0),
        reason: tidy(reason),
        slept_ms: Some(millis(time.slept)),
    };
    let path = folder.join(NAME);
    // Fails only for maps with non-string keys and for failing Serialize impls; there are none here.
    let text = serde_json::to_string(&record).unwrap_or_default();
    whole_file::replace(&path, &text, 0o644).map_err(|source| HoldError::Unwritable { path, source })
}

/// Ends the hold in `folder`. Returns whether there was a file.
///
/// # Errors
/// The folder cannot be written to.
pub fn release(folder: &Path) -> Result<bool, HoldError> {
    let path = folder.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(HoldError::Unwritable { path, source }),
    }
}

/// The hold in `folder`, if one is in force at this `time`.
///
/// # Errors
/// There is a file that cannot be read or is not a valid hold.
pub fn read(folder: &Path, time: Time<'_>) -> Result<Option<Claim>, HoldError> {
    let path = folder.join(NAME);
    match small_file::read(&path) {
        Ok(text) => parse(&text, time).ok_or(HoldError::Wrong { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HoldError::Unreadable { path, source }),
    }
}

/// Parses the file: the outer `None` means not a valid hold, the inner one a hold that has ended.
#[must_use]
pub fn parse(text: &[u8], time: Time<'_>) -> Option<Option<Claim>> {
    let record: HoldFile = serde_json::from_slice(text).ok().filter(|record: &HoldFile| record.v == VERSION)?;
    let until = Moment(Duration::from_millis(record.until_ms));
    let has_slept =
        record.slept_ms.is_some_and(|before| time.slept.saturating_sub(Duration::from_millis(before)) >= SLEEP);
    if record.boot_id != time.boot_id || has_slept || until <= time.now {
        return Some(None);
    }
    let claim = Claim { reason: tidy(&record.reason), end: HoldEnd::At(until) };
    (until.since(time.now) <= LONGEST).then_some(Some(claim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment(Duration::from_secs(1000));

    #[test]
    fn durations_are_taken_as_people_write_them() {
        let minutes = |text| parse_duration(text).map(|duration| duration.as_secs() / 60);
        assert_eq!(["90m", "2h", "1d", "0.5h", "7d"].map(minutes), [90, 120, 1440, 30, 10080].map(Ok));
        for wrong in
            ["", "m", "90", "2 h", "-1h", "0m", "7.1d", "8d", "1e3m", "inf m", "infm", "nanh", "1w", "2hé", "é"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
    }

    fn time(boot_id: &str, now: Moment) -> Time<'_> {
        Time { boot_id, slept: Duration::from_secs(10), now }
    }

    #[test]
    fn a_hold_ends_by_itself_by_release_with_the_boot_and_with_a_sleep() {
        let folder = tempfile::tempdir().unwrap();
        let left = Duration::from_mins(6);
        let until = NOW.plus(left);
        let here = time("boot", NOW);
        let found = |time| read(folder.path(), time).unwrap();
        place(folder.path(), here, left, "nightly\nbackup ").unwrap();
        assert_eq!(found(here), Some(Claim { reason: "nightly backup".to_owned(), end: HoldEnd::At(until) }));
        assert_eq!(found(time("boot", until)), None);
        assert_eq!(found(time("another", NOW)), None);
        assert_eq!(found(Time { slept: Duration::from_secs(11), ..here }), None);
        assert!(release(folder.path()).unwrap());
        assert!(!release(folder.path()).unwrap());
        assert_eq!(found(here), None);
    }

    #[test]
    fn a_hold_that_an_earlier_version_has_placed_holds() {
        let text = br#"{"v":1,"boot_id":"boot","until_ms":1001000,"reason":"upgrade"}"#;
        assert!(parse(text, time("boot", NOW)).unwrap().is_some());
    }

    proptest! {
        #[test]
        fn no_file_holds_longer_than_the_longest_hold(bytes in prop::collection::vec(any::<u8>(), 0..200), until in any::<u64>()) {
            let _ = parse(&bytes, time("boot", NOW));
            let text = format!(r#"{{"v":1,"boot_id":"boot","until_ms":{until},"reason":"x"}}"#);
            if let Some(Some(Claim { end, .. })) = parse(text.as_bytes(), time("boot", NOW)) {
                prop_assert!(matches!(end, HoldEnd::At(end) if end.since(NOW) <= LONGEST));
            }
        }
    }
}
