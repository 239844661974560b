//! What must survive a restart of the agent, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use super::answers::ListenerId;
use super::clocks::Running;
use super::facts::NetworkId;
use super::moment::Moment;
use super::tracker::KnownConnection;

/// The saved state of a rule. Its moments are valid only on the clock they were read from: within the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// The idle or the no-server clock.
    pub running: Option<Running>,
    /// Readable time without a player.
    pub no_player: Duration,
    pub last_player: Option<Moment>,
    pub efs_waited: Duration,
    pub joining_waited: Duration,
    /// When a connection that may have been an attempt to join last ended.
    pub join_ended: Option<Moment>,
    /// When EC2 first gave notice that it takes the instance back.
    pub reclaimed: Option<Moment>,
    pub connections: Vec<KnownConnection>,
    /// How many were online according to each server, and when it was asked.
    pub answers: Vec<(ListenerId, u32, Moment)>,
    /// Ports of containers to which docker-proxy has led.
    pub followed: BTreeSet<(NetworkId, u16)>,
    /// The ports of the settings, from which it has led there.
    pub ports: BTreeSet<u16>,
}
