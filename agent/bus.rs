//! Calls over the system D-Bus, through which systemd and logind are asked.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::zvariant::{DynamicType, Type};
use zbus::{Connection, Error, OwnedVariant, Result, fdo};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The target of a call.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The name on the bus.
    pub service: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
}

/// Whether there is a system bus. Without one there is neither logind nor any other service.
#[must_use]
pub fn is_there() -> bool {
    std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").is_some() || Path::new("/run/dbus/system_bus_socket").exists()
}

/// Calls `method`.
///
/// # Errors
/// The call is refused, or the answer has another type.
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
/// The call is refused, or not answered.
pub async fn property<T: TryFrom<OwnedVariant>>(bus: &Connection, object: Object<'_>, name: &str) -> Result<Option<T>> {
    let properties = Object { interface: PROPERTIES, ..object };
    match call::<OwnedVariant>(bus, properties, "Get", &(object.interface, name)).await {
        Ok(value) => Ok(T::try_from(value).ok()),
        Err(Error::MethodError(..)) => Ok(None),
        Err(Error::FDO(error)) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The properties of an object, by name.
#[derive(Debug, Default)]
pub struct BusProperties(HashMap<String, OwnedVariant>);

impl BusProperties {
    /// Removes and returns the property `name`. `None`: there is none, or one of another type.
    #[must_use]
    pub fn take<T: TryFrom<OwnedVariant>>(&mut self, name: &str) -> Option<T> {
        T::try_from(self.0.remove(name)?).ok()
    }
}

/// Reads all properties of the interface. `None`: the object is gone.
///
/// # Errors
/// The call is refused, or not answered.
pub async fn properties(bus: &Connection, object: Object<'_>) -> Result<Option<BusProperties>> {
    let all = Object { interface: PROPERTIES, ..object };
    match call(bus, all, "GetAll", &(object.interface,)).await {
        Ok(properties) => Ok(Some(BusProperties(properties))),
        Err(Error::FDO(error)) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &fdo::Error) -> bool {
    matches!(error, fdo::Error::UnknownObject(_) | fdo::Error::UnknownInterface(_) | fdo::Error::UnknownProperty(_))
}
