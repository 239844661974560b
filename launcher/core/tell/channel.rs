//! The channels in the parameter `tell`: a JSON object. Pure. An address can be a secret, so none is ever printed.
//!
//! ```json
//! {"discord": "https://discord.com/api/webhooks/1/x", "sns": "arn:aws:sns:eu-central-1:123456789012:minecraft",
//!  "post": ["https://ntfy.sh/a-secret-topic"],
//!  "smtp": {"url": "smtps://user:password@mail.example.org", "from": "mc@example.org", "to": ["alex@example.org"]}}
//! ```

use std::fmt;

use http::Uri;
use serde::Deserialize;

use crate::tell::address::Reach;

/// The most channels of one kind.
const MOST: usize = 5;

/// One channel.
#[derive(Clone, PartialEq, Eq)]
pub enum Channel {
    /// A webhook of Discord.
    Discord(Uri),
    /// A plain POST of the text, as ntfy takes it.
    Post(Uri),
    /// The ARN of an SNS topic.
    Topic(String),
    Mail(Mailbox),
}

/// Where mail goes, and by which server.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    /// `smtps://` (TLS from the beginning) or `smtp://` (STARTTLS), with user and password.
    pub url: String,
    pub from: String,
    pub to: Vec<String>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Channel {
    /// The kind of it, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Channel::Discord(_) => "the Discord webhook",
            Channel::Post(_) => "the POST address",
            Channel::Topic(_) => "the SNS topic",
            Channel::Mail(_) => "the mail server",
        }
    }
}

/// All channels, each with a name that stays its own as long as the order in the parameter does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Channels(pub Vec<(String, Channel)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    discord: OneOrMore<String>,
    #[serde(default)]
    post: OneOrMore<String>,
    #[serde(default)]
    sns: OneOrMore<String>,
    #[serde(default)]
    smtp: OneOrMore<Mailbox>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        OneOrMore::More(Vec::new())
    }
}

impl<T> OneOrMore<T> {
    fn all(self) -> Vec<T> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(all) => all,
        }
    }
}

impl Channels {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The channels in `text`, each of which may lead as far as `reach`.
    ///
    /// # Errors
    /// Says what is wrong, without any address.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, String> {
        // Serde would take a list for an object.
        if !text.trim_start().starts_with('{') {
            return Err("the parameter tell is not a JSON object".to_owned());
        }
        let written: Written = serde_json::from_str(text).map_err(|error| match error.classify() {
            // What serde says of data can contain it.
            serde_json::error::Category::Data => format!(
                "the parameter tell may have discord, post, sns and smtp (url, from, to), each once or in a list (line {}, \
                 column {})",
                error.line(),
                error.column()
            ),
            _ => format!("the parameter tell is not JSON (line {}, column {})", error.line(), error.column()),
        })?;
        let mut channels = Vec::new();
        let mut add = |name: &str, all: Vec<Channel>| {
            let count = all.len();
            let names =
                (1..=count).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
            channels.extend(names.zip(all));
            if count > MOST { Err(format!("the parameter tell has more than {MOST} of {name}")) } else { Ok(()) }
        };
        let url = |name: &str, text: String| web_address(&text, reach).ok_or_else(|| wrong(name, reach));
        let urls = |name, all: OneOrMore<String>| {
            all.all().into_iter().map(|text| url(name, text)).collect::<Result<Vec<_>, _>>()
        };
        add("discord", urls("discord", written.discord)?.into_iter().map(Channel::Discord).collect())?;
        add("post", urls("post", written.post)?.into_iter().map(Channel::Post).collect())?;
        let topics = written.sns.all();
        if !topics.iter().all(|arn| arn.starts_with("arn:")) {
            return Err("sns in the parameter tell is not the ARN of a topic".to_owned());
        }
        add("sns", topics.into_iter().map(Channel::Topic).collect())?;
        add("smtp", written.smtp.all().into_iter().map(Channel::Mail).collect())?;
        Ok(Channels(channels))
    }
}

fn wrong(name: &str, reach: Reach) -> String {
    let plain = if reach == Reach::PublicAndLoopback { ", or http:// to this machine" } else { "" };
    format!("{name} in the parameter tell is not an https:// address{plain}")
}

fn web_address(text: &str, reach: Reach) -> Option<Uri> {
    let address: Uri = text.parse().ok()?;
    let host = address.host()?;
    let allowed = match address.scheme_str()? {
        "https" => true,
        "http" => reach.permits_plain(host),
        _ => false,
    };
    // A password in an address would go out in the clear, and to proxies.
    let no_password = !address.authority()?.as_str().contains('@');
    (allowed && no_password).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_may_be_there_once_or_several_times() {
        let text = r#"{"discord": "https://discord.com/api/webhooks/1/secret", "post": ["https://ntfy.sh/a", "https://ntfy.sh/b"],
            "sns": "arn:aws:sns:eu-central-1:123456789012:mc",
            "smtp": {"url": "smtps://u:p@mail.example.org", "from": "a@example.org", "to": ["b@example.org"]}}"#;
        let Channels(channels) = Channels::parse(text, Reach::Public).unwrap();
        let names: Vec<&str> = channels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["discord", "post", "post-2", "sns", "smtp"]);
        assert!(!format!("{channels:?}").contains("secret"));
        assert_eq!(Channels::parse("{}", Reach::Public), Ok(Channels::default()));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_may_be_secret() {
        for text in [
            "",
            "[]",
            r#"{"discord": 1}"#,
            r#"{"slack": "https://example.org/secret"}"#,
            r#"{"discord": "http://example.org/secret"}"#,
            r#"{"post": "https://user:secret@example.org/"}"#,
            r#"{"post": "file:///secret"}"#,
            r#"{"post": "http://127.0.0.1/secret"}"#,
            r#"{"sns": "secret"}"#,
            r#"{"smtp": {"url": "secret"}}"#,
            r#"{"post": ["https://a/secret","https://a/","https://a/","https://a/","https://a/","https://a/"]}"#,
        ] {
            let error = Channels::parse(text, Reach::Public).unwrap_err();
            assert!(error.contains("tell") && !error.contains("secret"), "{text}: {error}");
        }
        assert!(Channels::parse(r#"{"post": "http://127.0.0.1:8080/x"}"#, Reach::PublicAndLoopback).is_ok());
    }
}
