//! The current state in a sentence for people: for `systemctl status`, the journal and the heartbeat's `why`.
//!
//! Pure. Peer addresses are only in [`alarm`], which goes to the journal alone.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use mc_idle_rule::clocks::ClockKind;
use mc_idle_rule::rule::StopError;
use mc_idle_rule::view::{Blocker, State};
use mc_idle_rule::{Alarm, Edition, Efs};

use crate::cloud::StopAction;
use crate::holds::{self, Hold, Source};
use crate::host::mounts::efs::{JudgedMount, WatchedMount};
use crate::report::snapshot::Snapshot;

/// The headline, then everything else that is wrong: for the status and the heartbeat.
#[must_use]
pub fn sentence(snapshot: &Snapshot<'_>) -> String {
    let parts = parts(snapshot);
    parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join(" ")
}

/// The same, without what has its own line on the screen: holds, heartbeat and cautions.
#[must_use]
pub fn summary(snapshot: &Snapshot<'_>) -> String {
    let parts = parts(snapshot);
    let here = parts.into_iter().filter(|part| !part.own_line);
    here.map(|part| part.text).collect::<Vec<_>>().join(" ")
}

struct Part {
    own_line: bool,
    text: String,
}

fn parts(snapshot: &Snapshot<'_>) -> Vec<Part> {
    let here = |text| Part { own_line: false, text };
    let on_its_own_line = |text| Part { own_line: true, text };
    let Snapshot { view, conditions, settings, wall, .. } = snapshot;
    let mut parts = Vec::new();
    parts.extend(conditions.notice.as_ref().map(|notice| here(format!("{notice}."))));
    parts.push(here(headline(snapshot)));
    if !matches!(view.state, State::Due(Blocker::Efs { .. })) {
        parts.extend(efs_trouble(view.efs, &conditions.mounts).map(|trouble| here(format!("{trouble}."))));
    }
    if view.state == State::Ended {
        return parts;
    }
    if let Some(hold) = holds::longest(&conditions.holds) {
        parts.push(on_its_own_line(held(hold, *wall)));
        if conditions.holds.len() > 1 {
            parts.push(on_its_own_line(format!("{} holds in total.", conditions.holds.len())));
        }
    }
    parts.extend(conditions.hold_notes.iter().map(|note| here(note.text.clone())));
    if conditions.dry_run {
        parts.push(here("Dry run: no requests to AWS.".to_owned()));
    }
    if let Some(trouble) = &conditions.identity_trouble {
        parts.push(here(format!("Cannot stop this instance yet: instance metadata is unavailable: {trouble}.")));
    }
    if let (Some(stop_error), false) =
        (&conditions.permission_trouble, matches!(view.state, State::StopFailed { .. } | State::Stopping { .. }))
    {
        parts.push(here(permission(stop_error, settings.action)));
    }
    if let Some(trouble) = &conditions.heartbeat_trouble {
        parts.push(on_its_own_line(format!("Cannot write heartbeats: {trouble}.")));
    }
    let caveats = conditions.caveats.iter().filter_map(|caveat| caveat.text(settings.action));
    parts.extend(caveats.map(on_its_own_line));
    parts
}

/// A hold as a sentence.
#[must_use]
pub fn held(hold: &Hold, wall: Timestamp) -> String {
    let until = hold.left.and_then(|left| wall.checked_add(left).ok());
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M UTC")));
    let what = match hold.source {
        Source::Operator => "Held",
        Source::Inhibitor => "Held by an inhibitor lock",
        Source::Ssh => "Held by an SSH session",
        Source::Parameter => "Held by SSM parameter",
    };
    format!("{what}{until}: {}.", hold.reason)
}

/// The result of a failed permission check.
#[must_use]
pub fn permission(stop_error: &StopError, action: StopAction) -> String {
    let noun = noun(action);
    if stop_error.permanent {
        format!("The {noun} will fail when it is due: {}.", stop_error.text)
    } else {
        format!("Cannot check yet whether EC2 allows the {noun}: {}.", stop_error.text)
    }
}

/// The headline alone: for the journal, where everything else has its own line.
#[must_use]
pub fn headline(snapshot: &Snapshot<'_>) -> String {
    let Snapshot { view, conditions, settings, .. } = snapshot;
    let ports = settings.scope.in_words();
    let (verb, noun) = (settings.action.verb(), noun(settings.action));
    let (players, young) = view.counts.map_or((0, 0), |counts| (counts.players, counts.young));
    match &view.state {
        State::Starting => format!("Starting: {ports} not checked yet."),
        State::Occupied => {
            let mut text = match (players, view.online.unwrap_or(0)) {
                (0, 1) => "The server reports 1 player, but no connection shows one.".to_owned(),
                (0, online @ 1..) => format!("The server reports {online} players, but no connection shows one."),
                (1, _) => format!("1 player is on {ports}."),
                _ => format!("{players} players are on {ports}."),
            };
            text.push_str(&young_clause(young));
            if let Some(unknown) = &view.also_unknown {
                let _ = write!(text, " Not everything is visible: {unknown}.");
            }
            text
        }
        State::Idle => {
            let mut text = format!("No players on {ports}; {}", forecast(snapshot));
            text.push_str(" unless a player joins.");
            text.push_str(&young_clause(young));
            text
        }
        State::NoServer => {
            let unless = match view.running.map(|running| running.clock) {
                Some(ClockKind::NoPlayer) => "a player joins",
                _ => "a server starts",
            };
            format!("No server on {ports}; {} unless {unless}.", forecast(snapshot))
        }
        State::Due(wait) => {
            let name = match view.running.map(|running| running.clock) {
                Some(ClockKind::NoServer) => "no-server window",
                Some(ClockKind::NoPlayer) => "no-player window",
                _ => "idle window",
            };
            let window = view.window.map(in_words).unwrap_or_default();
            match wait {
                Blocker::Efs { left } => {
                    let trouble = efs_trouble(view.efs, &conditions.mounts)
                        .unwrap_or_else(|| "EFS has not answered yet".to_owned());
                    let patience = match left {
                        Some(left) => format!("for at most {} more", in_words(*left)),
                        None => "until it is back".to_owned(),
                    };
                    format!("The {name} of {window} is over, but {trouble}; the {noun} waits {patience}.")
                }
                // Right after the start: not every hold source has answered yet.
                Blocker::Hold if conditions.holds.is_empty() => {
                    format!("The {name} of {window} is over, but the {noun} waits for the hold sources to answer.")
                }
                Blocker::Hold => format!("The {name} of {window} is over, but the {noun} waits for a hold to end."),
                Blocker::Reclaim => format!("The {name} of {window} is over; the {noun} is left to EC2."),
                Blocker::Joining { unanswered: true } => format!(
                    "The {name} of {window} is over, but connections to {ports} come and go, and the server does not \
                     confirm that nobody is online; the {noun} waits until it does."
                ),
                Blocker::Joining { unanswered: false } => format!(
                    "The {name} of {window} is over, but somebody may be joining on {ports}; the {noun} waits until \
                     they are in or give up."
                ),
                Blocker::Moment => format!("The {name} of {window} is over; the {noun} is next."),
            }
        }
        State::Blind { why, lasting } => {
            let since = if lasting.as_secs() == 0 { String::new() } else { format!(" for {}", in_words(*lasting)) };
            format!(
                "Blind{since}: {why}. The clock is paused and nothing is stopped until everything is visible again."
            )
        }
        State::Stopping { accepted: false } => format!("No connections left; requesting the {noun}."),
        State::Stopping { accepted: true } if conditions.dry_run => {
            format!("EC2 would be asked to {verb} this instance now.")
        }
        State::Stopping { accepted: true } => format!("EC2 accepted the {noun}; waiting for the shutdown."),
        State::StopFailed { stop_error, again_in } => {
            format!("The {noun} failed: {}. Next try in {}.", stop_error.text, in_words(*again_in))
        }
        State::Ended => "mc-idle exited; this instance is not monitored.".to_owned(),
    }
}

/// An alarm as a sentence. `peers` are the addresses that a due stop waits for because they may be joining.
#[must_use]
pub fn alarm(alarm: &Alarm, peers: &[String], snapshot: &Snapshot<'_>) -> String {
    let noun = noun(snapshot.settings.action);
    match alarm {
        Alarm::Blind => headline(snapshot),
        Alarm::GivenUp(listener) if listener.edition == Edition::Bedrock => format!(
            "The listener on Bedrock port {} does not answer and no longer delays a {noun}; players there cannot be \
             seen.",
            listener.address
        ),
        Alarm::GivenUp(listener) => format!(
            "The server at {} has not answered for half an hour; the players that it last reported no longer count.",
            listener.address
        ),
        Alarm::OnlineUnseen => {
            "For 4 h the server has reported players, but no connection shows one; if a plugin makes up the number, \
             set minecraft.ask = false."
                .to_owned()
        }
        Alarm::PlayersDenied => {
            "For 4 h a connection has counted as a player while the server reports nobody online; mc-idle status \
             shows which."
                .to_owned()
        }
        Alarm::JoiningUnanswered => format!(
            "The {noun} has waited too long for connections that come and go ({}), and the server does not confirm \
             that nobody is online: enable its status pings, or add those peers to minecraft.ignore_peers.",
            if peers.is_empty() { "none right now".to_owned() } else { peers.join(", ") }
        ),
        Alarm::NoWitness(why) => format!(
            "No second witness for sockets: {why}. This instance is stopped only while every server answers status \
             pings, or where none listens."
        ),
    }
}

/// The noun for sentences such as "the ... failed".
#[must_use]
pub fn noun(action: StopAction) -> &'static str {
    match action {
        StopAction::Stop => "stop",
        StopAction::Hibernate => "hibernation",
        StopAction::Terminate => "termination",
    }
}

fn forecast(snapshot: &Snapshot<'_>) -> String {
    let Snapshot { view, conditions, settings, wall, .. } = snapshot;
    let action = match settings.action {
        StopAction::Stop => "stops",
        StopAction::Hibernate => "hibernates",
        StopAction::Terminate => "is terminated",
    };
    match view.stop_in {
        _ if !conditions.holds.is_empty() => {
            format!("this instance {action} when the hold ends and the window is over")
        }
        Some(left) => {
            let at = wall.checked_add(left).unwrap_or(*wall).strftime("%H:%M UTC");
            let (left, noun) = (in_words(left), noun(settings.action));
            if conditions.will_be_refused() {
                format!("the {noun} is due in {left} ({at})")
            } else {
                format!("this instance {action} in {left} ({at})")
            }
        }
        None => format!("this instance {action} when the window is over"),
    }
}

fn young_clause(young: usize) -> String {
    match young {
        0 => String::new(),
        1 => " 1 connection is too young to count.".to_owned(),
        _ => format!(" {young} connections are too young to count."),
    }
}

fn efs_trouble(efs: Efs, mounts: &[JudgedMount]) -> Option<String> {
    let named = names(mounts.iter().filter(|mount| mount.state == efs));
    let unknown = mounts.iter().find_map(|mount| match &mount.watched {
        WatchedMount::Unknown(why) => Some(why),
        WatchedMount::Mounted { .. } | WatchedMount::Missing { .. } => None,
    });
    match (efs, unknown) {
        (Efs::Missing, Some(why)) if named.is_empty() => Some(format!("EFS mounts cannot be checked: {why}")),
        (Efs::Missing, _) => Some(format!("EFS is not mounted at {named}")),
        (Efs::Hung, _) => Some(format!("EFS at {named} does not answer")),
        (Efs::Off | Efs::Mounted | Efs::Unproven, _) => None,
    }
}

/// The names of `mounts` as a list: "/mnt/efs and /mnt/backup"; of many only the first three.
#[must_use]
pub fn names<'a>(mounts: impl Iterator<Item = &'a JudgedMount>) -> String {
    const MOST: usize = 3;
    let names: Vec<&Path> = mounts.filter_map(|mount| mount.watched.named()).collect();
    let shown = |names: &[&Path]| names.iter().map(|name| name.display().to_string()).collect::<Vec<_>>().join(", ");
    match names.as_slice() {
        [others @ .., last] if (1..MOST).contains(&others.len()) => format!("{} and {}", shown(others), last.display()),
        names if names.len() > MOST => format!("{} and {} more", shown(&names[..MOST]), names.len() - MOST),
        names => shown(names),
    }
}

/// A duration in words: seconds below two minutes, then minutes, then hours and minutes; rounded up.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let minutes = seconds.div_ceil(60);
    match (seconds, minutes) {
        (..120, _) => format!("{seconds} s"),
        (_, ..120) => format!("{minutes} min"),
        _ if minutes.is_multiple_of(60) => format!("{} h", minutes / 60),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::metadata::StopCaveat;
    use crate::config::Settings;
    use crate::report::conditions::Conditions;
    use mc_idle_rule::{Moment, Rule, View};

    /// The window is over, but the stop waits for a hold.
    fn held_back<'a>(settings: &'a Settings, conditions: &'a Conditions) -> Snapshot<'a> {
        let (rule, moment) = (Rule::new(settings.rule_settings()), Moment(Duration::ZERO));
        let snapshot = Snapshot::new(&rule, &[], settings, conditions, moment, Timestamp::UNIX_EPOCH);
        let window = Some(Duration::from_mins(15));
        Snapshot { view: View { window, ..View::of(State::Due(Blocker::Hold)) }, ..snapshot }
    }

    #[test]
    fn a_hold_is_spoken_of_only_when_there_is_one() {
        let (settings, mut conditions) = (Settings::default(), Conditions::default());
        let unheard = headline(&held_back(&settings, &conditions));
        assert!(unheard.ends_with("the stop waits for the hold sources to answer."), "{unheard}");
        conditions.holds.push(Hold { source: Source::Ssh, reason: "alice is logged in".to_owned(), left: None });
        let held = headline(&held_back(&settings, &conditions));
        assert!(held.ends_with("the stop waits for a hold to end."), "{held}");
    }

    #[test]
    fn the_summary_leaves_out_what_has_a_line_of_its_own() {
        let (settings, mut conditions) = (Settings::default(), Conditions { dry_run: true, ..Conditions::default() });
        conditions.holds.push(Hold { source: Source::Ssh, reason: "alice is logged in".to_owned(), left: None });
        conditions.heartbeat_trouble = Some("SSM does not answer".to_owned());
        conditions.caveats.insert(StopCaveat::Spot);
        let all = sentence(&held_back(&settings, &conditions));
        let summary = summary(&held_back(&settings, &conditions));
        for said in ["alice", "SSM", "spot instance"] {
            assert!(all.contains(said) && !summary.contains(said), "{said}: {all} / {summary}");
        }
        assert!(summary.ends_with("a hold to end. Dry run: no requests to AWS."), "{summary}");
    }

    #[test]
    fn durations_are_said_as_a_person_would() {
        let said = |seconds| in_words(Duration::from_secs_f64(seconds));
        assert_eq!(
            [said(0.0), said(0.1), said(119.0), said(119.5), said(7199.0), said(7260.0)],
            ["0 s", "1 s", "119 s", "2 min", "2 h", "2 h 1 min"]
        );
    }
}
