//! Sends what is due in the outbox, and notes what became of it.

use std::time::Duration;

use futures_util::future::join_all;
use mc_launcher_core::settings::Settings;
use mc_launcher_core::tell::address::Reach;
use mc_launcher_core::tell::channel::{Channel, Channels};
use mc_launcher_core::tell::refusal::Refusal;
use mc_launcher_core::warden::outbox::{Outbox, Sent};
use tokio::time;

use crate::aws::Aws;
use crate::clock;
use crate::tell::{self, Message};

/// A limit of at most this is waited out at once, and only once.
const SHORT_LIMIT: Duration = Duration::from_secs(5);

/// By what messages are sent.
pub(super) struct Delivery<'a> {
    pub settings: &'a Settings,
    pub aws: &'a Aws,
    pub reach: Reach,
    pub channels: &'a Channels,
    pub log: &'a (dyn Fn(&str) + Sync),
}

impl Delivery<'_> {
    /// Sends what is due, by all channels at once, in the order of each.
    pub(super) async fn deliver(&self, outbox: &mut Outbox) {
        loop {
            let now = clock::now();
            let due = outbox.due(now);
            if due.is_empty() {
                return;
            }
            let sent = join_all(due.iter().map(async |due| {
                let (_, channel) = self.channels.0.iter().find(|(name, _)| *name == due.channel)?;
                Some((channel.kind(), self.send(channel, &due.text).await))
            }))
            .await;
            for (due, sent) in due.iter().zip(sent) {
                let Some((kind, sent)) = sent else { continue };
                let noted = match &sent {
                    Ok(()) => Sent::Taken,
                    Err(refusal) => {
                        (self.log)(&format!("{kind} did not take a message: {}", refusal.why));
                        Sent::Failed { lasting: refusal.lasting, retry_after: refusal.retry_after }
                    }
                };
                if outbox.note(due, noted, now)
                    && let Err(refusal) = sent
                {
                    let text = format!("{}: messages by {kind} do not arrive: {}.", self.settings.server, refusal.why);
                    (self.log)(&text);
                    outbox.add(&text, self.channels.names(), now);
                }
            }
        }
    }

    /// Sends `text`; a short limit is waited out once.
    async fn send(&self, channel: &Channel, text: &str) -> Result<(), Refusal> {
        let message = Message { server: &self.settings.server, text };
        match tell::send(channel, message, self.aws, self.reach).await {
            Err(Refusal { retry_after: Some(wait), .. }) if wait <= SHORT_LIMIT => {
                time::sleep(wait).await;
                tell::send(channel, message, self.aws, self.reach).await
            }
            sent => sent,
        }
    }
}
