//! Journal lines for what has changed. It remembers what was logged last, so that a sample that changes nothing adds no
//! line.

use mc_idle_rule::rule::{AbortReason, StopError};
use mc_idle_rule::{Alarm, Blocker, Efs, State};
use mc_service::error_chain::chain;
use tracing::Level;

use crate::clock;
use crate::cloud::StopAction;
use crate::cloud::metadata::{Identity, ReclaimNotice, StopCaveat};
use crate::config::{ConfigError, Settings};
use crate::holds::Hold;
use crate::holds::notes::{Note, Severity};
use crate::host::mounts::efs::JudgedMount;
use crate::journal::{Fields, Journal, Kind};
use crate::report::conditions::Conditions;
use crate::report::heartbeat::PutError;
use crate::report::sentence::{self, headline, held, names, noun, permission};
use crate::report::snapshot::Snapshot;

/// The most mounts in one line.
const MOUNTS_MOST: usize = 3;

/// Logs changes.
#[derive(Debug)]
pub struct EventLog {
    journal: Journal,
    told_state: (&'static str, Option<&'static str>),
    /// The word for EFS, and the names of the mounts that are missing or hung.
    told_efs: Option<(&'static str, String)>,
}

impl EventLog {
    /// A log with no line yet.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        EventLog { journal, told_state: (State::Starting.word(), None), told_efs: None }
    }

    /// The agent has started.
    pub fn started(&self, settings: &Settings) {
        let (version, ports) = (env!("CARGO_PKG_VERSION"), settings.scope.in_words());
        self.tell(Level::INFO, Kind::Started, format!("mc-idle {version} started, watching {ports}."), None);
    }

    /// The agent was asked to exit.
    pub fn ending(&self, snapshot: &Snapshot<'_>) {
        self.tell(Level::INFO, Kind::Ended, "mc-idle is exiting on request.", Some(snapshot));
    }

    /// The machine has resumed from sleep.
    pub fn resumed(&self) {
        self.tell(Level::INFO, Kind::Resumed, "The machine resumed from sleep; the clocks restart at zero.", None);
    }

    /// Raises an alarm. `peers` are the addresses that a due stop waits for because they may be joining.
    pub fn alarm(&self, alarm: &Alarm, peers: &[String], snapshot: &Snapshot<'_>) {
        let kind = match alarm {
            Alarm::Blind => Kind::BlindAlarm,
            Alarm::GivenUp(_) => Kind::SilentServer,
            Alarm::OnlineUnseen | Alarm::PlayersDenied => Kind::Disagreement,
            Alarm::JoiningUnanswered => Kind::JoiningAlarm,
            Alarm::NoWitness(_) => Kind::NoWitness,
        };
        self.tell(Level::ERROR, kind, sentence::alarm(alarm, peers, snapshot), Some(snapshot));
    }

    /// EC2 has accepted the stop.
    pub fn accepted(&self, snapshot: &Snapshot<'_>) {
        self.tell(Level::INFO, Kind::StopAccepted, headline(snapshot), Some(snapshot));
    }

    /// The last look has called off a stop.
    pub fn aborted(&self, reason: &AbortReason, snapshot: &Snapshot<'_>) {
        let why = match reason {
            AbortReason::Connection => "there is a connection",
            AbortReason::Online => "the server reports players online",
            AbortReason::Blind(why) => why,
            AbortReason::Unanswered => "connections come and go, and the server does not confirm that nobody is online",
            AbortReason::WitnessConnection => "the second witness shows a connection that the first look did not",
            // Given up before, or logged with the state that follows.
            AbortReason::Superseded | AbortReason::WitnessBlind(_) => return,
        };
        let text = format!("The {} was called off: {why}.", noun(snapshot.settings.action));
        self.tell(Level::INFO, Kind::StopCalledOff, text, Some(snapshot));
    }

    /// The configuration was reloaded, with these `changes`.
    pub fn reloaded(&self, changes: &[String], needs_restart: bool, snapshot: &Snapshot<'_>) {
        let mut text = match changes {
            [] => "Configuration reloaded; nothing changed.".to_owned(),
            changes => format!("Configuration reloaded: {}.", changes.join("; ")),
        };
        if needs_restart {
            text.push_str(" Changes under aws take effect at the next start.");
        }
        self.tell(Level::INFO, Kind::Configuration, text, Some(snapshot));
    }

    /// A reload failed: the new configuration is wrong.
    pub fn reload_refused(&self, error: &ConfigError) {
        let text = format!("New configuration rejected, keeping the old one: {}", chain(error));
        self.tell(Level::ERROR, Kind::Configuration, text, None);
    }

    /// The identity of the instance, or why it is not known. A failure is logged once, even if its text changes.
    pub fn identity(&self, before: &Conditions, identity: &Result<Identity, String>) {
        match identity {
            Ok(Identity { instance_id, region }) => {
                self.tell(Level::INFO, Kind::IdentityFound, format!("This is {instance_id} in {region}."), None);
            }
            Err(trouble) if before.identity_trouble.is_none() => {
                let text = format!("Instance id or region not known yet, retrying: {trouble}.");
                self.tell(Level::WARN, Kind::IdentityMissing, text, None);
            }
            Err(_) => {}
        }
    }

    /// The result of a permission check for `action`. The same error is logged once.
    pub fn permission(&self, before: &Conditions, answer: &Result<(), StopError>, action: StopAction) {
        match answer {
            Ok(()) => {
                let text = format!("Permission check passed: EC2 allows the {}.", noun(action));
                self.tell(Level::INFO, Kind::PermissionGranted, text, None);
            }
            Err(error) if before.permission_trouble.as_ref() != Some(error) => {
                let level = if error.permanent { Level::ERROR } else { Level::WARN };
                self.tell(level, Kind::PermissionRefused, permission(error, action), None);
            }
            Err(_) => {}
        }
    }

    /// A stop has a different effect on this instance than elsewhere.
    pub fn caveat(&self, before: &Conditions, caveat: StopCaveat, action: StopAction) {
        if !before.caveats.contains(&caveat)
            && let Some(text) = caveat.text(action)
        {
            self.tell(Level::WARN, Kind::StopCaveat, text, None);
        }
    }

    /// The holds `before` and `after`: one line for each that begins and for each that ends.
    pub fn holds(&self, before: &[Hold], after: &[Hold]) {
        let known = |holds: &[Hold], hold: &Hold| {
            holds.iter().any(|other| (other.source, &other.reason) == (hold.source, &hold.reason))
        };
        for hold in after.iter().filter(|hold| !known(before, hold)) {
            self.tell(Level::INFO, Kind::Hold, held(hold, clock::wall()), None);
        }
        for hold in before.iter().filter(|hold| !known(after, hold)) {
            self.tell(Level::INFO, Kind::Hold, format!("No longer held: {}.", hold.reason), None);
        }
    }

    /// Notes about holds. Each is logged once, and one line when all sources answer again.
    pub fn hold_notes(&self, before: &[Note], after: &[Note]) {
        for note in after.iter().filter(|note| !before.iter().any(|told| told.repeats(note))) {
            let (level, kind) = match note.severity() {
                Severity::Note => (Level::INFO, Kind::Hold),
                Severity::Warning => (Level::WARN, Kind::HoldsUnknown),
                Severity::Alarm => (Level::ERROR, Kind::HoldsUnknown),
            };
            self.tell(level, kind, note.text.clone(), None);
        }
        let unknown = |notes: &[Note]| notes.iter().any(|note| note.severity() != Severity::Note);
        if unknown(before) && !unknown(after) {
            self.tell(Level::INFO, Kind::HoldsUnknown, "All hold sources can be checked again.", None);
        }
    }

    /// EC2 has given notice that it reclaims the instance, or withdrawn it.
    pub fn reclaim(&self, notice: Option<&ReclaimNotice>, action: StopAction) {
        match notice {
            Some(notice) => {
                let text = format!("{notice}; mc-idle does not request a {} meanwhile.", noun(action));
                self.tell(Level::WARN, Kind::Reclaim, text, None);
            }
            None => self.tell(Level::INFO, Kind::Reclaim, "EC2 has withdrawn its reclaim notice.", None),
        }
    }

    /// A heartbeat was written, or not. A failure that lasts is logged once.
    pub fn heartbeats(&self, before: &Conditions, health: &Result<(), PutError>) {
        match (health, &before.heartbeat_trouble) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some(_)) => {
                self.tell(Level::INFO, Kind::HeartbeatRecovered, "Heartbeats are written again.", None);
            }
            (Err(error), None) => {
                let text = format!("Cannot write heartbeats: {}.", error.text);
                self.tell(Level::WARN, Kind::HeartbeatFailed, text, None);
            }
        }
    }

    /// One line if the state, or what a due stop waits for, has changed since the last line, and one if EFS has.
    pub fn changes(&mut self, snapshot: &Snapshot<'_>) {
        let view = &snapshot.view;
        self.efs_changes(snapshot);
        let state = (view.state.word(), waits_for(&view.state, snapshot.conditions));
        // A due stop that no longer waits is logged with what it does next.
        if state == self.told_state || (state.0 == self.told_state.0 && state.1.is_none()) {
            return;
        }
        self.told_state = state;
        let (level, kind) = match &view.state {
            State::StopFailed { stop_error: StopError { permanent: true, .. }, .. } => {
                (Level::ERROR, Kind::StopRefused)
            }
            State::StopFailed { .. } => (Level::WARN, Kind::StopRefused),
            State::Blind { .. } | State::Due(Blocker::Efs { .. }) => (Level::WARN, Kind::StateChanged),
            State::Stopping { .. } => (Level::INFO, Kind::StopAsked),
            _ => (Level::INFO, Kind::StateChanged),
        };
        self.tell(level, kind, headline(snapshot), Some(snapshot));
    }

    fn efs_changes(&mut self, snapshot: &Snapshot<'_>) {
        let Snapshot { view, conditions, .. } = snapshot;
        let mounts = &conditions.mounts;
        let in_trouble: Vec<&JudgedMount> = mounts
            .iter()
            .filter(|mount| mount.state == view.efs && matches!(view.efs, Efs::Missing | Efs::Hung))
            .collect();
        let (word, named) = (view.efs.word(), names(in_trouble.iter().copied()));
        let before = self.told_efs.replace((word, named.clone()));
        // EFS that is well from the start is not worth a line.
        if before.as_ref().map_or(in_trouble.is_empty(), |before| *before == (word, named)) {
            return;
        }
        let told = in_trouble.iter().take(MOUNTS_MOST);
        let (level, text) = match view.efs {
            Efs::Missing => {
                let whys: Vec<String> = told.map(|mount| mount.watched.in_words()).collect();
                (Level::WARN, format!("EFS is missing: {}.", whys.join("; ")))
            }
            Efs::Hung => {
                let hung = |mount: &&JudgedMount| {
                    let trouble = mount.trouble.as_deref().unwrap_or("no answer");
                    format!("EFS at {} is hung: {trouble}.", names([*mount].into_iter()))
                };
                (Level::WARN, told.map(hung).collect::<Vec<_>>().join(" "))
            }
            Efs::Mounted | Efs::Unproven => (Level::INFO, format!("EFS is mounted at {}.", names(mounts.iter()))),
            Efs::Off => (Level::INFO, "EFS is no longer used.".to_owned()),
        };
        self.tell(level, Kind::EfsChanged, text, Some(snapshot));
    }

    fn tell(&self, level: Level, kind: Kind, text: impl Into<String>, snapshot: Option<&Snapshot<'_>>) {
        self.journal.tell(level, kind, text, snapshot.map(Fields::from));
    }
}

impl From<&Snapshot<'_>> for Fields {
    fn from(snapshot: &Snapshot<'_>) -> Self {
        let view = &snapshot.view;
        Fields {
            state: view.state.word(),
            players: view.counts.map(|counts| counts.players as u64),
            idle_seconds: view.running.map(|running| running.elapsed.as_secs()),
            window_seconds: view.window.map(|window| window.as_secs()),
            efs: view.efs.word(),
        }
    }
}

/// What a due stop waits for; `None`: nothing.
fn waits_for(state: &State, conditions: &Conditions) -> Option<&'static str> {
    match state {
        State::Due(Blocker::Hold) if conditions.holds.is_empty() => Some("the answer about holds"),
        State::Due(Blocker::Hold) => Some("a hold"),
        State::Due(Blocker::Efs { .. }) => Some("EFS"),
        State::Due(Blocker::Joining { unanswered: false }) => Some("a connection"),
        State::Due(Blocker::Joining { unanswered: true }) => Some("the server's answer"),
        State::Due(Blocker::Reclaim) => Some("EC2"),
        _ => None,
    }
}
