//! `mc-idle check`.

use std::env;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use mc_idle::check::environment::AwsVariables;
use mc_idle::check::finding::{Check, Finding};
use mc_idle::check::printer::{OutputFormat, Printer};
use mc_idle::check::{self, CheckContext};
use mc_idle::clock::{self, Clock};
use mc_idle::config::{self, Settings};
use mc_idle::report::status::view_file::{self, StatusFile, ViewError};
use mc_service::error_chain::chain;
use mc_service::exit_code;

use crate::process::{boot_id, in_heartbeat, own_program, refuse, runtime, runtime_directory, this_host};

/// Set in the program that has the service's environment: the names of what is changed, separated by ", ".
const CHANGED: &str = "MC_IDLE_CHECK_CHANGED";

pub(crate) fn check(config: Option<&Path>, offline: bool, json: bool) -> ExitCode {
    let form = if json { OutputFormat::Json } else { OutputFormat::Lines };
    let mut printer = Printer::new(io::stdout(), form);
    let loaded = config::load(config);
    // First of all, since this may start the program again.
    let environment = (loaded.is_ok() && !offline).then(environment);
    let told = match &loaded {
        Ok(settings) => printer.tell(Finding::ok(Check::Configuration, "")).and_then(|()| {
            environment.map_or(Ok(()), |environment| {
                printer.tell(environment)?;
                check_online(settings, &mut printer)
            })
        }),
        Err(error) if form == OutputFormat::Json => printer.tell(Finding::failed(Check::Configuration, chain(error))),
        Err(error) => return refuse(error, exit_code::CONFIG),
    };
    match told.and_then(|()| printer.end()) {
        Err(error) => refuse(&error, exit_code::INTERNAL),
        Ok(_) if loaded.is_err() => ExitCode::from(exit_code::CONFIG),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(exit_code::FAILED),
    }
}

fn check_online(settings: &Settings, printer: &mut Printer<impl Write>) -> io::Result<()> {
    let runtime = runtime()?;
    let mut subject = CheckContext {
        settings,
        host: &mut this_host(),
        proc: Path::new("/proc"),
        helper: &own_program(),
        boot_id: in_heartbeat(boot_id()),
        clock: Clock::start(),
        wall: clock::wall(),
    };
    let told = runtime.block_on(async {
        mc_idle_aws::check::run(&mut subject, printer).await?;
        check::run(subject, printer).await
    });
    runtime.shutdown_background();
    told
}

/// Starts this program again if the running service has other settings for AWS: what is proved must hold for it.
fn environment() -> Finding {
    let taken = env::var(CHANGED).unwrap_or_default();
    if !taken.is_empty() {
        return Finding::note(Check::Environment, format!("{taken}: as in the running service, not as in this shell"));
    }
    let pid = match view_file::read(&runtime_directory(), Clock::start().now()) {
        Ok(StatusFile::Fresh { status, .. }) => status.pid,
        Ok(StatusFile::Stale { .. }) => return of_this_shell("the running service does not answer"),
        Err(ViewError::NoAgent { .. } | ViewError::NoFolder { .. }) => return of_this_shell("mc-idle is not running"),
        Err(error) => return of_this_shell(&chain(&error)),
    };
    let of_the_service = match AwsVariables::of_agent(Path::new("/proc"), pid) {
        Ok(variables) => variables,
        Err(error) => {
            return of_this_shell(&format!(
                "cannot read the environment of the running service: {error}; run this as root"
            ));
        }
    };
    let changes = AwsVariables::among(env::vars_os()).changes_to(&of_the_service);
    if changes.is_empty() {
        return Finding::ok(Check::Environment, "what matters for AWS is as in the running service");
    }
    let names: Vec<_> = changes.keys().map(|name| name.to_string_lossy()).collect();
    let mut again = Command::new(own_program());
    again.args(env::args_os().skip(1)).env(CHANGED, names.join(", "));
    for (name, value) in &changes {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    let error = again.exec();
    Finding::failed(
        Check::Environment,
        format!("cannot start again with the environment of the running service: {error}"),
    )
}

/// The service may have another environment, for one of these reasons.
fn of_this_shell(why: &str) -> Finding {
    Finding::not_run(Check::Environment, format!("that of this shell is used: {why}"))
}
