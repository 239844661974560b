//! What one reading of the host shows.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

/// A point on a clock that no change of the wall clock moves, as the time since an arbitrary fixed point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time from `earlier` to here; zero if `earlier` is the later of the two.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(later))
    }
}

/// An ESTABLISHED row on a Minecraft port whose peer is not ignored.
///
/// Addresses are canonical: an IPv4-mapped IPv6 address is written as the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// The server's side.
    pub local: SocketAddr,
    /// The client's side.
    pub peer: SocketAddr,
    /// `None` (0 in the kernel's table): established by the kernel, not yet accepted by the server.
    pub inode: Option<NonZeroU64>,
}

/// A reading that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Something listens on a Minecraft port.
    pub listener: bool,
    /// The ESTABLISHED rows; may hold a row twice, since the kernel's tables are not a snapshot.
    pub sockets: Vec<Socket>,
}

/// One reading of the host. Unknown is never zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The tables were read in full.
    Seen(Seen),
    /// They were not; the text says what could not be read and why, without peer addresses.
    Unknown(String),
}

/// The state of the EFS mount that the server's world lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Efs {
    /// Nothing is on EFS.
    Off,
    /// Mounted, and it answers.
    Mounted,
    /// Mounted; whether it answers is being asked for the first time.
    Unproven,
    /// Not mounted.
    Missing,
    /// Mounted, and it does not answer.
    Hung,
}

impl Efs {
    /// Every word for it.
    pub const WORDS: [&str; 4] = ["mounted", "missing", "hung", "off"];

    /// The word for it in the heartbeat and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Efs::Off => "off",
            Efs::Mounted | Efs::Unproven => "mounted",
            Efs::Missing => "missing",
            Efs::Hung => "hung",
        }
    }

    /// Whether a due stop need not wait for it.
    #[must_use]
    pub fn ready(self) -> bool {
        matches!(self, Efs::Off | Efs::Mounted)
    }
}
