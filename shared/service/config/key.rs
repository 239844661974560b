//! Configuration keys.

use toml::de::DeValue;

/// A key of the settings `S`.
#[derive(Debug)]
pub struct Key<S> {
    /// Dotted.
    pub name: &'static str,
    /// Whole sentences, with code between backticks, for the man page, the documentation and the shipped file.
    pub meaning: &'static str,
    /// As written in a file; `None`: not set.
    pub default: Option<&'static str>,
    /// The allowed values, in words. The part before the first colon is the short form.
    pub allowed: &'static str,
    pub set: fn(&mut S, &DeValue<'_>) -> Result<(), Refused>,
}

/// A value is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong with it, unless [`Key::allowed`] makes that obvious.
    pub why: Option<&'static str>,
}

impl<S> Key<S> {
    /// [`Key::allowed`] up to its colon.
    #[must_use]
    pub fn allowed_in_short(&self) -> &'static str {
        self.allowed.split_once(": ").map_or(self.allowed, |(short, _)| short)
    }
}
