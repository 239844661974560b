//! The screen of `mc-idle status`, for a person: at most 80 columns. Pure.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::record::{ConnectionRecord, HoldRecord, Status};
use super::view_file::Picture;
use crate::hold::Source;
use crate::sentence::in_words;

const WIDTH: usize = 80;
/// Where the text of a line begins, behind its label.
const INDENT: usize = 13;
const BAR: usize = 30;

/// How the screen is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours (ECMA-48), for a terminal.
    pub colour: bool,
}

/// The screen, with a newline at its end. `wall` is the time that ages are counted to.
#[must_use]
pub fn draw(picture: &Picture, style: Style, wall: Timestamp) -> String {
    match picture {
        Picture::Fresh { status, age } => body(&status.after(*age), style, wall),
        Picture::Stale { status, age } => {
            let age = format!("{} ago", in_words(*age));
            let warning = format!(
                "mc-idle does not answer: what follows was written {age}. See systemctl status mc-idle, and \
                 journalctl -u mc-idle."
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
    let state = style.paint(colour, &format!("{:INDENT$}", status.state));
    // An agent from before an upgrade has no summary.
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
        line("hold", "none");
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
    let why = if clock == Some("no-server") { " without a server" } else { " without a player" };
    format!("[{}{}] {} of {}{why}", "#".repeat(filled), ".".repeat(BAR - filled), words(part), words(window))
}

fn stop(status: &Status, wall: Timestamp) -> String {
    let delay = match (status.delayed_by.as_deref(), status.state.as_str()) {
        (Some("hold"), "due") if status.holds.is_empty() => "; whether anybody holds is not known yet",
        (Some("hold"), "due") => "; a hold delays it",
        (Some("efs"), _) => "; EFS delays it",
        (Some("connection"), _) => "; a connection that may be a player joining delays it",
        (Some("reclaim"), _) => "; it is left to EC2",
        (Some("refusal"), "stop-failed") => "; it was refused, and is tried again",
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
        (None, "idle" | "no-server") if !status.holds.is_empty() => "when hold and window are over".to_owned(),
        (None, "occupied") => "none while somebody plays".to_owned(),
        (None, "blind") => "none while the sockets cannot be seen".to_owned(),
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
        Source::Inhibitor => "an inhibitor lock, which ends with its process",
        Source::Ssh => "an SSH session, which ends with the logout",
        Source::Parameter => "by hold.parameter",
    };
    format!("{}; {source}{until}", hold.reason)
}

fn efs(status: &Status) -> String {
    match (&status.efs.mount_point, status.efs.state.as_str()) {
        (None, _) => "nothing is on EFS".to_owned(),
        (Some(path), "mounted") => format!("mounted at {path}"),
        (Some(path), "missing") => format!("not mounted at {path}"),
        (Some(path), "hung") => format!("mounted at {path}, but it does not answer"),
        (Some(path), other) => format!("{other} at {path}"),
    }
}

fn heartbeat(status: &Status, wall: Timestamp) -> String {
    let Some(parameter) = &status.heartbeat.parameter else { return "none is configured".to_owned() };
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

fn instance(status: &Status) -> String {
    let dry_run = if status.dry_run { "; dry run" } else { "" };
    match (&status.instance_id, &status.region) {
        (Some(id), Some(region)) => format!("{id} in {region}; action: {}{dry_run}", status.action),
        _ => format!("not known yet; action: {}{dry_run}", status.action),
    }
}

fn row(connection: &ConnectionRecord) -> String {
    let age = connection.age_seconds.map_or_else(String::new, |age| in_words(Duration::from_secs(age)));
    let container = if connection.container { ", in a container" } else { "" };
    let (peer, why) = (&connection.peer, format!("{}{container}", connection.why));
    let line = format!("  {peer:<24} {age:>8}  {why}");
    if line.chars().count() <= WIDTH { line + "\n" } else { format!("  {peer}\n  {:<24} {age:>8}  {why}\n", "") }
}

/// Breaks `text` between words; lines after the first begin behind `indent` spaces. A word longer than a line stays whole.
fn wrap(text: &str, indent: usize) -> String {
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
