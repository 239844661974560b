//! Tells people: one message, by one channel.
//!
//! * [`post`]: HTTP, for Discord and plain POST. [`mail`]: SMTP. SNS is in [`aws::topic`](crate::aws::topic).

pub mod mail;
pub mod post;

use std::time::Duration;

use crate::aws::{Aws, topic};
use crate::deadline::Deadline;
use mc_launcher_core::tell::channel::Channel;
use mc_launcher_core::tell::refusal::Refusal;

use mc_launcher_core::tell::address::Reach;
/// How long a channel may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The server's name.
    pub server: &'a str,
    pub text: &'a str,
}

/// Sends `message` by `channel`, which may lead as far as `reach`.
///
/// # Errors
/// The channel does not take it.
pub async fn send(channel: &Channel, message: Message<'_>, aws: &Aws, reach: Reach) -> Result<(), Refusal> {
    let deadline = Deadline::after(PATIENCE);
    match channel {
        Channel::Discord(url) => post::send(url, &post::discord(message), reach, deadline).await,
        Channel::Post(url) => post::send(url, &post::plain(message), reach, deadline).await,
        Channel::Topic(arn) => {
            let subject = format!("Minecraft server {}", message.server);
            topic::publish(aws, arn, &subject, message.text, deadline).await.map_err(Refusal::passing)
        }
        Channel::Mail(mailbox) => mail::send(mailbox, message, reach, deadline).await,
    }
}
