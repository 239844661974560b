//! Who waits.

use crate::server::status::Family;

/// How somebody can be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By a Transfer: from then on his connection is the server's.
    HandOver,
    /// Not at all: his bytes are relayed.
    Relay,
    /// Not at all: he is told where to go once the server is up.
    Tell,
    /// Not at all, and he cannot wait either: he is told to come back.
    Brief,
}

/// Somebody who has said his name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// As he says it.
    pub name: String,
    pub family: Family,
    pub manner: Manner,
}

/// Whom the session server vouches for; or, without one, who somebody says he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// 32 hexadecimal digits.
    pub uuid: String,
}
