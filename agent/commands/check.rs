//! `mc-idle check`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use mc_idle::check::finding::{Check, Finding};
use mc_idle::check::printer::{OutputFormat, Printer};
use mc_idle::check::{self, CheckContext};
use mc_idle::clock::{self, Clock};
use mc_idle::config::{self, Settings};
use mc_service::error_chain::chain;
use mc_service::exit_code;

use crate::process::{boot_id, in_heartbeat, own_program, refuse, runtime, this_host};

pub(crate) fn check(config: Option<&Path>, offline: bool, json: bool) -> ExitCode {
    let form = if json { OutputFormat::Json } else { OutputFormat::Lines };
    let mut printer = Printer::new(io::stdout(), form);
    let loaded = config::load(config);
    let told = match &loaded {
        Ok(settings) => printer
            .tell(Finding::ok(Check::Configuration, ""))
            .and_then(|()| if offline { Ok(()) } else { check_online(settings, &mut printer) }),
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
