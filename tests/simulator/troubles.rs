//! What is wrong around the agent at a time: each thing until some time.

use mc_idle_rule::Efs;

use super::script::{Ms, SECOND, Side, Trouble, What};

/// The first answer of a new mount takes so long.
const PROBE: Ms = SECOND;

#[derive(Debug, Default)]
pub(crate) struct Troubles {
    row_omitted: Ms,
    own_blind: Ms,
    witness_blind: Ms,
    network_blind: Ms,
    mute: Ms,
    efs_hung: Ms,
    efs_missing: Ms,
    held: Ms,
    aws: [Ms; Trouble::NUMBER],
}

impl Troubles {
    /// Something of this begins.
    pub(crate) fn begin(&mut self, now: Ms, what: &What) {
        let last = |until: &mut Ms, lasts: Ms| *until = (*until).max(now + lasts);
        match *what {
            What::Omitted { lasts } => last(&mut self.row_omitted, lasts),
            What::Blind { side, lasts } => {
                if side != Side::Witness {
                    last(&mut self.own_blind, lasts);
                }
                if side != Side::Own {
                    last(&mut self.witness_blind, lasts);
                }
            }
            What::NetworkUnreadable { lasts } => last(&mut self.network_blind, lasts),
            What::Mute { lasts } => last(&mut self.mute, lasts),
            What::Aws { trouble, lasts } => last(&mut self.aws[trouble as usize], lasts),
            What::Efs { hung: true, lasts } => last(&mut self.efs_hung, lasts),
            What::Efs { hung: false, lasts } => last(&mut self.efs_missing, lasts),
            What::Hold { lasts } => last(&mut self.held, lasts),
            _ => {}
        }
    }

    /// The kernel's tables leave out a row.
    pub(crate) fn row_omitted(&self, now: Ms) -> bool {
        now < self.row_omitted
    }

    pub(crate) fn own_readable(&self, now: Ms) -> bool {
        self.own_blind <= now
    }

    pub(crate) fn witness_readable(&self, now: Ms) -> bool {
        self.witness_blind <= now
    }

    /// The first network beside the host's.
    pub(crate) fn network_readable(&self, now: Ms) -> bool {
        self.network_blind <= now
    }

    /// Until when the server is asked in vain.
    pub(crate) fn muted_until(&self) -> Ms {
        self.mute
    }

    pub(crate) fn mute(&self, now: Ms) -> bool {
        now < self.mute
    }

    pub(crate) fn held(&self, now: Ms) -> bool {
        now < self.held
    }

    pub(crate) fn aws(&self, now: Ms, trouble: Trouble) -> bool {
        now < self.aws[trouble as usize]
    }

    /// Until when AWS fails in any way.
    pub(crate) fn aws_until(&self) -> Ms {
        self.aws.into_iter().max().unwrap_or_default()
    }

    /// The mount, on a machine that came up at `booted`.
    pub(crate) fn efs(&self, now: Ms, booted: Ms) -> Efs {
        let proven = booted.max(self.efs_hung).max(self.efs_missing) + PROBE;
        match now {
            now if now < self.efs_missing => Efs::Missing,
            now if now < self.efs_hung => Efs::Hung,
            now if now < proven => Efs::Unproven,
            _ => Efs::Mounted,
        }
    }
}
