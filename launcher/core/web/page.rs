//! The page: rendered here, works without JavaScript, follows by itself with it. Pure.

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest;

use crate::server::status::{Status, Word};

/// One small stylesheet, light and dark.
const STYLE: &str = include_str!("page.css");
/// Shows the page anew when the state has changed.
const SCRIPT: &str = include_str!("page.js");

/// What somebody who looks at the page may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Looks, and is told that an invitation is needed.
    Stranger,
    /// Has the key: may press start, and sees names and addresses.
    Friend,
}

/// The page about `server`. `notice` is what became of a press of the button.
#[must_use]
pub fn page(server: &str, status: &Status, viewer: Viewer, notice: Option<&str>) -> String {
    let title = format!("{server}: {}", status.state);
    let follows = status.wished || !matches!(status.state, Word::Asleep);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (head(&title))
                // To the page by its own address: a refusal is shown at /start, which cannot be got.
                @if follows { noscript { meta http-equiv="refresh" content="15; url=/"; } }
            }
            body data-state=(status.state) {
                main {
                    section {
                        h1 { (server) }
                        p.state { span.dot {} " " strong { (status.state) } }
                        p.why { (status.why) }
                        @if let Some(notice) = notice { p.notice role="status" { (notice) } }
                        (start_button(status, viewer))
                        (address(status))
                        (facts(status))
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A page with one sentence: plain text is too small to read on a phone.
#[must_use]
pub fn sentence(sentence: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { (head("Minecraft server")) }
            body {
                main {
                    section {
                        p { (sentence) }
                        p.hint { a href="/" { "How the server is" } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn head(title: &str) -> Markup {
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="robots" content="noindex";
        meta name="color-scheme" content="light dark";
        title { (title) }
        style { (PreEscaped(STYLE)) }
    }
}

fn start_button(status: &Status, viewer: Viewer) -> Markup {
    let is_down = matches!(status.state, Word::Asleep | Word::Stopping);
    let may_start = is_down && !status.wished && status.over_budget.is_none();
    html! {
        @match (viewer, may_start) {
            (Viewer::Friend, true) => form method="post" action="/start" { button type="submit" { "Start the server" } },
            (Viewer::Friend, false) => {},
            (Viewer::Stranger, _) => p.hint { "To start the server, open the invitation link that its owner sent you." },
        }
    }
}

fn address(status: &Status) -> Markup {
    html! {
        @if let Some(address) = status.address_in_words() {
            p.address { code { (address) } button type="button" data-copy=(address) hidden { "Copy" } }
        }
    }
}

fn facts(status: &Status) -> Markup {
    let fact = |name: &str, value: &Markup| html! { div { dt { (name) } dd { (value) } } };
    let at = |time: Timestamp| {
        html! { time datetime=(time.strftime("%Y-%m-%dT%H:%M:%SZ")) { (time.strftime("%H:%M UTC")) } }
    };
    let usd = |amount: f64| html! { "$" (format!("{amount:.2}")) };
    let nobody_since = status.last_player_at.filter(|_| status.players == Some(0));
    html! {
        dl {
            @if let Some(players) = status.players {
                (fact("Players", &html! { (players) @if let Some(names) = &status.names { ": " (names) } }))
            }
            @if let Some(time) = nobody_since { (fact("Nobody since", &at(time))) }
            @if let Some(time) = status.stop_at { (fact("Stops at", &at(time))) }
            @if let Some(time) = status.since { (fact("Started at", &at(time))) }
            @if let Some(amount) = status.cost_usd { (fact("This evening", &usd(amount))) }
            @if let Some(amount) = status.month_usd { (fact("This month", &usd(amount))) }
        }
    }
}

/// The headers of every answer that a browser shows. The page's own style and script are named by their hashes, so nothing
/// else can run on it (Content Security Policy, level 3).
#[must_use]
pub fn headers() -> Vec<(&'static str, String)> {
    let hash = |text: &str| {
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        format!("'sha256-{}'", BASE64_STANDARD.encode(digest))
    };
    let policy = format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    vec![
        ("cache-control", "no-store".to_owned()),
        ("content-security-policy", policy),
        ("referrer-policy", "same-origin".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-robots-tag", "noindex, nofollow".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::state::ServerState;
    use crate::server::status::Subject;
    use crate::server::status::tests::{at, instance, occupied, settings};

    fn status(state: &ServerState) -> Status {
        let (settings, heartbeat) = (settings(&[("MC_PRICE_PER_HOUR", "0.0832")]), occupied());
        let subject = Subject {
            settings: &settings,
            state,
            heartbeat: Some(&heartbeat),
            usage: None,
            wished: false,
            taken_back: None,
            now: at(7200),
        };
        Status::new(&subject)
    }

    #[test]
    fn a_friend_gets_a_button_when_the_server_sleeps_and_the_address_when_it_is_up() {
        let asleep = page("survival", &status(&ServerState::Asleep), Viewer::Friend, None);
        assert!(asleep.contains(r#"<form method="post" action="/start">"#), "{asleep}");
        assert!(asleep.contains("<title>survival: asleep</title>") && !asleep.contains("http-equiv"));
        let up = page("survival", &status(&ServerState::Up(instance())), Viewer::Friend, None);
        assert!(!up.contains("<form") && up.contains("<code>203.0.113.7</code>"), "{up}");
        assert!(up.contains("2: Alex, Steve") && up.contains("$0.17") && up.contains("http-equiv=\"refresh\""), "{up}");
    }

    #[test]
    fn a_stranger_gets_no_button() {
        for state in [ServerState::Asleep, ServerState::Up(instance())] {
            let page = page("survival", &status(&state).without_secrets(), Viewer::Stranger, None);
            assert!(!page.contains("<form") && page.contains("invitation link"), "{page}");
            assert!(!page.contains("Alex") && !page.contains("203.0.113.7"), "{page}");
        }
    }

    #[test]
    fn what_others_wrote_is_text() {
        let evil = "<script>alert(1)</script>\"&".to_owned();
        let status = Status { names: Some(evil.clone()), why: evil.clone(), ..status(&ServerState::Up(instance())) };
        let page = page("survival", &status, Viewer::Friend, Some(&evil));
        assert_eq!(page.matches("<script>").count(), 1, "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 3, "{page}");
    }

    #[test]
    fn only_the_pages_own_script_runs() {
        let headers = headers();
        let policy = &headers.iter().find(|(name, _)| *name == "content-security-policy").unwrap().1;
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(policy.matches("'sha256-").count(), 2);
        assert!(headers.contains(&("referrer-policy", "same-origin".to_owned())));
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</"));
    }
}
