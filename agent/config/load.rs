//! Reads the configuration of mc-idle.

use std::path::Path;

use mc_service::config::{ConfigError, Loaded};

use crate::config::keys::{KEYS, defaults};
use crate::config::settings::Settings;

/// The default configuration file. It may be missing, unlike one given by `--config`.
pub const DEFAULT_FILE: &str = "/etc/mc-idle/config.toml";

/// Reads the file `named`, or the default one, and the drop-ins next to it.
///
/// # Errors
/// A file cannot be read, or contains something that is not allowed.
pub fn load(named: Option<&Path>) -> Result<Settings, ConfigError> {
    let mut loaded = defaults();
    loaded.read(named.unwrap_or(Path::new(DEFAULT_FILE)), named.is_none())?;
    agree(&loaded)?;
    Ok(settings(loaded))
}

/// The defaults, changed by `text`, the content of the file `path`.
///
/// # Errors
/// The text is not TOML, or contains something that is not allowed.
pub fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let mut loaded = defaults();
    loaded.take(path, text)?;
    Ok(settings(loaded))
}

impl Default for Settings {
    fn default() -> Self {
        settings(defaults())
    }
}

fn settings(loaded: Loaded<Settings>) -> Settings {
    let written = loaded.values.into_iter().map(|(key, value)| (key, value.text)).collect();
    Settings { written, ..loaded.settings }
}

/// Refuses values that are each allowed, but not together.
fn agree(loaded: &Loaded<Settings>) -> Result<(), ConfigError> {
    const PATIENCE: &str = "joining_patience_minutes";
    const CONNECTION: &str = "minecraft.min_connection_seconds";
    let (Some(patience), Some(connection)) = (loaded.values.get(PATIENCE), loaded.values.get(CONNECTION)) else {
        return Ok(());
    };
    // The default is longer than the longest min_connection_seconds.
    let Some(place) = &patience.place else { return Ok(()) };
    if loaded.settings.joining_patience >= loaded.settings.min_connection {
        return Ok(());
    }
    let origin = connection.place.as_ref().map_or_else(|| "its default".to_owned(), |place| format!("at {place}"));
    Err(ConfigError::Conflict {
        place: place.clone(),
        key: PATIENCE,
        found: patience.text.clone(),
        allowed: KEYS.iter().find(|key| key.name == PATIENCE).map_or("", |key| key.allowed),
        limit: format!("{} ({origin})", connection.text),
    })
}
