//! Checks of systemd and logind: does the agent start at boot, and does the machine react to EC2's stop?
//!
//! EC2 stops an instance by pressing its ACPI power button, and cuts the power some minutes later. If logind does not
//! power the machine off at the button, the server has no time to save its world.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use mc_service::error_chain::chain;
use tokio::time;
use zbus::{Connection, Error, OwnedObjectPath, Result, fdo};

use crate::bus::{self, Object, PATIENCE};
use crate::check::finding::{Check, Finding};
use crate::check::printer::Printer;
use crate::holds::logind::{self, PowerButton};

const UNIT: &str = "mc-idle.service";
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: Object<'_> =
    Object { service: SYSTEMD, path: "/org/freedesktop/systemd1", interface: "org.freedesktop.systemd1.Manager" };
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// Settings that hide other processes, and thus their networks, from a service; and their defaults (systemd.exec(5)).
const HIDING: [(&str, &str); 3] = [("ProtectProc", "default"), ("ProcSubset", "all"), ("PrivatePIDs", "no")];
/// Longer than `RestartSec=` of the unit.
const RESTARTS_WITHIN: Duration = Duration::from_secs(3);
/// The value that `HandlePowerKey=` needs (logind.conf(5)).
const POWEROFF: &str = "poweroff";

/// Runs the checks of systemd and logind, and prints their findings. With `containers` the agent must see the networks
/// of other processes.
///
/// # Errors
/// A finding cannot be written.
pub async fn run(containers: bool, printer: &mut Printer<impl Write>) -> io::Result<()> {
    // The test of sd_booted(3).
    if !Path::new("/run/systemd/system").exists() {
        printer.tell(Finding::not_run(Check::Unit, "this machine does not run systemd"))?;
        return printer.tell(Finding::not_run(Check::PowerButton, "this machine does not run systemd or logind"));
    }
    let bus = if bus::is_there() {
        in_time(Connection::system()).await
    } else {
        Err(Error::Failure("no D-Bus; install dbus".to_owned()))
    };
    match bus {
        Ok(bus) => {
            let mut asked = in_time(ask_unit(&bus)).await;
            // A service that is only being restarted shows the same for a moment.
            if matches!(asked, Ok(Unit::Installed { keeps_ending: true, .. })) {
                time::sleep(RESTARTS_WITHIN).await;
                asked = in_time(ask_unit(&bus)).await;
            }
            printer.tell(unit(asked, containers))?;
            printer.tell(power_button(in_time(logind::power_button(&bus)).await))
        }
        Err(error) => {
            printer.tell(Finding::not_run(Check::Unit, format!("cannot query systemd: {}", chain(&error))))?;
            printer.tell(power_button(Err(error)))
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(Error::Failure("no answer".to_owned())))
}

/// The unit as systemd knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Missing,
    Installed {
        /// As `systemctl is-enabled` shows it.
        enabled: String,
        /// As `systemctl is-active` shows it.
        active: String,
        /// It has ended, and systemd is about to start it again: `active` is then `activating`.
        keeps_ending: bool,
        /// Settings that hide other processes from it.
        hiding: Vec<String>,
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
    // `auto-restart`, and longer names from systemd 254 on: it has ended and waits for `RestartSec=`.
    let state: Option<String> = bus::property(bus, loaded, "SubState").await?;
    let keeps_ending = state.is_some_and(|state| state.starts_with("auto-restart"));
    let service = Object { interface: SERVICE, ..loaded };
    let mut hiding = Vec::new();
    for (name, default) in HIDING {
        // A systemd too old for a setting does not have the property.
        let value: Option<String> = bus::property(bus, service, name).await?;
        hiding.extend(value.filter(|value| value != default).map(|value| format!("{name}={value}")));
    }
    Ok(Unit::Installed { enabled, active, keeps_ending, hiding })
}

fn unit(unit: Result<Unit>, containers: bool) -> Finding {
    let check = Check::Unit;
    match unit {
        Err(error) => Finding::failed(check, format!("cannot query systemd about {UNIT}: {}", chain(&error))),
        Ok(Unit::Missing) => Finding::failed(check, format!("{UNIT} is not installed; install it, then enable it")),
        Ok(Unit::Installed { hiding, .. }) if containers && !hiding.is_empty() => Finding::failed(
            check,
            format!(
                "{UNIT} has {}, so the agent cannot see the networks of containers; remove that from the unit, or set \
                 minecraft.containers = false if the server runs on the host itself",
                hiding.join(" and ")
            ),
        ),
        Ok(Unit::Installed { enabled, keeps_ending: true, .. }) if enabled == "enabled" => Finding::failed(
            check,
            format!("{UNIT} ends again and again, and systemd keeps starting it; see systemctl status mc-idle"),
        ),
        Ok(Unit::Installed { enabled, active, .. }) => match (enabled.as_str(), active.as_str()) {
            ("enabled", "failed") => {
                Finding::failed(check, format!("{UNIT} is enabled, but has failed; see systemctl status mc-idle"))
            }
            ("enabled", "inactive") => {
                Finding::note(check, format!("{UNIT} is enabled, but not running; run systemctl start mc-idle"))
            }
            ("enabled", _) => Finding::ok(check, format!("{UNIT} is enabled and {active}")),
            ("masked" | "masked-runtime", _) => {
                Finding::failed(check, format!("{UNIT} is {enabled}; run systemctl unmask mc-idle, then enable it"))
            }
            _ => Finding::failed(
                check,
                format!("{UNIT} is {enabled}, so it does not start at boot; run systemctl enable --now mc-idle"),
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
                "cannot query logind, which must power the machine off when EC2 presses its power button: {}; \
                 install and start systemd-logind",
                chain(&error)
            ),
        ),
        Ok(PowerButton { action, .. }) if action != POWEROFF => Finding::failed(
            check,
            format!(
                "logind does not power the machine off when EC2 presses its power button: HandlePowerKey is {action:?}; \
                 set HandlePowerKey=poweroff in /etc/systemd/logind.conf, then run systemctl restart systemd-logind"
            ),
        ),
        Ok(PowerButton { blocked_by, .. }) if !blocked_by.is_empty() => Finding::failed(
            check,
            format!("an inhibitor lock keeps logind from reacting to it: {}; release it", blocked_by.join(", ")),
        ),
        Ok(_) => Finding::ok(check, "logind powers the machine off when EC2 presses it"),
    }
}
