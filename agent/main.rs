//! Wires the parts together: arguments, configuration, the world, and then the service or the check.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use clap::Parser;
use mc_idle::aws::scout::Scout;
use mc_idle::check::finding::{Check, Finding};
use mc_idle::check::teller::{Form, Teller};
use mc_idle::check::{self, Subject};
use mc_idle::cli::{Arguments, Command, EXIT_CONFIG, EXIT_FAILED, EXIT_INTERNAL};
use mc_idle::clock::{self, Clock};
use mc_idle::cloud::DryRun;
use mc_idle::config::{self, Settings};
use mc_idle::error::chain;
use mc_idle::heartbeat::writer;
use mc_idle::hold::{self, HoldSources, Known, RemoteKnown};
use mc_idle::host::{ThisHost, probe, properties};
use mc_idle::journal::{Journal, Scribe};
use mc_idle::keeper::Keeper;
use mc_idle::metrics::textfile::Textfile;
use mc_idle::notify::Systemd;
use mc_idle::service::{Service, World};
use mc_idle::status::screen::{self, Style};
use mc_idle::status::view_file::{self, Picture};
use mc_idle::{journal, logind, sentence, signals};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

/// How long the end of the agent waits for the journal.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    abort_on_panic();
    match Arguments::parse().command {
        Command::Run { config, dry_run } => match config::load(config.as_deref()) {
            Ok(settings) => run(settings, config, dry_run),
            Err(error) => refuse(&error, EXIT_CONFIG),
        },
        Command::Check { config, offline, json } => {
            check(config.as_deref(), offline, if json { Form::Json } else { Form::Lines })
        }
        Command::Status { json, watch } => status(json, watch),
        Command::Hold { duration, reason } => hold(duration, &reason),
        Command::Release => release(),
        Command::ProbeMount { path } => probe::helper(&path),
        Command::ProbeProperties { folders, below } => properties::helper(&folders, below.as_deref(), io::stdout()),
    }
}

/// A thread that is gone while the others go on would be a promise silently broken: systemd starts a whole agent again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        process::abort();
    }));
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // In the journal it is an error, as a line of the agent would be: systemd takes that from its head (sd-daemon(3)).
    let grade = if journal::stderr_is_journal() { "<3>" } else { "" };
    eprintln!("{grade}mc-idle: {}", chain(error));
    ExitCode::from(code)
}

fn run(settings: Settings, config: Option<PathBuf>, dry_run: bool) -> ExitCode {
    let started = Scribe::start().and_then(|scribe| Ok((scribe, runtime()?)));
    let ((journal, scribe), runtime) = match started {
        Ok(parts) => parts,
        Err(error) => return refuse(&error, EXIT_INTERNAL),
    };
    let result = runtime.block_on(serve(settings, config, dry_run, journal));
    // A task may still wait for a name or a mount; nobody waits for it.
    runtime.shutdown_background();
    scribe.finish(JOURNAL_PATIENCE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, EXIT_INTERNAL),
    }
}

async fn serve(settings: Settings, config: Option<PathBuf>, dry_run: bool, journal: Journal) -> io::Result<()> {
    let clock = Clock::start().with_alarms_of_the_kernel();
    let signals = signals::listen()?;
    let (health_sender, health) = mpsc::unbounded_channel();
    let (news_sender, news) = mpsc::unbounded_channel();
    let (action, action_receiver) = watch::channel(settings.action);
    let (target, target_receiver) = watch::channel(None);
    let (verdict_sender, verdict) = watch::channel(None);
    let boot_id = boot_id();
    let (keeper, memory) =
        Keeper::open(&runtime_directory(), boot_id.as_deref(), clock::slept(), clock.now(), &journal)?;
    let metrics = Textfile::start(journal.clone())?;
    let (hold, hold_receiver) = watch::channel(settings.hold.clone());
    let (logind_sender, logind) = watch::channel(Known { pending: true, ..Known::default() });
    let (remote_sender, remote) = watch::channel(RemoteKnown::default());
    let holds = HoldSources {
        folder: runtime_directory(),
        boot_id: in_heartbeat(boot_id.clone()),
        logind,
        remote,
        settings: hold_receiver.clone(),
        started: clock.now(),
    };
    let boot = in_heartbeat(boot_id.clone());
    let (heart, heartbeats) = writer::pair(settings.heartbeat.clone(), clock);
    let (scout, aws, link) = Scout::new(settings.aws.clone(), in_heartbeat(boot_id));
    tokio::spawn(logind::watch(hold_receiver.clone(), logind_sender, clock));
    tokio::spawn(probe::run(own_program(), target_receiver, verdict_sender));
    // Nobody listens to the outcome only when the agent ends.
    tokio::spawn(heartbeats.run(link, move |outcome| drop(health_sender.send(outcome))));
    let world = World {
        host: this_host(),
        supervisor: Systemd::start()?,
        journal,
        clock,
        slept: clock::slept,
        memory,
        keeper,
        boot_id: boot,
        metrics,
        holds: Box::new(move |now| holds.in_force(now, clock::wall())),
        hold,
        heart,
        health,
        news,
        action,
        target,
        verdict,
        signals,
        load: Box::new(move || config::load(config.as_deref())),
        dry_run,
    };
    if dry_run {
        Service::new(world, DryRun, settings).run().await;
    } else {
        tokio::spawn(scout.run(action_receiver, hold_receiver, remote_sender, news_sender));
        Service::new(world, aws, settings).run().await;
    }
    Ok(())
}

fn check(config: Option<&Path>, offline: bool, form: Form) -> ExitCode {
    let mut teller = Teller::new(io::stdout(), form);
    let loaded = config::load(config);
    let told = match &loaded {
        Ok(settings) => teller
            .tell(Finding::ok(Check::Configuration, ""))
            .and_then(|()| if offline { Ok(()) } else { check_online(settings, &mut teller) }),
        Err(error) if form == Form::Json => teller.tell(Finding::failed(Check::Configuration, chain(error))),
        Err(error) => return refuse(error, EXIT_CONFIG),
    };
    match told.and_then(|()| teller.end()) {
        Err(error) => refuse(&error, EXIT_INTERNAL),
        Ok(_) if loaded.is_err() => ExitCode::from(EXIT_CONFIG),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
    }
}

fn check_online(settings: &Settings, teller: &mut Teller<impl Write>) -> io::Result<()> {
    let runtime = runtime()?;
    let subject = Subject {
        settings,
        host: &mut this_host(),
        proc: Path::new("/proc"),
        helper: &own_program(),
        boot_id: in_heartbeat(boot_id()),
        wall: clock::wall(),
    };
    let told = runtime.block_on(check::run(subject, teller));
    runtime.shutdown_background();
    told
}

fn status(json: bool, watch: bool) -> ExitCode {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let look = || view_file::read(&runtime_directory(), Clock::start().now());
    let code = |picture: &Picture| match picture {
        Picture::Fresh { .. } => ExitCode::SUCCESS,
        Picture::Stale { .. } => ExitCode::from(EXIT_FAILED),
    };
    if watch {
        let watched = runtime().map(|runtime| {
            runtime.block_on(async {
                loop {
                    let screen = match look() {
                        Ok(picture) => screen::draw(&picture, Style { colour }, clock::wall()),
                        Err(error) => format!("mc-idle: {}\n", chain(&error)),
                    };
                    // Home, and whatever stands below the new screen is cleared (ECMA-48).
                    if write!(io::stdout(), "\x1b[H\x1b[2J{screen}").and_then(|()| io::stdout().flush()).is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        });
        return watched.map_or_else(|error| refuse(&error, EXIT_INTERNAL), |()| ExitCode::SUCCESS);
    }
    match look() {
        Err(error) => refuse(&error, EXIT_FAILED),
        Ok(picture) => {
            let text = match &picture {
                Picture::Fresh { status, .. } | Picture::Stale { status, .. } if json => {
                    // Only maps with keys that are not text and failing Serialize impls make this fail.
                    serde_json::to_string_pretty(status).unwrap_or_default() + "\n"
                }
                picture => screen::draw(picture, Style { colour }, clock::wall()),
            };
            // Whoever reads it may have had enough.
            let _ = io::stdout().write_all(text.as_bytes());
            if json && matches!(picture, Picture::Stale { .. }) {
                eprintln!("mc-idle: the agent does not answer: this is old");
            }
            code(&picture)
        }
    }
}

fn hold(duration: Duration, reason: &str) -> ExitCode {
    let now = Clock::start().now();
    // Under some container managers a confined service sees another boot id than everybody else: the agent's own counts.
    let boot_id = match view_file::read(&runtime_directory(), now) {
        Ok(Picture::Fresh { status, .. } | Picture::Stale { status, .. }) => status.boot_id,
        Err(_) => in_heartbeat(boot_id()),
    };
    match hold::place(&runtime_directory(), &boot_id, now.plus(duration), reason) {
        Ok(()) => {
            let end = clock::wall().checked_add(duration).map(|end| end.strftime(" (%Y-%m-%d %H:%M UTC)").to_string());
            println!("held for {}{}: {reason}", sentence::in_words(duration), end.unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error, EXIT_FAILED),
    }
}

fn release() -> ExitCode {
    match hold::release(&runtime_directory()) {
        Ok(true) => {
            println!("released");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!("there was no hold");
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error, EXIT_FAILED),
    }
}

/// One thread: the agent sleeps most of the time. Only names are looked up in threads of their own.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(4).build()
}

fn this_host() -> ThisHost {
    ThisHost::below(Path::new("/"))
}

/// The program that runs now, even if an upgrade has put another in its place.
fn own_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The kernel's id of this boot (random(4)).
fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

fn in_heartbeat(boot_id: Option<String>) -> String {
    boot_id.unwrap_or_else(|| "unknown".to_owned())
}

/// Where the state is kept: what `RuntimeDirectory=` of the unit makes (systemd.exec(5)).
fn runtime_directory() -> PathBuf {
    std::env::var_os("RUNTIME_DIRECTORY").map_or_else(|| PathBuf::from("/run/mc-idle"), PathBuf::from)
}
