//! Lambda: one function for each role, of one binary.
//!
//! The page's function gets HTTP requests (a function URL or an HTTP API, payload 2.0). The warden's gets whatever EventBridge
//! sends: the content of an event decides nothing, it only wakes the warden. One kind of event is no state that could be read:
//! the notice that a spot instance is about to be taken back.

use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use mc_service::exit_code;
use serde_json::{Value, json};

use crate::aws::Aws;
use crate::clock;
use crate::entry::log::log;
use crate::roles::page::PageRole;
use crate::roles::warden::{Wake, WardenRole};
use mc_launcher_core::settings::Settings;
use mc_launcher_core::tell::address::Reach;
use mc_launcher_core::web::request;

/// The role that a function has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Page,
    Warden,
}

impl Role {
    /// The role in the setting `MC_ROLE`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "page" => Some(Role::Page),
            "warden" => Some(Role::Warden),
            _ => None,
        }
    }
}

/// Serves Lambda until it ends this process.
pub async fn run(role: Role, settings: Settings, aws: Aws) -> ExitCode {
    let ran = match role {
        Role::Page => {
            let page = PageRole::new(settings, aws, |_| false);
            page.prepare().await;
            lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| answer(&page, &event.payload).await)).await
        }
        Role::Warden => {
            let server = settings.server.clone();
            let warden = WardenRole::new(settings, aws, Reach::Public);
            let wake = async |event: LambdaEvent<Value>| wake(&warden, &server, &event.payload).await;
            lambda_runtime::run(service_fn(wake)).await
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("cannot serve Lambda: {error}"));
            ExitCode::from(exit_code::INTERNAL)
        }
    }
}

async fn answer(page: &PageRole, event: &Value) -> Result<Value, Diagnostic> {
    let request = request::of_event(event);
    let request =
        request.ok_or_else(|| failed("NoRequest", "this function answers HTTP requests only (payload 2.0)"))?;
    Ok(page.answer(&request, &log).await.for_lambda())
}

async fn wake(warden: &WardenRole, server: &str, event: &Value) -> Result<Value, Diagnostic> {
    let looked = warden.look(&Wake::of_event(event), &log).await;
    if let Some(figures) = looked.figures {
        log(&figures.embedded_metrics(server, clock::now()));
    }
    // An error here is one of the function's errors, which an alarm watches.
    looked.outcome.map_err(|why| failed("WardenFailed", &why))?;
    Ok(json!({}))
}

/// An error as Lambda's log shows it; by itself the runtime would call it by a type of Rust.
fn failed(kind: &str, why: &str) -> Diagnostic {
    Diagnostic { error_type: kind.to_owned(), error_message: why.to_owned() }
}
