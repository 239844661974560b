//! The heartbeat: what an instance publishes about itself, in one flat JSON object in an SSM parameter. It is the only
//! contract between the programs of mc-idle.
//!
//! * [`Heartbeat`]: its fields. The agent writes it, everybody else reads it; readers ignore fields that they do not
//!   know.
//! * [`text`]: how it is written, in under 1 KB whatever it contains.
//! * [`hold`]: the way back, a hold that somebody sets in another parameter.
//! * [`life`]: until when a reader may assume that its writer is alive.
//!
//! `schema.json` is its JSON schema, and `examples/` has an example of every state.

pub mod hold;
pub mod life;
pub mod text;
pub mod time;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u8 = 1;

/// The state of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// No sample has been taken yet.
    Starting,
    /// Nothing listens on the Minecraft port.
    NoServer,
    Occupied,
    /// A server listens and nobody plays.
    Idle,
    /// The idle time is over, and the stop waits for something.
    Due,
    /// Not everything can be seen, and no player was.
    Blind,
    /// A stop is being requested, or was accepted.
    Stopping,
    /// A stop failed, and will be retried.
    StopFailed,
    /// The agent has exited, and the instance is not monitored.
    Ended,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The state of the EFS mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EfsState {
    /// Mounted and responding.
    Mounted,
    Missing,
    /// Mounted but not responding.
    Hung,
    /// Nothing is on EFS.
    Off,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What an instance says about itself. Unless stated otherwise, `None` means unknown, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`VERSION`].
    pub v: u8,
    /// Such as `i-0123456789abcdef0`.
    pub instance_id: String,
    /// The kernel's id of this boot (random(4)).
    pub boot_id: String,
    /// The version of the agent.
    pub agent: String,
    pub state: AgentState,
    /// Connections that count as players.
    pub players: Option<u64>,
    /// Connections too young to count.
    pub young: Option<u64>,
    /// Whether a server listens.
    pub listening: Option<bool>,
    /// How many are online according to the server itself; `None`: it does not answer.
    pub online: Option<u32>,
    /// Those of them that the server names, joined by `, `.
    pub names: Option<String>,
    /// When a player was last there; `None`: not since boot.
    #[serde(with = "time::optional")]
    pub last_player_at: Option<Timestamp>,
    /// How far the clock that runs towards a stop has advanced.
    pub idle_seconds: Option<u64>,
    /// When the stop is due on that clock.
    pub window_seconds: Option<u64>,
    /// When the stop is due, if nothing changes.
    #[serde(with = "time::optional")]
    pub stop_at: Option<Timestamp>,
    /// Until when the instance is held; `None`: it is not held, or held without an end.
    #[serde(with = "time::optional")]
    pub held_until: Option<Timestamp>,
    pub hold_reason: Option<String>,
    /// The state of the mount that the world lives on.
    pub efs: EfsState,
    /// One sentence for people.
    pub why: String,
    /// When this was written, by the instance's own clock.
    #[serde(with = "time::required")]
    pub at: Timestamp,
    /// When the next one follows at the latest, by the same clock.
    #[serde(with = "time::required")]
    pub next_by: Timestamp,
}
