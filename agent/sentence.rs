//! What is so, in a sentence for a person: the text of `systemctl status`, of the journal and of the heartbeat's `why`.
//!
//! Pure. No peer address is ever in it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Settings;
use crate::config::settings::StopAction;
use crate::hold::{self, Hold, Source};
use crate::idle::view::{State, View, Wait};
use crate::idle::window::Clock;
use crate::idle::{Efs, rule::Refusal};
use crate::metadata::{Caution, Identity, Notice};

/// What the sentence needs to know beside the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The Minecraft ports, in words.
    pub ports: String,
    /// Where EFS is to be mounted.
    pub mount_point: PathBuf,
    /// What EC2 is asked for.
    pub action: StopAction,
    /// Nothing is asked of AWS.
    pub dry_run: bool,
    /// Why it is not known yet which instance this is.
    pub identity_trouble: Option<String>,
    /// What EC2 said when it was asked for permission in advance.
    pub permission_trouble: Option<Refusal>,
    /// Why heartbeats are not written.
    pub heartbeat_trouble: Option<String>,
    /// What makes a stop another thing here.
    pub cautions: BTreeSet<Caution>,
    /// EC2 takes the instance back.
    pub notice: Option<Notice>,
    /// Which instance this is.
    pub identity: Option<Identity>,
    /// Who holds the instance.
    pub holds: Vec<Hold>,
}

impl Circumstances {
    /// The circumstances at the start.
    #[must_use]
    pub fn new(settings: &Settings, dry_run: bool) -> Self {
        let mut circumstances = Circumstances {
            ports: String::new(),
            mount_point: PathBuf::new(),
            action: settings.action,
            dry_run,
            identity_trouble: None,
            permission_trouble: None,
            heartbeat_trouble: None,
            cautions: BTreeSet::new(),
            notice: None,
            identity: None,
            holds: Vec::new(),
        };
        circumstances.set(settings);
        circumstances
    }

    /// Takes over what the settings say.
    pub fn set(&mut self, settings: &Settings) {
        self.ports = settings.scope.in_words();
        self.mount_point.clone_from(&settings.efs.mount_point);
        self.action = settings.action;
    }
}

/// The sentence, and after it whatever else is in trouble: for the status and the heartbeat.
#[must_use]
pub fn sentence(view: &View, circumstances: &Circumstances, wall: Timestamp) -> String {
    let parts = parts(view, circumstances, wall);
    parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join(" ")
}

/// The same without what has a line of its own on the screen: holds, heartbeat and cautions.
#[must_use]
pub fn summary(view: &View, circumstances: &Circumstances, wall: Timestamp) -> String {
    let parts = parts(view, circumstances, wall);
    let here = parts.into_iter().filter(|part| !part.own_line);
    here.map(|part| part.text).collect::<Vec<_>>().join(" ")
}

struct Part {
    own_line: bool,
    text: String,
}

fn parts(view: &View, circumstances: &Circumstances, wall: Timestamp) -> Vec<Part> {
    let here = |text| Part { own_line: false, text };
    let on_its_own_line = |text| Part { own_line: true, text };
    let mut parts = Vec::new();
    parts.extend(circumstances.notice.as_ref().map(|notice| here(format!("{notice}."))));
    parts.push(here(headline(view, circumstances, wall)));
    if !matches!(view.state, State::Due(Wait::Efs { .. })) {
        parts.extend(efs_trouble(view.efs, circumstances).map(|trouble| here(format!("{trouble}."))));
    }
    if view.state == State::Ended {
        return parts;
    }
    if let Some(hold) = hold::longest(&circumstances.holds) {
        parts.push(on_its_own_line(held(hold, wall)));
        if circumstances.holds.len() > 1 {
            parts.push(on_its_own_line(format!("There are {} holds in all.", circumstances.holds.len())));
        }
    }
    if circumstances.dry_run {
        parts.push(here("Dry run: nothing is asked of AWS.".to_owned()));
    }
    if let Some(trouble) = &circumstances.identity_trouble {
        parts.push(here(format!("Nothing can be stopped yet, since instance metadata is not to be had: {trouble}.")));
    }
    if let (Some(refusal), false) =
        (&circumstances.permission_trouble, matches!(view.state, State::StopFailed { .. } | State::Stopping { .. }))
    {
        parts.push(here(permission(refusal, circumstances.action)));
    }
    if let Some(trouble) = &circumstances.heartbeat_trouble {
        parts.push(on_its_own_line(format!("Heartbeats are not written: {trouble}.")));
    }
    let cautions = circumstances.cautions.iter().filter_map(|caution| caution.text(circumstances.action));
    parts.extend(cautions.map(on_its_own_line));
    parts
}

/// EC2 has said in advance that it will refuse the stop.
#[must_use]
pub fn will_be_refused(circumstances: &Circumstances) -> bool {
    circumstances.permission_trouble.as_ref().is_some_and(|refusal| refusal.lasting)
}

/// A hold, in a sentence.
#[must_use]
pub fn held(hold: &Hold, wall: Timestamp) -> String {
    let until = hold.left.and_then(|left| wall.checked_add(left).ok());
    let until = until.map_or_else(String::new, |until| format!(" until {}", until.strftime("%Y-%m-%d %H:%M UTC")));
    let what = match hold.source {
        Source::Operator => "Held",
        Source::Inhibitor => "Held by an inhibitor lock",
        Source::Ssh => "Held by an SSH session",
        Source::Parameter => "Held from afar",
    };
    format!("{what}{until}: {}.", hold.reason)
}

/// What EC2 said when it was asked for permission in advance.
#[must_use]
pub fn permission(refusal: &Refusal, action: StopAction) -> String {
    let noun = noun(action);
    if refusal.lasting {
        format!("When the time comes the {noun} will fail: {}.", refusal.text)
    } else {
        format!("Whether EC2 would allow the {noun} is not known yet: {}.", refusal.text)
    }
}

/// The sentence alone: for the journal, where every trouble has a line of its own.
#[must_use]
pub fn headline(view: &View, circumstances: &Circumstances, wall: Timestamp) -> String {
    let ports = &circumstances.ports;
    let verb = circumstances.action.verb();
    let (players, young) = view.counts.map_or((0, 0), |counts| (counts.players, counts.young));
    match &view.state {
        State::Starting => format!("Starting: {ports} has not been looked at yet."),
        State::Occupied => {
            let mut text = match players {
                1 => format!("1 player is on {ports}."),
                _ => format!("{players} players are on {ports}."),
            };
            text.push_str(&young_clause(young));
            text
        }
        State::Idle => {
            let mut text = format!("Nobody plays on {ports}; {}", forecast(view, circumstances, wall));
            text.push_str(" unless a player joins.");
            text.push_str(&young_clause(young));
            text
        }
        State::NoServer => {
            format!("Nothing listens on {ports}; {} unless a server starts.", forecast(view, circumstances, wall))
        }
        State::Due(wait) => {
            let name = match view.running.map(|running| running.clock) {
                Some(Clock::NoServer) => "no-server window",
                _ => "idle window",
            };
            let window = view.window.map(in_words).unwrap_or_default();
            match wait {
                Wait::Efs { left } => {
                    let trouble =
                        efs_trouble(view.efs, circumstances).unwrap_or_else(|| "EFS has not answered yet".to_owned());
                    let patience = match left {
                        Some(left) => format!("for at most {} more", in_words(*left)),
                        None => "until it is back".to_owned(),
                    };
                    format!("The {name} of {window} is over, but {trouble}; the {verb} waits {patience}.")
                }
                // Nobody who may know of a hold has been heard yet, right after the start.
                Wait::Hold if circumstances.holds.is_empty() => format!(
                    "The {name} of {window} is over, but the {verb} waits for the answer whether anybody holds this \
                     instance."
                ),
                Wait::Hold => format!("The {name} of {window} is over, but the {verb} waits for the end of a hold."),
                Wait::Reclaim => format!("The {name} of {window} is over; the {verb} is left to EC2."),
                Wait::Joining => format!(
                    "The {name} of {window} is over, but a connection to {ports} is open that may be a player \
                     joining; the {verb} waits for it to become one or to go."
                ),
                Wait::Moment => format!("The {name} of {window} is over; the {verb} is next."),
            }
        }
        State::Blind { why, lasting } => {
            let since = if lasting.as_secs() == 0 { String::new() } else { format!(" for {}", in_words(*lasting)) };
            format!(
                "Blind{since}: {why}. The clock stands still and nothing is stopped until the sockets can be seen again."
            )
        }
        State::Stopping { accepted: false } => format!("Nobody is there: about to ask EC2 to {verb} this instance."),
        State::Stopping { accepted: true } if circumstances.dry_run => {
            format!("EC2 would have been asked to {verb} this instance now.")
        }
        State::Stopping { accepted: true } => {
            format!("EC2 has agreed to {verb} this instance; waiting for the shutdown.")
        }
        State::StopFailed { refusal, again_in } => {
            format!("The {} failed: {}. Next try in {}.", noun(circumstances.action), refusal.text, in_words(*again_in))
        }
        State::Ended => "mc-idle was ended: nobody watches this instance.".to_owned(),
    }
}

/// The word for it in a sentence: "the ... failed".
#[must_use]
pub fn noun(action: StopAction) -> &'static str {
    match action {
        StopAction::Stop => "stop",
        StopAction::Hibernate => "hibernation",
        StopAction::Terminate => "termination",
    }
}

fn forecast(view: &View, circumstances: &Circumstances, wall: Timestamp) -> String {
    let action = match circumstances.action {
        StopAction::Stop => "stops",
        StopAction::Hibernate => "hibernates",
        StopAction::Terminate => "is terminated",
    };
    match view.stop_in {
        _ if !circumstances.holds.is_empty() => {
            format!("this instance {action} when the hold ends and the window is over")
        }
        Some(left) => {
            let at = wall.checked_add(left).unwrap_or(wall).strftime("%H:%M UTC");
            let (left, noun) = (in_words(left), noun(circumstances.action));
            if will_be_refused(circumstances) {
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

fn efs_trouble(efs: Efs, circumstances: &Circumstances) -> Option<String> {
    let mount_point = circumstances.mount_point.display();
    match efs {
        Efs::Missing => Some(format!("EFS is not mounted at {mount_point}")),
        Efs::Hung => Some(format!("EFS at {mount_point} does not answer")),
        Efs::Off | Efs::Mounted | Efs::Unproven => None,
    }
}

/// A duration as a person says it: seconds below two minutes, then minutes, then hours and minutes; rounded up.
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

    /// The window is over, and the stop waits for a hold.
    fn held_back() -> View {
        let window = Some(Duration::from_mins(15));
        View { state: State::Due(Wait::Hold), counts: None, running: None, window, efs: Efs::Off, stop_in: None }
    }

    #[test]
    fn a_hold_is_spoken_of_only_when_there_is_one() {
        let mut circumstances = Circumstances::new(&Settings::default(), false);
        let unheard = headline(&held_back(), &circumstances, Timestamp::UNIX_EPOCH);
        assert!(unheard.ends_with("the stop waits for the answer whether anybody holds this instance."), "{unheard}");
        circumstances.holds.push(Hold { source: Source::Ssh, reason: "alice is logged in".to_owned(), left: None });
        let held = headline(&held_back(), &circumstances, Timestamp::UNIX_EPOCH);
        assert!(held.ends_with("the stop waits for the end of a hold."), "{held}");
    }

    #[test]
    fn the_summary_leaves_out_what_has_a_line_of_its_own() {
        let mut circumstances = Circumstances::new(&Settings::default(), true);
        circumstances.holds.push(Hold { source: Source::Ssh, reason: "alice is logged in".to_owned(), left: None });
        circumstances.heartbeat_trouble = Some("SSM does not answer".to_owned());
        circumstances.cautions.insert(Caution::Spot);
        let all = sentence(&held_back(), &circumstances, Timestamp::UNIX_EPOCH);
        let summary = summary(&held_back(), &circumstances, Timestamp::UNIX_EPOCH);
        for said in ["alice", "SSM", "spot instance"] {
            assert!(all.contains(said) && !summary.contains(said), "{said}: {all} / {summary}");
        }
        assert!(summary.ends_with("the end of a hold. Dry run: nothing is asked of AWS."), "{summary}");
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
