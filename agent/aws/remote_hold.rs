//! The remote hold: a parameter in which somebody far away says how long the instance has to stay up.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time;

use super::ssm::{Get, Parameters};
use crate::config::settings::HoldSettings;
use crate::hold::{self, RemoteKnown};

/// The time between two questions: that of the heartbeats.
const AGAIN: Duration = Duration::from_mins(1);

/// Asks until nobody wants to know any more. What cannot be read changes nothing.
pub async fn watch(
    parameters: Parameters,
    instance_id: String,
    mut settings: watch::Receiver<HoldSettings>,
    known: watch::Sender<RemoteKnown>,
) {
    while !known.is_closed() {
        let name = settings.borrow_and_update().parameter.as_ref().map(|name| name.of(&instance_id));
        let latest = match &name {
            None => RemoteKnown::default(),
            Some(name) => match parameters.get(name).await {
                Get::Value(value) => match hold::remote(&value) {
                    Some(remote) => RemoteKnown { remote: Some(remote), trouble: None, asked: true },
                    None => unread(&known, format!("{name} does not begin with an RFC 3339 time")),
                },
                Get::Missing => RemoteKnown { asked: true, ..RemoteKnown::default() },
                Get::Failed(why) => unread(&known, why),
            },
        };
        known.send_replace(latest);
        let again = async { if name.is_some() { time::sleep(AGAIN).await } else { std::future::pending().await } };
        tokio::select! {
            () = again => {}
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

fn unread(known: &watch::Sender<RemoteKnown>, why: String) -> RemoteKnown {
    RemoteKnown { remote: known.borrow().remote.clone(), trouble: Some(why), asked: true }
}
