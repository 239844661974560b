//! The states of the EFS mount, and which of them a due stop waits for.

/// The state of the EFS mount that the server's world lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Efs {
    /// Nothing is on EFS.
    Off,
    /// Mounted and responding.
    Mounted,
    /// Mounted; the first probe has no result yet.
    Unproven,
    Missing,
    /// Mounted but not responding.
    Hung,
}

impl Efs {
    /// All words for it.
    pub const WORDS: [&str; 4] = ["mounted", "missing", "hung", "off"];

    /// Its word in the heartbeat and the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Efs::Off => "off",
            Efs::Mounted | Efs::Unproven => "mounted",
            Efs::Missing => "missing",
            Efs::Hung => "hung",
        }
    }

    /// Whether a due stop does not have to wait for it.
    #[must_use]
    pub fn ready(self) -> bool {
        matches!(self, Efs::Off | Efs::Mounted)
    }
}
