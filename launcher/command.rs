//! The command line, and the environment.

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mc_service::exit_code;
use tokio::runtime;

use crate::aws::Aws;
use crate::entry::lambda::{self, Role};
use crate::entry::log::log;
use crate::entry::serve;
use crate::roles::page::PageRole;
use crate::roles::warden::WardenRole;
use mc_launcher_core::settings::{Settings, SettingsError};
use mc_launcher_core::tell::address::Reach;

/// What Lambda sets for every function (AWS Lambda developer guide, runtime environment variables).
const IN_LAMBDA: &str = "AWS_LAMBDA_RUNTIME_API";

/// Starts the EC2 instance of a Minecraft server on demand, and watches over it.
///
/// In Lambda it needs no arguments: `MC_ROLE` says what a function is.
#[derive(Debug, Parser)]
#[command(name = "mc-launcher", version)]
pub struct LauncherArguments {
    #[command(subcommand)]
    command: Option<LauncherCommand>,
}

#[derive(Debug, Subcommand)]
enum LauncherCommand {
    /// Serves page and warden in one process, outside of Lambda.
    Serve {
        /// Where to listen, without TLS.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// How often the warden looks.
        #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = minutes)]
        every_minutes: Duration,
    },
}

/// Minutes from one second to a day.
fn minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let allowed = (1.0 / 60.0..=1440.0).contains(&minutes);
    if allowed { Ok(Duration::from_secs_f64(minutes * 60.0)) } else { Err("from 0.017 to 1440 is allowed".to_owned()) }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = LauncherArguments::parse();
    let in_lambda = env::var_os(IN_LAMBDA).is_some();
    if arguments.command.is_none() && !in_lambda {
        log("nothing to do here: outside of Lambda use mc-launcher serve; see mc-launcher --help");
        return ExitCode::from(exit_code::USAGE);
    }
    let (settings, aws) = match configured() {
        Ok(configured) => configured,
        Err(error) => {
            log(&format!("mc-launcher: {error}"));
            return ExitCode::from(exit_code::CONFIG);
        }
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log(&format!("mc-launcher: cannot start: {error}"));
            return ExitCode::from(exit_code::INTERNAL);
        }
    };
    match arguments.command {
        Some(LauncherCommand::Serve { listen, every_minutes }) => {
            runtime.block_on(serve_both(settings, listen, every_minutes))
        }
        None => match role() {
            Ok(role) => runtime.block_on(lambda::run(role, settings, aws)),
            Err(error) => {
                log(&format!("mc-launcher: {error}"));
                ExitCode::from(exit_code::CONFIG)
            }
        },
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn configured() -> Result<(Settings, Aws), SettingsError> {
    let settings = Settings::read(variable)?;
    Ok((settings, aws()?))
}

fn aws() -> Result<Aws, SettingsError> {
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).filter(|region| !region.is_empty());
    let allowed = "the region of the server, such as eu-central-1";
    region.map(Aws::new).ok_or(SettingsError { name: "AWS_REGION", value: None, allowed })
}

fn role() -> Result<Role, SettingsError> {
    let (name, allowed) = ("MC_ROLE", "page or warden");
    let value = variable(name);
    value.as_deref().and_then(Role::parse).ok_or(SettingsError { name, value, allowed })
}

async fn serve_both(settings: Settings, address: SocketAddr, every: Duration) -> ExitCode {
    let listener = match serve::listen(address).await {
        Ok(listener) => listener,
        Err(error) => {
            log(&format!("mc-launcher: cannot listen on {address}: {error}"));
            return ExitCode::from(exit_code::FAILED);
        }
    };
    let aws = || aws();
    let (page, warden) = match (aws(), aws()) {
        (Ok(of_page), Ok(of_warden)) => (
            PageRole::new(settings.clone(), of_page, serve::is_plain),
            WardenRole::new(settings, of_warden, Reach::PublicAndLoopback),
        ),
        (Err(error), _) | (_, Err(error)) => {
            log(&format!("mc-launcher: {error}"));
            return ExitCode::from(exit_code::CONFIG);
        }
    };
    page.prepare().await;
    if let Ok(bound) = listener.local_addr() {
        log(&format!("mc-launcher listens on http://{bound}"));
    }
    serve::run(Arc::new(page), warden, listener, every).await;
    ExitCode::SUCCESS
}
