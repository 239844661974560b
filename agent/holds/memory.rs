//! `holds.json` in the runtime directory: the last answers of the hold sources, for the agent after a restart.
//!
//! Like `state.json` it is valid only in the boot that it was written in, and only if the machine has not been
//! suspended since. Times are on the monotonic clock, in milliseconds since boot; a hold by SSM parameter ends at a
//! wall clock time.

use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::Moment;
use serde::{Deserialize, Serialize};

use crate::clock::SLEEP;
use crate::clock::millis;
use crate::holds::ledger::{Claim, HoldEnd, HoldSource, PATIENCE, Remembered, Said};
use crate::holds::process::Process;
use crate::holds::tidy;

/// The file's name.
pub const NAME: &str = "holds.json";

const VERSION: u8 = 1;

/// Why the file is ignored.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("it is truncated or malformed")]
    Syntax(#[source] serde_json::Error),
    /// Another version of the agent wrote it.
    #[error("it has version {0}, not {VERSION}")]
    Version(u8),
    /// Written before a reboot.
    #[error("it is from another boot")]
    OtherBoot,
    #[error("the machine has slept since")]
    Slept,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerFile {
    v: u8,
    boot_id: String,
    slept_ms: u64,
    sources: Vec<SourceRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceRecord {
    asked: AskedRecord,
    waited_ms: u64,
    said: Vec<SaidRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AskedRecord {
    File,
    Locks,
    Sessions,
    Parameter(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidRecord {
    reason: String,
    first_ms: u64,
    end: EndRecord,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EndRecord {
    AtMs(u64),
    Wall(String),
    Process(Process),
    Open,
}

/// The text of the file. `slept` is how long the machine has been suspended since boot.
#[must_use]
pub fn text(memory: &[Remembered], boot_id: &str, slept: Duration) -> String {
    let sources = memory.iter().map(|remembered| SourceRecord {
        asked: match &remembered.question {
            HoldSource::File => AskedRecord::File,
            HoldSource::Locks => AskedRecord::Locks,
            HoldSource::Sessions => AskedRecord::Sessions,
            HoldSource::Parameter(name) => AskedRecord::Parameter(name.clone()),
        },
        waited_ms: millis(remembered.waited),
        said: remembered.said.iter().map(said_record).collect(),
    });
    let record =
        LedgerFile { v: VERSION, boot_id: boot_id.to_owned(), slept_ms: millis(slept), sources: sources.collect() };
    // Fails only for maps with non-string keys and for failing Serialize impls; there are none here.
    serde_json::to_string(&record).unwrap_or_default()
}

fn said_record(Said { claim, first }: &Said) -> SaidRecord {
    let end = match claim.end {
        HoldEnd::At(end) => EndRecord::AtMs(millis(end.0)),
        HoldEnd::Wall(end) => EndRecord::Wall(end.to_string()),
        HoldEnd::Process(process) => EndRecord::Process(process),
        HoldEnd::Open => EndRecord::Open,
    };
    SaidRecord { reason: claim.reason.clone(), first_ms: millis(first.0), end }
}

/// Parses the file in the boot `boot_id` at `now`, when the machine has been suspended for `slept` in total.
///
/// # Errors
/// Says why the file must be ignored.
pub fn parse(text: &[u8], boot_id: &str, slept: Duration, now: Moment) -> Result<Vec<Remembered>, MemoryError> {
    let record: LedgerFile = serde_json::from_slice(text).map_err(MemoryError::Syntax)?;
    if record.v != VERSION {
        return Err(MemoryError::Version(record.v));
    }
    if record.boot_id != boot_id {
        return Err(MemoryError::OtherBoot);
    }
    if slept.saturating_sub(Duration::from_millis(record.slept_ms)) >= SLEEP {
        return Err(MemoryError::Slept);
    }
    let remembered = record.sources.into_iter().map(|source| Remembered {
        question: match source.asked {
            AskedRecord::File => HoldSource::File,
            AskedRecord::Locks => HoldSource::Locks,
            AskedRecord::Sessions => HoldSource::Sessions,
            AskedRecord::Parameter(name) => HoldSource::Parameter(name),
        },
        said: source.said.into_iter().filter_map(|said| said_of(said, now)).collect(),
        waited: Duration::from_millis(source.waited_ms).min(PATIENCE),
    });
    Ok(remembered.collect())
}

/// `None`: the end of a hold by SSM parameter is not a time, which this agent never writes.
fn said_of(said: SaidRecord, now: Moment) -> Option<Said> {
    let end = match said.end {
        EndRecord::AtMs(end) => HoldEnd::At(Moment(Duration::from_millis(end))),
        EndRecord::Wall(end) => HoldEnd::Wall(end.parse::<Timestamp>().ok()?),
        EndRecord::Process(process) => HoldEnd::Process(process),
        EndRecord::Open => HoldEnd::Open,
    };
    // A first time in the future would prolong the hold.
    let first = Moment(Duration::from_millis(said.first_ms)).min(now);
    Some(Said { claim: Claim { reason: tidy(&said.reason), end }, first })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";
    const NOW: Moment = Moment(Duration::from_hours(3));

    fn memory() -> Vec<Remembered> {
        let said = |reason: &str, end| Said {
            claim: Claim { reason: reason.to_owned(), end },
            first: Moment(Duration::from_secs(5000)),
        };
        let remembered = |question, said, waited| Remembered { question, said, waited: Duration::from_secs(waited) };
        vec![
            remembered(HoldSource::File, vec![said("backup", HoldEnd::At(Moment(Duration::from_hours(5))))], 0),
            remembered(
                HoldSource::Locks,
                vec![
                    said("a \"copy\"", HoldEnd::Process(Process { id: 77, started: 9876 })),
                    said("further", HoldEnd::Open),
                ],
                15,
            ),
            remembered(HoldSource::Sessions, Vec::new(), 1800),
            remembered(
                HoldSource::Parameter("/servers/hold".to_owned()),
                vec![said("new plugins", HoldEnd::Wall("2026-11-22T22:00:00Z".parse().unwrap()))],
                0,
            ),
        ]
    }

    fn taken_up(text: &str) -> Result<Vec<Remembered>, MemoryError> {
        parse(text.as_bytes(), BOOT, Duration::ZERO, NOW)
    }

    #[test]
    fn comes_back_as_it_was() {
        for memory in [memory(), Vec::new()] {
            assert_eq!(taken_up(&text(&memory, BOOT, Duration::ZERO)).unwrap(), memory);
        }
    }

    #[test]
    fn a_cut_file_another_boot_a_sleep_and_another_version_are_not_taken_up() {
        let whole = text(&memory(), BOOT, Duration::ZERO);
        for end in 0..whole.len() {
            assert!(matches!(taken_up(&whole[..end]), Err(MemoryError::Syntax(_))), "cut at {end}");
        }
        assert!(matches!(parse(whole.as_bytes(), "another", Duration::ZERO, NOW), Err(MemoryError::OtherBoot)));
        assert!(matches!(parse(whole.as_bytes(), BOOT, SLEEP, NOW), Err(MemoryError::Slept)));
        assert!(parse(whole.as_bytes(), BOOT, SLEEP / 2, NOW).is_ok());
        assert!(matches!(taken_up(&whole.replace("\"v\":1", "\"v\":2")), Err(MemoryError::Version(2))));
    }

    #[test]
    fn nothing_was_first_said_in_the_future() {
        let whole = text(&memory(), BOOT, Duration::ZERO).replace(":5000000", ":99999999999");
        let firsts: Vec<Moment> =
            taken_up(&whole).unwrap().iter().flat_map(|source| &source.said).map(|said| said.first).collect();
        assert_eq!(firsts, [NOW; 4]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, BOOT, Duration::ZERO, NOW);
        }
    }
}
