//! What is shown of the server: in the server list, and to the operator.

/// What there is to be shown of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    Asleep,
    Starting,
    /// With its own answer, if that is known.
    Up(Option<Vec<u8>>),
    Stopping,
    Trouble(String),
    /// Nobody knows, with the reason.
    Unknown(String),
}

impl Shown {
    /// A word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Shown::Asleep => "asleep",
            Shown::Starting => "starting",
            Shown::Up(_) => "up",
            Shown::Stopping => "stopping",
            Shown::Trouble(_) => "trouble",
            Shown::Unknown(_) => "unknown",
        }
    }

    /// For the operator, after "the server is".
    #[must_use]
    pub fn in_words(&self) -> String {
        let because = |word: &str, why: &str| format!("{word}: {}", why.trim_end_matches('.'));
        match self {
            Shown::Trouble(why) => because("in trouble", why),
            Shown::Unknown(why) => because("out of sight", why),
            other => other.word().to_owned(),
        }
    }

    /// For the server list.
    #[must_use]
    pub fn text(&self, asleep: &str, starting: &str, up: &str) -> String {
        match self {
            Shown::Asleep => asleep.to_owned(),
            Shown::Starting => starting.to_owned(),
            Shown::Up(_) => up.to_owned(),
            Shown::Stopping => "Shutting down. Join to start it again.".to_owned(),
            Shown::Trouble(_) => "Something is wrong with the server. Tell its owner.".to_owned(),
            Shown::Unknown(_) => "Nobody knows whether the server is up: its launcher cannot be asked.".to_owned(),
        }
    }

    /// The server's own answer.
    #[must_use]
    pub fn words(&self) -> Option<&[u8]> {
        if let Shown::Up(words) = self { words.as_deref() } else { None }
    }
}
