//! Reads the configuration of mc-broker.

use std::path::Path;

use mc_broker_core::connection::gate::Auth;
use mc_service::config::{ConfigError, Loaded};

use crate::config::keys::{KEYS, defaults};
use crate::config::settings::Settings;

/// The default configuration file.
pub const DEFAULT_FILE: &str = "/etc/mc-broker/config.toml";

/// Reads the file `named`, or the default one, and the drop-ins next to it.
///
/// # Errors
/// A file cannot be read, contains something that is not allowed, or what is required is not in it.
pub fn load(named: Option<&Path>) -> Result<Settings, ConfigError> {
    let mut loaded = defaults();
    let file = named.unwrap_or(Path::new(DEFAULT_FILE));
    loaded.read(file, named.is_none())?;
    complete(&loaded, file)?;
    Ok(loaded.settings)
}

/// Refuses settings in which something is missing, or does not go together.
fn complete(loaded: &Loaded<Settings>, file: &Path) -> Result<(), ConfigError> {
    const NETWORKS: &str = "allow_networks";
    let missing = |key: &'static str, allowed| Err(ConfigError::Missing { path: file.to_owned(), key, allowed });
    let allowed = |name| KEYS.iter().find(|key| key.name == name).map_or("", |key| key.allowed);
    let settings = &loaded.settings;
    if settings.launcher_url.is_none() {
        return missing("launcher.url", allowed("launcher.url"));
    }
    if settings.launcher_key.is_none() {
        return missing("launcher.key_file", allowed("launcher.key_file"));
    }
    match loaded.values.get("auth").and_then(|value| value.place.as_ref()) {
        Some(place) if settings.auth == Auth::None && settings.networks.is_none() => Err(ConfigError::Conflict {
            place: place.clone(),
            key: "auth",
            found: "\"none\"".to_owned(),
            allowed: "\"none\" only with networks that may log in, since nobody vouches for a name",
            limit: format!("{NETWORKS}, and it is not set"),
        }),
        _ => Ok(()),
    }
}
