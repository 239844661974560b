//! SNS: messages to a topic.

use aws_sdk_sns::Client;

use crate::aws::{Aws, in_words};
use crate::deadline::Deadline;

/// Publishes `text` to the topic `arn`. `subject` is for mail: at most 100 characters of ASCII (Publish, SNS API reference).
///
/// # Errors
/// SNS does not take it, with the reason.
pub async fn publish(aws: &Aws, arn: &str, subject: &str, text: &str, deadline: Deadline) -> Result<(), String> {
    let client = Client::new(aws.config().await);
    let call = client.publish().topic_arn(arn).subject(subject).message(text);
    deadline
        .limit("SNS", call.send())
        .await?
        .map(drop)
        .map_err(|error| in_words("SNS", "sns:Publish on the topic", &error))
}
