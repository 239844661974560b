//! Which files to read, in which order, and how to find keys and values in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::key::{Key, Refused};

/// The value of a key as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// On one line.
    pub text: String,
    /// `None`: a default.
    pub place: Option<Place>,
}

/// Settings, and the values that they come from.
#[derive(Debug, Clone)]
pub struct Loaded<S: 'static> {
    /// Validated.
    pub settings: S,
    /// By the key's name; keys without a value are missing.
    pub values: BTreeMap<&'static str, Value>,
    keys: &'static [Key<S>],
}

impl<S> Loaded<S> {
    /// `blank` with the default of each of `keys`.
    ///
    /// # Panics
    /// A default is not allowed.
    #[must_use]
    pub fn defaults(keys: &'static [Key<S>], blank: S) -> Self {
        let mut loaded = Loaded { settings: blank, values: BTreeMap::new(), keys };
        for key in keys {
            if let Some(default) = key.default {
                let taken =
                    DeValue::parse(default).is_ok_and(|value| (key.set)(&mut loaded.settings, value.get_ref()).is_ok());
                assert!(taken, "the default of {} is allowed", key.name);
                loaded.values.insert(key.name, Value { text: default.to_owned(), place: None });
            }
        }
        loaded
    }

    /// Reads `file`, then every `*.toml` in the folder `config.d` next to it in name order; later values win. The
    /// folder may be missing, and the file too if `optional`.
    ///
    /// # Errors
    /// A file cannot be read, or contains something that is not allowed.
    pub fn read(&mut self, file: &Path, optional: bool) -> Result<(), ConfigError> {
        match std::fs::read_to_string(file) {
            Ok(text) => self.take(file, &text)?,
            Err(source) if source.kind() == io::ErrorKind::NotFound && optional => {}
            Err(source) => return Err(ConfigError::Unreadable { path: file.to_owned(), source }),
        }
        for path in drop_ins(&file.with_file_name("config.d"))? {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            self.take(&path, &text)?;
        }
        Ok(())
    }

    /// Applies the values in `text`, the content of the file `path`.
    ///
    /// # Errors
    /// The text is not TOML, or contains something that is not allowed.
    pub fn take(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let root = DeTable::parse(text).map_err(|error| {
            let line = line_at(error.span().map_or(0, |span| span.start));
            let found = text.lines().nth(line - 1).unwrap_or_default().trim().to_owned();
            ConfigError::Syntax { path: path.to_owned(), line, message: error.message().to_owned(), found }
        })?;
        let mut entries = Vec::new();
        self.flatten(root.get_ref(), "", &mut entries);
        entries.sort_by_key(|(_, at, _)| *at);
        for (name, at, value) in entries {
            let found = found(value, text);
            let Some(key) = self.keys.iter().find(|key| key.name == name) else {
                return Err(ConfigError::UnknownKey {
                    path: path.to_owned(),
                    line: line_at(at),
                    key: name,
                    found,
                    known: self.keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", "),
                });
            };
            if let Err(Refused { why }) = (key.set)(&mut self.settings, value.get_ref()) {
                return Err(ConfigError::Value {
                    path: path.to_owned(),
                    line: line_at(at),
                    key: key.name,
                    found,
                    why,
                    allowed: key.allowed,
                });
            }
            let place = Place { path: path.to_owned(), line: line_at(at) };
            self.values.insert(key.name, Value { text: found, place: Some(place) });
        }
        Ok(())
    }

    /// Lists every value with its dotted name and the position of the name. A table with a key's name counts as a
    /// value, so that it is refused as one.
    fn flatten<'t, 'i>(
        &self,
        table: &'t DeTable<'i>,
        prefix: &str,
        entries: &mut Vec<(String, usize, &'t Spanned<DeValue<'i>>)>,
    ) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let section = format!("{name}.");
            match value.get_ref() {
                DeValue::Table(inner) if self.keys.iter().any(|key| key.name.starts_with(&section)) => {
                    self.flatten(inner, &section, entries);
                }
                _ => entries.push((name, key.span().start, value)),
            }
        }
    }
}

/// A value as written in `text`, on one line.
fn found(value: &Spanned<DeValue<'_>>, text: &str) -> String {
    let written = text.get(value.span()).unwrap_or_default();
    if matches!(value.get_ref(), DeValue::Table(_)) && !written.starts_with('{') {
        return "a table".to_owned();
    }
    written.split_whitespace().collect::<Vec<_>>().join(" ")
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
