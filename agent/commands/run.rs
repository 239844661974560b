//! `mc-idle run`: assembles the service and runs it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mc_idle::ask::Asker;
use mc_idle::clock::{self, Clock};
use mc_idle::cloud::DryRun;
use mc_idle::config::{self, Settings};
use mc_idle::holds::sources::SourceContext;
use mc_idle::holds::{HoldSources, logind};
use mc_idle::host::mounts::probe::{self, ProbeResults};
use mc_idle::journal::Journal;
use mc_idle::report::heartbeat::writer;
use mc_idle::report::metrics::textfile::Textfile;
use mc_idle::service::Service;
use mc_idle::service::deps::{Deps, Inputs, Tasks};
use mc_idle::signals;
use mc_idle::state::runtime_files::RuntimeFiles;
use mc_idle_aws::instance_monitor::InstanceMonitor;
use mc_service::exit_code;
use mc_service::notify::Systemd;
use tokio::sync::{mpsc, watch};

use crate::process::{boot_id, in_heartbeat, own_program, refuse, runtime, runtime_directory, this_host};

/// How long the agent waits for the journal when it ends.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(1);
/// How long it then waits for the memory of holds to be written.
const HOLDS_PATIENCE: Duration = Duration::from_secs(1);

/// Runs the service until a signal ends it.
pub(crate) fn run(config: Option<PathBuf>, dry_run: bool) -> ExitCode {
    let settings = match config::load(config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error, exit_code::CONFIG),
    };
    let started = Journal::start().and_then(|parts| Ok((parts, runtime()?)));
    let ((journal, journal_thread), runtime) = match started {
        Ok(parts) => parts,
        Err(error) => return refuse(&error, exit_code::INTERNAL),
    };
    let result = runtime.block_on(serve(settings, config, dry_run, journal));
    // A task may still be waiting for DNS or a mount; do not wait for it.
    runtime.shutdown_background();
    journal_thread.finish(JOURNAL_PATIENCE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, exit_code::INTERNAL),
    }
}

async fn serve(settings: Settings, config: Option<PathBuf>, dry_run: bool, journal: Journal) -> io::Result<()> {
    let clock = Clock::start().with_alarms_of_the_kernel();
    let signals = signals::listen()?;
    let (health_sender, health) = mpsc::unbounded_channel();
    let (news_sender, news) = mpsc::unbounded_channel();
    let (action, action_receiver) = watch::channel(settings.action);
    let (targets, targets_receiver) = watch::channel(Vec::new());
    let (verdicts_sender, probe_results) = watch::channel(ProbeResults::new());
    let boot_id = boot_id();
    let (runtime_files, memory) =
        RuntimeFiles::open(&runtime_directory(), boot_id.as_deref(), clock::slept(), clock.now(), &journal)?;
    let metrics = Textfile::start(journal.clone())?;
    let (hold, hold_receiver) = watch::channel(settings.hold.clone());
    let place = SourceContext {
        folder: runtime_directory(),
        proc: PathBuf::from("/proc"),
        boot_id: in_heartbeat(boot_id.clone()),
        slept: clock::slept(),
        keeps: runtime_files.keeps(),
        asks_aws: !dry_run,
    };
    let holds = HoldSources::open(place, hold_receiver.clone(), clock, &journal)?;
    let boot = in_heartbeat(boot_id.clone());
    let (asker, answers) = Asker::start(clock);
    let (heartbeat, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
    let (scout, aws, link) = InstanceMonitor::new(settings.aws.clone(), in_heartbeat(boot_id));
    tokio::spawn(logind::watch(hold_receiver.clone(), holds.clone(), clock));
    tokio::spawn(probe::run(own_program(), targets_receiver, verdicts_sender));
    // The send fails only when the agent ends.
    tokio::spawn(heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))));
    let deps = Deps {
        host: this_host(),
        supervisor: Systemd::start()?,
        journal,
        clock,
        slept: clock::slept,
        memory,
        boot_id: boot,
        holds: {
            let holds = holds.clone();
            Box::new(move |now| holds.known(now, clock::wall(), clock::slept()))
        },
        load: Box::new(move || config::load(config.as_deref())),
        dry_run,
        tasks: Tasks { runtime_files, metrics, asker, hold, heartbeat, action, targets },
        inputs: Inputs { answers, health, cloud: news, probe_results, signals },
    };
    if dry_run {
        Box::pin(Service::new(deps, DryRun, settings).run()).await;
    } else {
        tokio::spawn(scout.run(action_receiver, hold_receiver, holds.clone(), news_sender));
        Box::pin(Service::new(deps, aws, settings).run()).await;
    }
    holds.finish(HOLDS_PATIENCE).await;
    Ok(())
}
