//! Who may log in, as far as the broker itself decides.

use mc_players::{AllowList, Name, Uuid};

use crate::lobby::guest::Account;

/// How the broker knows who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Mojang's session server vouches for him, or another one that speaks the same.
    SessionServer,
    /// He says so.
    None,
}

/// Whom the server may be started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Starters {
    /// The launcher decides.
    Launcher,
    Everybody,
    Only(AllowList),
}

/// Who may log in while the server is not up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub auth: Auth,
    pub starters: Starters,
}

impl Gate {
    /// Whether somebody who says that this is his name may be allowed, before anything is known of him.
    #[must_use]
    pub fn may_permit(&self, name: &str) -> bool {
        match &self.starters {
            Starters::Launcher | Starters::Everybody => true,
            Starters::Only(list) => Name::parse(name).is_some_and(|name| list.may_permit(&name)),
        }
    }

    /// Whether this account may start the server, as far as the broker decides.
    #[must_use]
    pub fn permits(&self, account: &Account) -> bool {
        match &self.starters {
            Starters::Launcher | Starters::Everybody => true,
            Starters::Only(list) => {
                let known = Name::parse(&account.name).zip(Uuid::parse(&account.uuid));
                known.is_some_and(|(name, uuid)| list.permits(&name, &uuid))
            }
        }
    }
}
