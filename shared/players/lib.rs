//! Who a player is, and whom the server may be started for. Pure.

use std::fmt;

/// A player's UUID, as Mojang writes it: 32 hexadecimal digits, hyphens left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uuid(String);

impl Uuid {
    /// Of its 16 bytes, the highest first.
    #[must_use]
    pub fn of_bytes(bytes: u128) -> Self {
        Uuid(format!("{bytes:032x}"))
    }

    /// With or without hyphens; `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|char| *char != '-').collect::<String>().to_ascii_lowercase();
        let is_uuid =
            plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(text.len(), 32 | 36);
        is_uuid.then_some(Uuid(plain))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A player's name: at most 16 of letters, digits and `_`, perhaps behind the `.` that Floodgate puts before the names of Bedrock's
/// players. It says nothing about upper and lower case: nor does the game.
#[derive(Debug, Clone)]
pub struct Name(String);

impl Name {
    /// `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('.').unwrap_or(text);
        let is_name = text.len() <= 16
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| Name(text.to_owned()))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Name(Name),
    /// It matches this UUID only, whatever the player calls himself.
    Uuid(Uuid),
}

/// Whom the server may be started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    Everybody,
    Only(AllowList),
}

/// Names and UUIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowList(Vec<Entry>);

impl Allow {
    /// The list in `text`, separated by commas as SSM writes it (type StringList).
    ///
    /// # Errors
    /// An entry that is neither a name nor a UUID. A list with a mistake in it allows nobody rather than somebody else.
    pub fn parse(text: &str) -> Result<Self, String> {
        AllowList::of(text.split(',').map(str::trim).filter(|entry| !entry.is_empty())).map(Allow::Only)
    }

    /// Whether the player may start the server.
    #[must_use]
    pub fn permits(&self, name: &Name, uuid: &Uuid) -> bool {
        match self {
            Allow::Everybody => true,
            Allow::Only(list) => list.permits(name, uuid),
        }
    }
}

impl AllowList {
    /// The list of `entries`.
    ///
    /// # Errors
    /// An entry that is neither a name nor a UUID.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let entry = |text: &str| {
            let uuid = Uuid::parse(text).map(Entry::Uuid);
            uuid.or_else(|| Name::parse(text).map(Entry::Name)).ok_or_else(|| text.to_owned())
        };
        Ok(AllowList(entries.into_iter().map(entry).collect::<Result<_, _>>()?))
    }

    /// Whether the player is on it.
    #[must_use]
    pub fn permits(&self, name: &Name, uuid: &Uuid) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Name(allowed) => allowed == name,
            Entry::Uuid(allowed) => allowed == uuid,
        })
    }

    /// Whether somebody who calls himself `name` may turn out to be on it: an entry that is a UUID may be his.
    #[must_use]
    pub fn may_permit(&self, name: &Name) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Name(allowed) => allowed == name,
            Entry::Uuid(_) => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALEX: &str = "ec561538-f3fd-461d-aff5-086b22154bce";

    fn permits(list: &str, name: &str, uuid: &str) -> bool {
        Allow::parse(list).unwrap().permits(&Name::parse(name).unwrap(), &Uuid::parse(uuid).unwrap())
    }

    #[test]
    fn a_name_matches_names_and_a_uuid_its_uuid() {
        let other = "0".repeat(32);
        assert!(permits("Steve, alex", "ALEX", &other));
        assert!(permits(&ALEX.to_uppercase(), "somebody", &ALEX.replace('-', "")));
        assert!(!permits(ALEX, "Alex", &other) && !permits("Steve", "Alex", ALEX) && !permits("", "Alex", ALEX));
        // A player of Bedrock, by Floodgate.
        assert!(
            permits(".Alex", ".alex", &other) && !permits("Alex", ".Alex", &other) && !permits(".Alex", "Alex", &other)
        );
        // A name of 16 hexadecimal digits is a name.
        assert!(permits("0123456789abcdef", "0123456789ABCDEF", &other));
        assert!(Allow::Everybody.permits(&Name::parse("Alex").unwrap(), &Uuid::parse(ALEX).unwrap()));
    }

    #[test]
    fn a_uuid_may_be_anybodys_until_it_is_known() {
        let may = |entry, name| AllowList::of([entry]).unwrap().may_permit(&Name::parse(name).unwrap());
        assert!(may("Steve", "steve") && may(ALEX, "steve") && !may("Steve", "Alex"));
    }

    #[test]
    fn a_list_with_a_mistake_is_refused() {
        for wrong in ["Alex,a name", "Alex;Steve", "ec561538-f3fd", "ä"] {
            assert!(Allow::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "a-b", "0123456789abcdefg", "a b"] {
            assert!(Name::parse(wrong).is_none(), "{wrong}");
        }
        for wrong in ["", "0", &"g".repeat(32), &format!("{ALEX}-"), &"-".repeat(36)] {
            assert!(Uuid::parse(wrong).is_none(), "{wrong}");
        }
    }
}
