//! The screen of `mc-idle status`: at most 80 columns. Pure.
//!
//! Somebody else may have written the file behind it, so every text from it passes [`printable`] here.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use mc_service::printable::printable;

use crate::holds::Source;
use crate::report::sentence::in_words;
use crate::report::status::record::{ConnectionRecord, EfsRecord, HoldRecord, Status};
use crate::report::status::view_file::StatusFile;

const WIDTH: usize = 80;
/// The column where the text of a line begins, after its label.
const INDENT: usize = 13;
const BAR: usize = 30;
/// The most mounts on the screen; `--json` has all.
const MOUNTS_MOST: usize = 4;

/// How the screen is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours (ECMA-48), for a terminal.
    pub colour: bool,
}

/// The screen, with a trailing newline. Ages are relative to `wall`.
#[must_use]
pub fn draw(picture: &StatusFile, style: Style, wall: Timestamp) -> String {
    match picture {
        StatusFile::Fresh { status, age } => body(&status.after(*age), style, wall),
        StatusFile::Stale { status, age } => {
            let age = format!("{} ago", in_words(*age));
            let warning = format!(
                "mc-idle is not responding: this was written {age}. See systemctl status mc-idle, and journalctl -u \
                 mc-idle."
            );
            format!("{}\n\n{}", style.paint(Colour::Red, &wrap(&warning, 0)), body(status, style, wall))
        }
    }
}

fn body(status: &Status, style: Style, wall: Timestamp) -> String {
    let mut screen = String::new();
    let colour = match status.state.as_str() {
        "occupied" => Colour::Green,
        "idle" | "no-server" | "due" | "stopping" => Colour::Yellow,
        "blind" | "stop-failed" => Colour::Red,
        _ => Colour::Plain,
    };
    let state = style.paint(colour, &format!("{:INDENT$}", printable(&status.state)));
    // An agent before an upgrade may have written no summary.
    let said = if status.summary.is_empty() { &status.why } else { &status.summary };
    let _ = writeln!(screen, "{state}{}\n", wrap(said, INDENT));
    let mut line = |label: &str, text: &str| {
        let _ = writeln!(screen, "{label:INDENT$}{}", wrap(text, INDENT));
    };
    if let (Some(elapsed), Some(window)) = (status.idle_seconds, status.window_seconds) {
        line("window", &bar(elapsed, window, status.clock.as_deref()));
    }
    line("stop", &stop(status, wall));
    if status.holds.is_empty() {
        line("hold", if status.delayed_by.as_deref() == Some("hold") { "not known yet" } else { "none" });
    }
    for hold in &status.holds {
        line("hold", &hold_line(hold));
    }
    line("EFS", &efs(status));
    line("heartbeat", &heartbeat(status, wall));
    line("instance", &instance(status));
    for caution in &status.cautions {
        line("note", caution);
    }
    line("online", &online(status, wall));
    line("agent", &format!("mc-idle {}, process {}", status.agent, status.pid));
    let ports: Vec<String> = status.ports.iter().map(u16::to_string).collect();
    let _ = writeln!(screen, "\nconnections on {}", ports.join(", "));
    match status.connections.as_deref() {
        None => screen.push_str("  unknown\n"),
        Some([]) => screen.push_str("  none\n"),
        Some(connections) => connections.iter().for_each(|connection| screen.push_str(&row(connection))),
    }
    screen
}

fn bar(elapsed: u64, window: u64, clock: Option<&str>) -> String {
    let part = elapsed.min(window);
    let filled = usize::try_from(part * BAR as u64 / window.max(1)).unwrap_or(BAR);
    let words = |seconds| in_words(Duration::from_secs(seconds));
    let why = match clock {
        Some("no-server") => " without a server",
        Some("no-player") => " without a player, server or not",
        _ => " without a player",
    };
    format!("[{}{}] {} of {}{why}", "#".repeat(filled), ".".repeat(BAR - filled), words(part), words(window))
}

fn stop(status: &Status, wall: Timestamp) -> String {
    let delay = match (status.delayed_by.as_deref(), status.state.as_str()) {
        (Some("hold"), "due") if status.holds.is_empty() => "; hold sources have not answered yet",
        (Some("hold"), "due") => "; delayed by a hold",
        (Some("efs"), _) => "; delayed by EFS",
        (Some("connection"), _) => "; delayed by a connection that may be a player joining",
        (Some("reclaim"), _) => "; left to EC2",
        (Some("refusal"), "stop-failed") => "; failed, will be retried",
        (Some("refusal"), _) => "; EC2 will refuse it",
        _ => "",
    };
    let when = match (&status.stop_at, status.state.as_str()) {
        (Some(at), _) => match at.parse::<Timestamp>() {
            Ok(time) => {
                let left = Duration::try_from(time.duration_since(wall)).unwrap_or_default();
                format!("{}, in {}", time.strftime("%H:%M UTC"), in_words(left))
            }
            Err(_) => at.clone(),
        },
        (None, "stopping") => "now".to_owned(),
        (None, "due" | "stop-failed") => "due".to_owned(),
        (None, "idle" | "no-server") if !status.holds.is_empty() => "when the hold and the window are over".to_owned(),
        (None, "occupied") => "none while somebody is playing".to_owned(),
        (None, "blind") => "none while blind".to_owned(),
        (None, _) => "none".to_owned(),
    };
    format!("{when}{delay}")
}

fn hold_line(hold: &HoldRecord) -> String {
    let until = match hold.until.as_deref().map(str::parse::<Timestamp>) {
        Some(Ok(until)) => until.strftime(", until %Y-%m-%d %H:%M UTC").to_string(),
        _ => String::new(),
    };
    let source = match hold.source {
        Source::Operator => "by mc-idle hold",
        Source::Inhibitor => "an inhibitor lock, ends with its process",
        Source::Ssh => "an SSH session, ends at logout",
        Source::Parameter => "by hold.parameter",
    };
    format!("{}; {source}{until}", hold.reason)
}

fn efs(status: &Status) -> String {
    let EfsRecord { state, mount_point, mounts } = &status.efs;
    match (mounts.as_slice(), mount_point) {
        ([], None) => "nothing is on EFS".to_owned(),
        // An agent before an upgrade may have written no mounts.
        ([], Some(path)) => format!("{state} at {path}"),
        (mounts, _) => {
            let texts: Vec<&str> = mounts.iter().take(MOUNTS_MOST).map(|mount| mount.why.as_str()).collect();
            let more = match mounts.len().saturating_sub(MOUNTS_MOST) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            texts.join("; ") + &more
        }
    }
}

fn heartbeat(status: &Status, wall: Timestamp) -> String {
    let Some(parameter) = &status.heartbeat.parameter else { return "not configured".to_owned() };
    let written = status.heartbeat.written_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
    let written = written.map(|at| in_words(Duration::try_from(wall.duration_since(at)).unwrap_or_default()));
    match (&status.heartbeat.error, written) {
        (None, Some(ago)) => format!("{parameter}, written {ago} ago"),
        (None, None) if status.dry_run => format!("{parameter}, not written in a dry run"),
        (None, None) => format!("{parameter}, not written yet"),
        (Some(error), Some(ago)) => format!("{parameter}, last written {ago} ago: {error}"),
        (Some(error), None) => format!("{parameter}, not written: {error}"),
    }
}

/// The server's answer, and when a player was last seen.
fn online(status: &Status, wall: Timestamp) -> String {
    let said = match (status.online, status.names.is_empty()) {
        (None, _) => "not reported by the server".to_owned(),
        (Some(online), true) => format!("{online} reported by the server"),
        (Some(online), false) => format!(
            "{online} reported by the server: {}",
            status.names.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ")
        ),
    };
    let last = status.last_player_at.as_ref().and_then(|at| at.parse::<Timestamp>().ok());
    match last {
        Some(at) if status.state != "occupied" => {
            let ago = in_words(Duration::try_from(wall.duration_since(at)).unwrap_or_default());
            format!("{said}; last player left {ago} ago")
        }
        Some(_) => said,
        None => format!("{said}; no player since boot"),
    }
}

fn instance(status: &Status) -> String {
    let dry_run = if status.dry_run { "; dry run" } else { "" };
    match (&status.instance_id, &status.region) {
        (Some(id), Some(region)) => format!("{id} in {region}; action: {}{dry_run}", status.action),
        _ => format!("not known yet; action: {}{dry_run}", status.action),
    }
}

fn row(connection: &ConnectionRecord) -> String {
    let age = connection.age_seconds.map_or_else(String::new, |age| in_words(Duration::from_secs(age)));
    let container = if connection.container { ", in a container or another network" } else { "" };
    let (peer, why) = (printable(&connection.peer), format!("{}{container}", printable(&connection.why)));
    let line = format!("  {peer:<24} {age:>8}  {why}");
    if line.chars().count() <= WIDTH { line + "\n" } else { format!("  {peer}\n  {:<24} {age:>8}  {why}\n", "") }
}

/// Breaks `text` between words, and indents all lines but the first by `indent` spaces. A word longer than a line stays
/// whole. The result has no other line breaks, even if `text` has.
fn wrap(text: &str, indent: usize) -> String {
    let text = printable(text);
    let (mut wrapped, mut column) = (String::new(), indent);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

#[derive(Clone, Copy)]
enum Colour {
    Plain,
    Red,
    Green,
    Yellow,
}

impl Style {
    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Plain => return text.to_owned(),
        };
        if self.colour { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A status file with `text` in every text field.
    fn picture(text: &str) -> StatusFile {
        let connection = |age: Value| {
            json!({
                "peer": text, "local": text, "age_seconds": age, "counts_as": text, "why": text, "container": true,
            })
        };
        let status = json!({
            "v": 1, "agent": text, "pid": 7, "boot_id": text, "instance_id": text, "region": text, "action": text,
            "dry_run": true, "at": text, "at_ms": 0, "next_by_ms": 0, "state": text, "why": text, "summary": text,
            "ports": [25565], "players": 1, "young": 0, "online": 1, "names": [text], "last_player_at": text,
            "connections": [connection(json!(5)), connection(json!(null))],
            "clock": text, "idle_seconds": 5, "window_seconds": 900, "stop_at": text, "delayed_by": text,
            "holds": [{"source": "operator", "until": text, "reason": text}],
            "efs": {
                "state": text, "mount_point": text,
                "mounts": [{"path": text, "mount_point": text, "state": text, "why": text}],
            },
            "heartbeat": {"parameter": text, "written_at": text, "error": text}, "cautions": [text],
        });
        StatusFile::Stale { status: serde_json::from_value(status).unwrap(), age: Duration::ZERO }
    }

    #[test]
    fn no_text_of_a_picture_forges_a_line_or_moves_the_cursor() {
        let drawn = |text| draw(&picture(text), Style { colour: false }, Timestamp::UNIX_EPOCH);
        // As wide as the other text once that is escaped.
        let (honest, forged) = (drawn(&"x".repeat(24)), drawn("\n\x1b[2J\u{202e}\u{9b}1"));
        assert!(forged.contains("\\n\\u001b[2J\\u202e\\u009b1"), "{forged:?}");
        for line in forged.lines() {
            assert_eq!(printable(line), line, "a line that is not printed as it is");
        }
        assert_eq!(forged.lines().count(), honest.lines().count(), "{forged}\n{honest}");
    }
}
