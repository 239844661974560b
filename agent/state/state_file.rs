//! `state.json` in the runtime directory: lets the clocks survive a restart, an upgrade or a crash of the agent.
//!
//! It is valid only in the boot that it was written in, and only if the machine has not been suspended since. Any other
//! file is ignored, as is one that is not complete. [`crate::state::runtime_files`] writes and reads it.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use mc_idle_rule::clocks::{ClockKind, Running};
use mc_idle_rule::tracker::KnownConnection;
use mc_idle_rule::{Edition, ListenerId, Memory, Moment, NetworkId, Socket};
use serde::{Deserialize, Serialize};

use crate::clock::SLEEP;
use crate::clock::millis;

/// The file's name.
pub const NAME: &str = "state.json";

const VERSION: u8 = 2;

/// Why a state is ignored or cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read it")]
    Unreadable(#[source] io::Error),
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
    #[error("it counts more time than has passed since boot")]
    Impossible,
    #[error("another mc-idle uses its folder")]
    InUse,
    /// The lock file cannot be created, or something in its place cannot be moved away.
    #[error("cannot take the lock there")]
    NoLock(#[source] io::Error),
    /// The runtime directory cannot be opened.
    #[error("cannot use its folder")]
    Folder(#[source] io::Error),
    #[error("cannot read the boot id from the kernel")]
    NoBootId,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    v: u8,
    boot_id: String,
    slept_ms: u64,
    clock: Option<ClockName>,
    elapsed_ms: u64,
    no_player_ms: u64,
    last_player_ms: Option<u64>,
    efs_waited_ms: u64,
    joining_waited_ms: u64,
    join_ended_ms: Option<u64>,
    connections: Vec<ConnectionEntry>,
    answers: Vec<Answered>,
    // Earlier versions did not write the following.
    #[serde(default)]
    reclaimed_ms: Option<u64>,
    /// Networks, and ports there.
    #[serde(default)]
    followed: Vec<(u64, u16)>,
    /// Those of the settings.
    #[serde(default)]
    ports: BTreeSet<u16>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClockName {
    Idle,
    NoServer,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectionEntry {
    network: u64,
    local: SocketAddr,
    peer: SocketAddr,
    inode: u64,
    first_seen_ms: u64,
    listened: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    network: u64,
    edition: EditionName,
    address: SocketAddr,
    online: u32,
    at_ms: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EditionName {
    Java,
    Bedrock,
}

/// The text of the file. `slept` is how long the machine has been suspended since boot.
#[must_use]
pub fn text(memory: &Memory, boot_id: &str, slept: Duration) -> String {
    let record = StateFile {
        v: VERSION,
        boot_id: boot_id.to_owned(),
        slept_ms: millis(slept),
        clock: memory.running.map(|running| match running.clock {
            ClockKind::Idle => ClockName::Idle,
            ClockKind::NoServer | ClockKind::NoPlayer => ClockName::NoServer,
        }),
        elapsed_ms: memory.running.map_or(0, |running| millis(running.elapsed)),
        no_player_ms: millis(memory.no_player),
        last_player_ms: memory.last_player.map(|at| millis(at.0)),
        efs_waited_ms: millis(memory.efs_waited),
        joining_waited_ms: millis(memory.joining_waited),
        join_ended_ms: memory.join_ended.map(|at| millis(at.0)),
        connections: memory
            .connections
            .iter()
            .map(|KnownConnection { socket, first_seen, listened }| ConnectionEntry {
                network: socket.network.0,
                local: socket.local,
                peer: socket.peer,
                inode: socket.inode.map_or(0, NonZeroU64::get),
                first_seen_ms: millis(first_seen.0),
                listened: *listened,
            })
            .collect(),
        answers: memory
            .answers
            .iter()
            .map(|(listener, online, at)| Answered {
                network: listener.network.0,
                edition: match listener.edition {
                    Edition::Java => EditionName::Java,
                    Edition::Bedrock => EditionName::Bedrock,
                },
                address: listener.address,
                online: *online,
                at_ms: millis(at.0),
            })
            .collect(),
        reclaimed_ms: memory.reclaimed.map(|at| millis(at.0)),
        followed: memory.followed.iter().map(|(network, port)| (network.0, *port)).collect(),
        ports: memory.ports.clone(),
    };
    // Fails only for maps with non-string keys and for failing Serialize impls; there are none here.
    serde_json::to_string(&record).unwrap_or_default()
}

/// Parses the file in the boot `boot_id` at `now`, when the machine has been suspended for `slept` in total.
///
/// # Errors
/// Says why the file must be ignored.
pub fn parse(text: &[u8], boot_id: &str, slept: Duration, now: Moment) -> Result<Memory, StateError> {
    let record: StateFile = serde_json::from_slice(text).map_err(StateError::Syntax)?;
    if record.v != VERSION {
        return Err(StateError::Version(record.v));
    }
    if record.boot_id != boot_id {
        return Err(StateError::OtherBoot);
    }
    if slept.saturating_sub(Duration::from_millis(record.slept_ms)) >= SLEEP {
        return Err(StateError::Slept);
    }
    let counted = [record.elapsed_ms, record.no_player_ms, record.efs_waited_ms, record.joining_waited_ms];
    let [elapsed, no_player, efs_waited, joining_waited] = counted.map(Duration::from_millis);
    if elapsed.max(no_player).max(efs_waited).max(joining_waited) > now.0 {
        return Err(StateError::Impossible);
    }
    let moment = |ms| Moment(Duration::from_millis(ms));
    let running = record.clock.map(|clock| Running {
        clock: match clock {
            ClockName::Idle => ClockKind::Idle,
            ClockName::NoServer => ClockKind::NoServer,
        },
        elapsed,
    });
    let connections = record.connections.iter().map(|connection| KnownConnection {
        socket: Socket {
            network: NetworkId(connection.network),
            local: connection.local,
            peer: connection.peer,
            inode: NonZeroU64::new(connection.inode),
        },
        first_seen: moment(connection.first_seen_ms),
        listened: connection.listened,
    });
    let answers = record.answers.iter().map(|Answered { network, edition, address, online, at_ms }| {
        let edition = match edition {
            EditionName::Java => Edition::Java,
            EditionName::Bedrock => Edition::Bedrock,
        };
        let listener = ListenerId { network: NetworkId(*network), edition, address: *address };
        (listener, *online, moment(*at_ms))
    });
    Ok(Memory {
        running,
        no_player,
        last_player: record.last_player_ms.map(moment),
        efs_waited,
        joining_waited,
        join_ended: record.join_ended_ms.map(moment),
        reclaimed: record.reclaimed_ms.map(moment),
        connections: connections.collect(),
        answers: answers.collect(),
        followed: record.followed.into_iter().map(|(network, port)| (NetworkId(network), port)).collect(),
        ports: record.ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOOT: &str = "6c3ee4a9-56fb-4d3c-8a9b-7f2f4b0a0d3e";
    const NOW: Moment = Moment(Duration::from_hours(3));

    fn memory() -> Memory {
        let known = |network, peer: &str, inode, seconds| KnownConnection {
            socket: Socket {
                network: NetworkId(network),
                local: "192.0.2.1:25565".parse().unwrap(),
                peer: peer.parse().unwrap(),
                inode: NonZeroU64::new(inode),
            },
            first_seen: Moment(Duration::from_secs(seconds)),
            listened: inode != 0,
        };
        let listener = ListenerId {
            network: NetworkId(4_026_532_000),
            edition: Edition::Bedrock,
            address: "[::]:19132".parse().unwrap(),
        };
        Memory {
            running: Some(Running { clock: ClockKind::Idle, elapsed: Duration::from_secs(840) }),
            no_player: Duration::from_secs(900),
            last_player: Some(Moment(Duration::from_secs(100))),
            efs_waited: Duration::from_secs(7),
            joining_waited: Duration::from_secs(8),
            join_ended: Some(Moment(Duration::from_secs(6500))),
            reclaimed: Some(Moment(Duration::from_secs(6600))),
            connections: vec![
                known(0, "198.51.100.7:40000", 77, 5000),
                known(4_026_532_000, "[2001:db8::7]:40001", 0, 6000),
            ],
            answers: vec![(listener, 2, Moment(Duration::from_secs(7000)))],
            followed: [(NetworkId(4_026_532_000), 25577)].into(),
            ports: [25565].into(),
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
    fn a_state_that_an_earlier_version_has_written_is_taken_up() {
        let memory = Memory { reclaimed: None, followed: BTreeSet::new(), ports: BTreeSet::new(), ..memory() };
        let whole = text(&memory, BOOT, Duration::ZERO);
        let earlier = whole.replace(r#","reclaimed_ms":null,"followed":[],"ports":[]"#, "");
        assert_ne!(earlier, whole);
        assert_eq!(taken_up(&earlier).unwrap(), memory);
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
        assert!(matches!(taken_up(&whole.replace("\"v\":2", "\"v\":3")), Err(StateError::Version(3))));
        assert!(matches!(taken_up(&whole.replace(":840000", ":999999999")), Err(StateError::Impossible)));
        assert!(matches!(taken_up(&whole.replace("\"v\":2", "\"v\":2,\"more\":1")), Err(StateError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, BOOT, Duration::ZERO, NOW);
        }
    }
}
