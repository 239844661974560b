//! What systemd and logind say: does the agent come back after a boot, and does the machine follow EC2's stop?
//!
//! EC2 stops an instance by pressing its ACPI power button, and pulls the plug some minutes later. So logind must power the
//! machine off at that button, or the server has no time to save its world.

use std::io::{self, Write};
use std::path::Path;

use tokio::time;
use zbus::{Connection, Error, OwnedObjectPath, Result, fdo};

use super::finding::{Check, Finding};
use super::teller::Teller;
use crate::bus::{self, Object, PATIENCE};
use crate::error::chain;
use crate::logind::{self, PowerButton};

/// The service.
const UNIT: &str = "mc-idle.service";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'_> =
    Object { service: SYSTEMD, path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" };
/// What logind is to do at the power button (logind.conf(5)).
const POWEROFF: &str = "poweroff";

/// Tells everything that systemd has to say.
///
/// # Errors
/// A finding cannot be told.
pub async fn run(teller: &mut Teller<impl Write>) -> io::Result<()> {
    // As sd_booted(3) finds out.
    if !Path::new("/run/systemd/system").exists() {
        teller.tell(Finding::not_run(Check::Unit, "not here: systemd does not run this machine"))?;
        return teller.tell(Finding::not_run(Check::PowerButton, "not here: logind does not run without systemd"));
    }
    let bus = if bus::is_there() {
        in_time(Connection::system()).await
    } else {
        Err(Error::Failure("there is no D-Bus; install dbus".to_owned()))
    };
    match bus {
        Ok(bus) => {
            teller.tell(unit(in_time(ask_unit(&bus)).await))?;
            teller.tell(power_button(in_time(logind::power_button(&bus)).await))
        }
        Err(error) => {
            teller.tell(Finding::not_run(Check::Unit, format!("systemd cannot be asked: {}", chain(&error))))?;
            teller.tell(power_button(Err(error)))
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(Error::Failure("no answer".to_owned())))
}

/// What systemd knows of the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Missing,
    /// What `systemctl is-enabled` and `systemctl is-active` say.
    Installed {
        enabled: String,
        active: String,
    },
}

async fn ask_unit(bus: &Connection) -> Result<Unit> {
    let enabled = match bus::call(bus, MANAGER, "GetUnitFileState", &(UNIT,)).await {
        Ok(enabled) => enabled,
        Err(Error::FDO(error)) if matches!(*error, fdo::Error::FileNotFound(_)) => return Ok(Unit::Missing),
        Err(error) => return Err(error),
    };
    let path: OwnedObjectPath = bus::call(bus, MANAGER, "LoadUnit", &(UNIT,)).await?;
    let loaded = Object { service: SYSTEMD, path: path.as_str(), interface: "org.freedesktop.systemd1.Unit" };
    let active = bus::property(bus, loaded, "ActiveState").await?.ok_or(Error::InvalidReply)?;
    Ok(Unit::Installed { enabled, active })
}

fn unit(unit: Result<Unit>) -> Finding {
    let check = Check::Unit;
    match unit {
        Err(error) => Finding::failed(check, format!("systemd does not tell of {UNIT}: {}", chain(&error))),
        Ok(Unit::Missing) => Finding::failed(check, format!("{UNIT} is not installed; install it, then enable it")),
        Ok(Unit::Installed { enabled, active }) => match (enabled.as_str(), active.as_str()) {
            ("enabled", "failed") => {
                Finding::failed(check, format!("{UNIT} is enabled, but has failed; systemctl status mc-idle says why"))
            }
            ("enabled", "inactive") => {
                Finding::note(check, format!("{UNIT} is enabled, but does not run; systemctl start mc-idle"))
            }
            ("enabled", _) => Finding::ok(check, format!("{UNIT} is enabled, and {active}")),
            ("masked" | "masked-runtime", _) => {
                Finding::failed(check, format!("{UNIT} is {enabled}; systemctl unmask mc-idle, then enable it"))
            }
            _ => Finding::failed(
                check,
                format!("{UNIT} is {enabled}, and so not started by the next boot; systemctl enable --now mc-idle"),
            ),
        },
    }
}

fn power_button(button: Result<PowerButton>) -> Finding {
    let check = Check::PowerButton;
    match button {
        Err(error) => Finding::failed(
            check,
            format!(
                "logind, which has to power the machine off when EC2 presses its power button, cannot be asked: {}; \
                 install and start systemd-logind",
                chain(&error)
            ),
        ),
        Ok(PowerButton { action, .. }) if action != POWEROFF => Finding::failed(
            check,
            format!(
                "logind does not power the machine off when EC2 presses its power button: HandlePowerKey is {action:?}; \
                 set HandlePowerKey=poweroff in /etc/systemd/logind.conf, then systemctl restart systemd-logind"
            ),
        ),
        Ok(PowerButton { blocked_by, .. }) if !blocked_by.is_empty() => Finding::failed(
            check,
            format!("logind is kept from following it by an inhibitor lock: {}; end that", blocked_by.join(", ")),
        ),
        Ok(_) => Finding::ok(check, "logind powers the machine off when EC2 presses it"),
    }
}
