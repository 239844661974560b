//! The remote hold: an SSM parameter that says how long the instance has to stay up.

use std::time::Duration;

use mc_idle::config::settings::HoldSettings;
use mc_idle::holds::ledger::HoldSource;
use mc_idle::holds::{HoldSources, remote};
use tokio::sync::watch;
use tokio::time;

use super::ssm::{Get, Parameters};

/// The time between two reads of the parameter; the same as between heartbeats.
const AGAIN: Duration = Duration::from_mins(1);

/// Reads the parameter for as long as the agent runs, and passes its value, or the error, to `sources`.
pub async fn watch(
    parameters: Parameters,
    instance_id: String,
    mut settings: watch::Receiver<HoldSettings>,
    sources: HoldSources,
) {
    loop {
        let parameter = settings.borrow_and_update().parameter.clone();
        let asks = async {
            // Without a parameter only a change of the settings matters.
            let Some(name) = parameter else { return std::future::pending().await };
            let question = HoldSource::Parameter(name.as_written().to_owned());
            loop {
                ask(&parameters, &name.of(&instance_id), &question, &sources).await;
                time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = asks => {}
            // A pending read is dropped, and repeated with the new settings.
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

async fn ask(parameters: &Parameters, name: &str, question: &HoldSource, sources: &HoldSources) {
    match parameters.get(name).await {
        Get::Value(value) => match remote::parse(&value) {
            Some(claim) => sources.answered(question, vec![claim]),
            None => sources.failed(question, format!("{name} does not begin with an RFC 3339 time")),
        },
        Get::Missing => sources.answered(question, Vec::new()),
        Get::Failed(why) => sources.failed(question, why),
    }
}
