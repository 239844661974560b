//! Which files are read, in which order, and what is said of a wrong one.

use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::KEYS;
use super::settings::Settings;

/// The file that is read unless another is named. It may be missing; a named one may not.
pub const DEFAULT_FILE: &str = "/etc/mc-idle/config.toml";

/// Why the configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or the drop-in folder could not be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The text is not TOML.
    #[error("{}:{line}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{}:{line}: unknown key {key} = {found}; known keys: {known}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, dotted.
        key: String,
        /// The value found.
        found: String,
        /// The keys that there are.
        known: String,
    },
    /// The value of a key is not allowed.
    #[error("{}:{line}: {key} = {found} is not allowed; allowed: {allowed}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, dotted.
        key: &'static str,
        /// The value found.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

/// Reads `named`, or [`DEFAULT_FILE`] if none is named, then every `*.toml` of its sibling folder `config.d` in name
/// order; later ones win key by key.
///
/// # Errors
/// The first thing that is wrong. Nothing is guessed and no key is passed over.
pub fn load(named: Option<&Path>) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let file = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(file) {
        Ok(text) => apply(&mut settings, file, &text)?,
        Err(source) if source.kind() == io::ErrorKind::NotFound && named.is_none() => {}
        Err(source) => return Err(ConfigError::Unreadable { path: file.to_owned(), source }),
    }
    for path in drop_ins(&file.with_file_name("config.d"))? {
        let text =
            std::fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        apply(&mut settings, &path, &text)?;
    }
    Ok(settings)
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(unreadable(source)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Takes every key of `text` into `settings`. `path` is only for what is said of a wrong one.
///
/// # Errors
/// The first key or line that is wrong; `settings` may then hold some of the keys before it.
pub fn apply(settings: &mut Settings, path: &Path, text: &str) -> Result<(), ConfigError> {
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_at(error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    flatten(root.get_ref(), "", &mut entries);
    entries.sort_by_key(|(_, at, _)| *at);
    for (name, at, value) in entries {
        let found = || {
            let written = text.get(value.span()).unwrap_or_default();
            if matches!(value.get_ref(), DeValue::Table(_)) && !written.starts_with('{') {
                return "a table".to_owned();
            }
            written.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                line: line_at(at),
                key: name,
                found: found(),
                known: KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", "),
            });
        };
        if (key.set)(settings, value.get_ref()).is_none() {
            return Err(ConfigError::Value {
                path: path.to_owned(),
                line: line_at(at),
                key: key.name,
                found: found(),
                allowed: key.allowed,
            });
        }
        settings.written.insert(key.name, found());
    }
    Ok(())
}

/// Lists every value with its dotted name and where that name stands. A table with a key's name is a value, a wrong one.
fn flatten<'t, 'i>(table: &'t DeTable<'i>, prefix: &str, entries: &mut Vec<(String, usize, &'t Spanned<DeValue<'i>>)>) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let section = format!("{name}.");
        match value.get_ref() {
            DeValue::Table(inner) if KEYS.iter().any(|key| key.name.starts_with(&section)) => {
                flatten(inner, &section, entries);
            }
            _ => entries.push((name, key.span().start, value)),
        }
    }
}
