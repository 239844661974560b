//! What differs between protocols, as data. An id is never guessed: of a protocol that is newer than this table, only the
//! login is spoken, whose ids have not changed since 1.13.

use std::collections::BTreeMap;

/// What follows the properties in Login Success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuccessTail {
    Nothing,
    /// Whether the client is to end at a packet that it does not understand.
    StrictErrorHandling,
    /// The UUID of the session.
    SessionId,
}

/// The ids of packets to the client in the configuration state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationIds {
    pub disconnect: u32,
    pub keep_alive: u32,
    pub transfer: u32,
    pub success_tail: SuccessTail,
}

/// The versions that can be transferred, first and last protocol. Sources: PrismarineJS/minecraft-data 3.119.0 up to 775,
/// PicoLimbo's copy of the game's own packet report for 776, and the game's source for 777.
const BUILT_IN: [(u32, u32, ConfigurationIds); 4] = [
    // 1.20.5 to 1.21.1
    (
        766,
        767,
        ConfigurationIds {
            disconnect: 2,
            keep_alive: 4,
            transfer: 0x0b,
            success_tail: SuccessTail::StrictErrorHandling,
        },
    ),
    // 1.21.2 to 26.1
    (768, 775, ConfigurationIds { disconnect: 2, keep_alive: 4, transfer: 0x0b, success_tail: SuccessTail::Nothing }),
    // 26.2
    (776, 776, ConfigurationIds { disconnect: 2, keep_alive: 4, transfer: 0x0b, success_tail: SuccessTail::SessionId }),
    // 26.3
    (777, 777, ConfigurationIds { disconnect: 2, keep_alive: 4, transfer: 0x0c, success_tail: SuccessTail::SessionId }),
];

/// The newest protocol that is built in, and the version that speaks it.
pub const NEWEST: (u32, &str) = (777, "26.3");
/// 1.13, the first one that answers plugin requests during a login.
const FIRST_PLUGIN_REQUEST: u32 = 393;
/// Set in the numbers of snapshots (minecraft.wiki, "Protocol version").
const SNAPSHOT: u32 = 1 << 30;

/// How somebody who speaks a protocol can be held, and handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Neither: before 1.13.
    Brief,
    /// Held by plugin requests in the login, and told where to go.
    Plugin,
    /// Held in the configuration, and transferred.
    Transfer(ConfigurationIds),
}

/// Which protocol has which ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolTable(BTreeMap<u32, ConfigurationIds>);

impl Default for ProtocolTable {
    /// What is built in.
    fn default() -> Self {
        let rows =
            BUILT_IN.into_iter().flat_map(|(first, last, ids)| (first..=last).map(move |protocol| (protocol, ids)));
        ProtocolTable(rows.collect())
    }
}

impl ProtocolTable {
    /// The ids of `protocol`, if they are known.
    #[must_use]
    pub fn ids(&self, protocol: u32) -> Option<ConfigurationIds> {
        self.0.get(&protocol).copied()
    }

    /// Adds a protocol, or changes one.
    pub fn set(&mut self, protocol: u32, ids: ConfigurationIds) {
        self.0.insert(protocol, ids);
    }

    /// The newest one that can be transferred; snapshots aside.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.0.keys().copied().filter(|protocol| protocol & SNAPSHOT == 0).max().unwrap_or_default()
    }

    /// How somebody who speaks `protocol` can be held.
    #[must_use]
    pub fn dialect(&self, protocol: u32) -> Dialect {
        match self.ids(protocol) {
            Some(ids) => Dialect::Transfer(ids),
            // A number below zero is no version.
            None if protocol < FIRST_PLUGIN_REQUEST || protocol > i32::MAX.cast_unsigned() => Dialect::Brief,
            None => Dialect::Plugin,
        }
    }
}

/// Whether the arrays of a login have two bytes in front of them, as 1.7 writes them.
#[must_use]
pub fn has_short_arrays(protocol: u32) -> bool {
    protocol < 47
}

/// Whether Login Start ends with the player's UUID, whatever is in between: 1.20.2 and later.
#[must_use]
pub fn names_uuid(protocol: u32) -> bool {
    protocol >= 764
}

/// Whether Encryption Request ends with a flag that says whether to ask the session server: 1.20.5 and later.
#[must_use]
pub fn says_whether_to_authenticate(protocol: u32) -> bool {
    protocol >= 766
}

/// Whether Encryption Response says what follows: 1.19 to 1.19.2, where it may be a signature in place of the token.
#[must_use]
pub fn may_sign(protocol: u32) -> bool {
    matches!(protocol, 759 | 760)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_held_as_it_can_be() {
        let table = ProtocolTable::default();
        let of = |protocol| table.dialect(protocol);
        for brief in [0, 5, 47, 340, 392, u32::MAX, 1 << 31] {
            assert_eq!(of(brief), Dialect::Brief, "{brief}");
        }
        for plugin in [393, 754, 765, 778, SNAPSHOT | 0x12c, i32::MAX.cast_unsigned()] {
            assert_eq!(of(plugin), Dialect::Plugin, "{plugin}");
        }
        for protocol in 766..=777 {
            let Dialect::Transfer(ids) = of(protocol) else { panic!("{protocol}") };
            assert_eq!(ids.transfer, if protocol == 777 { 0x0c } else { 0x0b });
        }
        assert_eq!(table.newest(), NEWEST.0);
    }

    #[test]
    fn a_newer_protocol_can_be_added() {
        let mut table = ProtocolTable::default();
        table.set(778, table.ids(777).unwrap());
        assert_eq!((table.dialect(778), table.newest()), (table.dialect(777), 778));
    }
}
