//! Holds: somebody wants the instance to stay up, until an end and for a reason.
//!
//! An operator's hold is the file `hold.json` in the runtime directory. Its end is a moment on the clock that no change of
//! the wall clock moves, so it is over by itself; and it is worth nothing after a reboot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::settings::HoldSettings;
use crate::error::chain;
use crate::idle::Moment;
use crate::wall_time::millis;
use crate::{small_file, whole_file};

/// The file's name.
pub const NAME: &str = "hold.json";
/// The longest hold.
pub const LONGEST: Duration = Duration::from_hours(7 * 24);
/// A stop that is due at the start waits for this long to hear of holds.
const FIRST_ANSWERS: Duration = Duration::from_secs(30);
/// The longest reason that is kept, in characters.
const REASON_LONGEST: usize = 200;
const VERSION: u8 = 1;

/// Where a hold comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `mc-idle hold`.
    Operator,
    /// An inhibitor lock of logind (systemd-inhibit(1)).
    Inhibitor,
    /// A logged-in SSH session.
    Ssh,
    /// The parameter `hold.parameter`.
    Parameter,
}

/// A hold in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Where it comes from.
    pub source: Source,
    /// Why.
    pub reason: String,
    /// The time until it ends; `None`: it ends when whoever holds it lets go.
    pub left: Option<Duration>,
}

/// The hold that lasts longest, for whoever has room for one.
#[must_use]
pub fn longest(holds: &[Hold]) -> Option<&Hold> {
    holds.iter().max_by_key(|hold| hold.left.unwrap_or(Duration::MAX))
}

/// Holds that others know of, and what of them cannot be known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The holds.
    pub holds: Vec<Hold>,
    /// Why not all is known.
    pub trouble: Option<String>,
    /// Somebody who may know of a hold has not been heard yet since the start.
    pub pending: bool,
}

/// A remote hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// When it ends, on the wall clock: whoever places it knows no other.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// What the parameter `hold.parameter` says: an RFC 3339 time and, behind a space, a reason.
#[must_use]
pub fn remote(value: &str) -> Option<Remote> {
    let value = value.trim();
    let (until, reason) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let reason = tidy(reason);
    let reason = if reason.is_empty() { "no reason is given".to_owned() } else { reason };
    Some(Remote { until: until.parse().ok()?, reason })
}

impl Remote {
    /// The hold that it is at `wall`; `None` when it is over.
    #[must_use]
    pub fn at(&self, wall: Timestamp) -> Option<Hold> {
        let left = Duration::try_from(self.until.duration_since(wall)).ok().filter(|left| !left.is_zero())?;
        Some(Hold { source: Source::Parameter, reason: self.reason.clone(), left: Some(left) })
    }
}

/// What is known of the remote hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoteKnown {
    /// The last that could be read.
    pub remote: Option<Remote>,
    /// Why it cannot be read now.
    pub trouble: Option<String>,
    /// It has been asked for.
    pub asked: bool,
}

/// Where holds are looked for.
#[derive(Debug)]
pub struct HoldSources {
    /// The runtime directory.
    pub folder: PathBuf,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// What logind knows.
    pub logind: watch::Receiver<Known>,
    /// What the parameter says.
    pub remote: watch::Receiver<RemoteKnown>,
    /// Who may hold.
    pub settings: watch::Receiver<HoldSettings>,
    /// When the agent was started.
    pub started: Moment,
}

impl HoldSources {
    /// Every hold in force at `now`, which is `wall` for people, and what cannot be taken up.
    #[must_use]
    pub fn in_force(&self, now: Moment, wall: Timestamp) -> Known {
        let (own, own_trouble) = match read(&self.folder, &self.boot_id, now) {
            Ok(hold) => (hold, None),
            Err(error) => (None, Some(chain(&error))),
        };
        let (logind, remote) = (self.logind.borrow(), self.remote.borrow());
        let from_afar = remote.remote.as_ref().and_then(|remote| remote.at(wall));
        let unheard = logind.pending || (self.settings.borrow().parameter.is_some() && !remote.asked);
        let troubles: Vec<&str> =
            [&own_trouble, &logind.trouble, &remote.trouble].into_iter().flatten().map(String::as_str).collect();
        Known {
            holds: own.into_iter().chain(from_afar).chain(logind.holds.iter().cloned()).collect(),
            trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
            pending: unheard && now.since(self.started) < FIRST_ANSWERS,
        }
    }
}

/// Why a hold is not taken up, placed or ended.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is cut, wrong, or from another version.
    #[error("{} is no hold", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written or removed.
    #[error("cannot change {}; run this as root or as a member of the group mc-idle", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u8,
    boot_id: String,
    until_ms: u64,
    reason: String,
}

/// Reads a duration as `mc-idle hold` takes it: a number with `m`, `h` or `d` behind it, over 0 and at most 7 days.
///
/// # Errors
/// What is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let allowed = || format!("{text:?} is no duration: write 90m, 2h or 1d, at most 7d");
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

/// Places a hold in `folder`, in the place of the one that is there.
///
/// # Errors
/// The folder cannot be written to.
pub fn place(folder: &Path, boot_id: &str, until: Moment, reason: &str) -> Result<(), HoldError> {
    let record = Record { v: VERSION, boot_id: boot_id.to_owned(), until_ms: millis(until.0), reason: tidy(reason) };
    let path = folder.join(NAME);
    // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
    let text = serde_json::to_string(&record).unwrap_or_default();
    whole_file::replace(&path, &text, 0o644).map_err(|source| HoldError::Unwritable { path, source })
}

/// Ends the hold in `folder`. Returns whether there was a file of one.
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

/// The hold in `folder` that is in force at `now`, in the boot `boot_id`.
///
/// # Errors
/// There is a file, and it is no hold.
pub fn read(folder: &Path, boot_id: &str, now: Moment) -> Result<Option<Hold>, HoldError> {
    let path = folder.join(NAME);
    match small_file::read(&path) {
        Ok(text) => parse(&text, boot_id, now).ok_or(HoldError::Wrong { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HoldError::Unreadable { path, source }),
    }
}

/// What the text of the file says: outer `None` if it is no hold, inner if it is none any more.
#[must_use]
pub fn parse(text: &[u8], boot_id: &str, now: Moment) -> Option<Option<Hold>> {
    let record: Record = serde_json::from_slice(text).ok().filter(|record: &Record| record.v == VERSION)?;
    let until = Moment(Duration::from_millis(record.until_ms));
    if record.boot_id != boot_id || until <= now {
        return Some(None);
    }
    let left = until.since(now);
    let hold = Hold { source: Source::Operator, reason: tidy(&record.reason), left: Some(left) };
    (left <= LONGEST).then_some(Some(hold))
}

/// One line of a length that every place has room for.
#[must_use]
pub fn tidy(reason: &str) -> String {
    let line: String = reason.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    line.trim().chars().take(REASON_LONGEST).collect()
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

    #[test]
    fn a_hold_ends_by_itself_by_release_and_with_the_boot() {
        let folder = tempfile::tempdir().unwrap();
        let left = Duration::from_mins(6);
        let until = NOW.plus(left);
        place(folder.path(), "boot", until, "nightly\nbackup ").unwrap();
        let hold = Hold { source: Source::Operator, reason: "nightly backup".to_owned(), left: Some(left) };
        assert_eq!(read(folder.path(), "boot", NOW).unwrap(), Some(hold));
        assert_eq!(read(folder.path(), "boot", until).unwrap(), None);
        assert_eq!(read(folder.path(), "another", NOW).unwrap(), None);
        assert!(release(folder.path()).unwrap());
        assert!(!release(folder.path()).unwrap());
        assert_eq!(read(folder.path(), "boot", NOW).unwrap(), None);
    }

    #[test]
    fn a_remote_hold_is_a_time_and_a_reason() {
        let wall: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let hold =
            |value| remote(value).and_then(|remote| remote.at(wall)).map(|hold| (hold.left.unwrap(), hold.reason));
        let hours = |hours| Duration::from_hours(hours);
        assert_eq!(hold("2026-11-22T22:00:00Z big build\n"), Some((hours(2), "big build".to_owned())));
        assert_eq!(hold("2026-11-22T22:00:00+01:00"), Some((hours(1), "no reason is given".to_owned())));
        assert_eq!(hold("2026-11-22T20:00:00Z over"), None);
        for wrong in ["", "none", "2026-11-22", "2h because", "22:00 late"] {
            assert_eq!(remote(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_hold_without_an_end_lasts_longest() {
        let hold = |left| Hold { source: Source::Operator, reason: String::new(), left };
        let holds = [hold(Some(Duration::ZERO)), hold(None), hold(Some(LONGEST))];
        assert_eq!(longest(&holds), Some(&holds[1]));
        assert_eq!(longest(&[]), None);
    }

    proptest! {
        #[test]
        fn no_file_holds_longer_than_the_longest_hold(bytes in prop::collection::vec(any::<u8>(), 0..200), until in any::<u64>()) {
            let _ = parse(&bytes, "boot", NOW);
            let text = format!(r#"{{"v":1,"boot_id":"boot","until_ms":{until},"reason":"x"}}"#);
            if let Some(Some(hold)) = parse(text.as_bytes(), "boot", NOW) {
                prop_assert!(hold.left.unwrap() <= LONGEST);
            }
        }
    }
}
