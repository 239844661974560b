//! Questions over the system's D-Bus, where systemd and logind are asked.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::zvariant::{DynamicType, Type};
use zbus::{Connection, Error, OwnedVariant, Result, fdo};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Whom a question is for.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The name on the bus.
    pub service: &'a str,
    /// The object.
    pub path: &'a str,
    /// What is asked of it.
    pub interface: &'a str,
}

/// Without a bus there is neither logind nor anybody else.
#[must_use]
pub fn is_there() -> bool {
    std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").is_some() || Path::new("/run/dbus/system_bus_socket").exists()
}

/// Calls `method`.
///
/// # Errors
/// It is refused, or the answer is something else.
pub async fn call<T: DeserializeOwned + Type>(
    bus: &Connection,
    object: Object<'_>,
    method: &str,
    arguments: &(impl Serialize + DynamicType),
) -> Result<T> {
    let Object { service, path, interface } = object;
    bus.call_method(Some(service), path, Some(interface), method, arguments).await?.body().deserialize()
}

/// Reads the property `name`. `None`: the object is gone, has no such property, or one of another type.
///
/// # Errors
/// The question is refused, or not answered.
pub async fn property<T: TryFrom<OwnedVariant>>(bus: &Connection, object: Object<'_>, name: &str) -> Result<Option<T>> {
    let properties = Object { interface: PROPERTIES, ..object };
    match call::<OwnedVariant>(bus, properties, "Get", &(object.interface, name)).await {
        Ok(value) => Ok(T::try_from(value).ok()),
        Err(Error::MethodError(..)) => Ok(None),
        Err(Error::FDO(error)) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &fdo::Error) -> bool {
    matches!(error, fdo::Error::UnknownObject(_) | fdo::Error::UnknownInterface(_) | fdo::Error::UnknownProperty(_))
}
