//! `state.json` in the runtime directory: what lets the clocks survive a restart, an upgrade or a crash of the agent.
//!
//! It is worth something only in the boot that it was written in, and only if the machine has not slept since: anything
//! else, and anything that is not whole, is another evening and is not taken up. [`crate::keeper`] writes and reads it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::SLEEP;
use crate::idle::window::{Clock, Running};
use crate::idle::{Memory, Moment, Socket};
use crate::wall_time::millis;

/// The file's name.
pub const NAME: &str = "state.json";

const VERSION: u8 = 1;

/// Why a state is not taken up.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file is there and cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is cut, or no state at all.
    #[error("it is cut or wrong")]
    Syntax(#[source] serde_json::Error),
    /// A later or earlier agent wrote it in another form.
    #[error("it has version {0}, not {VERSION}")]
    Version(u8),
    /// It was written before a reboot.
    #[error("it is from another boot")]
    OtherBoot,
    /// The machine has slept since it was written.
    #[error("the machine has slept since")]
    Slept,
    /// It counts more time than the machine has been up for.
    #[error("it counts more time than has passed since boot")]
    Impossible,
    /// Another agent uses the runtime directory.
    #[error("another mc-idle uses its folder")]
    InUse,
    /// The runtime directory cannot be used.
    #[error("its folder cannot be used")]
    Folder(#[source] io::Error),
    /// The kernel does not tell which boot this is.
    #[error("the kernel does not tell which boot this is")]
    NoBootId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    v: u8,
    boot_id: String,
    slept_ms: u64,
    clock: Option<ClockName>,
    elapsed_ms: u64,
    efs_waited_ms: u64,
    connections: Vec<Connection>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClockName {
    Idle,
    NoServer,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Connection {
    local: SocketAddr,
    peer: SocketAddr,
    inode: u64,
    first_seen_ms: u64,
}

/// The text of the file. `slept` is how long the machine has slept since boot.
#[must_use]
pub fn text(memory: &Memory, boot_id: &str, slept: Duration) -> String {
    let record = Record {
        v: VERSION,
        boot_id: boot_id.to_owned(),
        slept_ms: millis(slept),
        clock: memory.running.map(|running| match running.clock {
            Clock::Idle => ClockName::Idle,
            Clock::NoServer => ClockName::NoServer,
        }),
        elapsed_ms: memory.running.map_or(0, |running| millis(running.elapsed)),
        efs_waited_ms: millis(memory.efs_waited),
        connections: memory
            .first_seen
            .iter()
            .map(|(socket, at)| Connection {
                local: socket.local,
                peer: socket.peer,
                inode: socket.inode.map_or(0, NonZeroU64::get),
                first_seen_ms: millis(at.0),
            })
            .collect(),
    };
    // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
    serde_json::to_string(&record).unwrap_or_default()
}

/// What a file says that is read in the boot `boot_id` at `now`, after `slept` in all.
///
/// # Errors
/// Why it is not to be taken up.
pub fn parse(text: &[u8], boot_id: &str, slept: Duration, now: Moment) -> Result<Memory, StateError> {
    let record: Record = serde_json::from_slice(text).map_err(StateError::Syntax)?;
    if record.v != VERSION {
        return Err(StateError::Version(record.v));
    }
    if record.boot_id != boot_id {
        return Err(StateError::OtherBoot);
    }
    if slept.saturating_sub(Duration::from_millis(record.slept_ms)) >= SLEEP {
        return Err(StateError::Slept);
    }
    let (elapsed, efs_waited) = (Duration::from_millis(record.elapsed_ms), Duration::from_millis(record.efs_waited_ms));
    if elapsed.max(efs_waited) > now.0 {
        return Err(StateError::Impossible);
    }
    let running = record.clock.map(|clock| Running {
        clock: match clock {
            ClockName::Idle => Clock::Idle,
            ClockName::NoServer => Clock::NoServer,
        },
        elapsed,
    });
    let first_seen = record.connections.iter().map(|connection| {
        let socket =
            Socket { local: connection.local, peer: connection.peer, inode: NonZeroU64::new(connection.inode) };
        (socket, Moment(Duration::from_millis(connection.first_seen_ms)))
    });
    Ok(Memory { running, efs_waited, first_seen: first_seen.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";
    const NOW: Moment = Moment(Duration::from_hours(3));

    fn memory() -> Memory {
        let socket = |peer: &str, inode| Socket {
            local: "192.0.2.1:25565".parse().unwrap(),
            peer: peer.parse().unwrap(),
            inode: NonZeroU64::new(inode),
        };
        Memory {
            running: Some(Running { clock: Clock::Idle, elapsed: Duration::from_secs(840) }),
            efs_waited: Duration::from_secs(7),
            first_seen: vec![
                (socket("198.51.100.7:40000", 77), Moment(Duration::from_secs(5000))),
                (socket("[2001:db8::7]:40001", 0), Moment(Duration::from_secs(6000))),
            ],
        }
    }

    fn taken_up(text: &str) -> Result<Memory, StateError> {
        parse(text.as_bytes(), BOOT, Duration::ZERO, NOW)
    }

    #[test]
    fn comes_back_as_it_was() {
        for memory in [memory(), Memory::default()] {
            assert_eq!(taken_up(&text(&memory, BOOT, Duration::ZERO)).unwrap(), memory);
        }
    }

    #[test]
    fn a_cut_file_is_not_taken_up() {
        let whole = text(&memory(), BOOT, Duration::ZERO);
        for end in 0..whole.len() {
            assert!(matches!(taken_up(&whole[..end]), Err(StateError::Syntax(_))), "cut at {end}");
        }
    }

    #[test]
    fn another_boot_a_sleep_another_version_and_a_time_that_cannot_be_are_not_taken_up() {
        let whole = text(&memory(), BOOT, Duration::ZERO);
        assert!(matches!(parse(whole.as_bytes(), "another", Duration::ZERO, NOW), Err(StateError::OtherBoot)));
        assert!(matches!(parse(whole.as_bytes(), BOOT, SLEEP, NOW), Err(StateError::Slept)));
        assert!(parse(whole.as_bytes(), BOOT, SLEEP / 2, NOW).is_ok());
        assert!(matches!(taken_up(&whole.replace("\"v\":1", "\"v\":2")), Err(StateError::Version(2))));
        assert!(matches!(taken_up(&whole.replace(":840000", ":999999999")), Err(StateError::Impossible)));
        assert!(matches!(taken_up(&whole.replace("\"v\":1", "\"v\":1,\"more\":1")), Err(StateError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, BOOT, Duration::ZERO, NOW);
        }
    }
}
