//! What is told of the agent's doings: the lines of the journal, and the troubles that the status goes on about.
//!
//! Remembers what was told last, so that a sample that changes nothing is not told.

use tracing::Level;

use crate::clock;
use crate::config::{ConfigError, Settings};
use crate::error::chain;
use crate::heartbeat::{PutError, Report};
use crate::hold::Hold;
use crate::host::mountinfo::Mount;
use crate::host::probe::Verdict;
use crate::idle::rule::{CallOff, Refusal};
use crate::idle::{Efs, State, View, Wait};
use crate::journal::{Facts, Journal, Kind};
use crate::metadata::{Caution, Identity, Notice};
use crate::sentence::{Circumstances, headline, held, noun, permission, sentence};

/// The one who tells.
#[derive(Debug)]
pub struct Announcer {
    journal: Journal,
    circumstances: Circumstances,
    told_state: (&'static str, Option<&'static str>),
    told_efs: Efs,
    told_hold_trouble: Option<String>,
}

impl Announcer {
    /// One who has told nothing yet.
    #[must_use]
    pub fn new(journal: Journal, settings: &Settings, dry_run: bool) -> Self {
        Announcer {
            journal,
            circumstances: Circumstances::new(settings, dry_run),
            told_state: (State::Starting.word(), None),
            told_efs: Efs::Off,
            told_hold_trouble: None,
        }
    }

    /// The sentence of the status and the heartbeat.
    #[must_use]
    pub fn sentence(&self, view: &View) -> String {
        sentence(view, &self.circumstances, clock::wall())
    }

    /// The heartbeat.
    #[must_use]
    pub fn report(&self, view: &View) -> Report {
        let Circumstances { holds, notice, .. } = &self.circumstances;
        Report::new(view, holds, self.sentence(view), notice.is_some(), clock::wall())
    }

    /// The agent begins.
    pub fn started(&self) {
        let (version, ports) = (env!("CARGO_PKG_VERSION"), &self.circumstances.ports);
        self.tell(Level::INFO, Kind::Started, format!("mc-idle {version} watches {ports}."), None);
    }

    /// The agent was asked to end.
    pub fn ending(&self, view: &View) {
        self.tell(Level::INFO, Kind::Ended, "mc-idle was asked to end.", Some(view));
    }

    /// The machine has slept.
    pub fn resumed(&self) {
        self.tell(Level::INFO, Kind::Resumed, "The machine has slept: the clocks start afresh.", None);
    }

    /// Nothing has been seen for too long.
    pub fn alarm_blind(&self, view: &View) {
        self.tell(Level::ERROR, Kind::BlindAlarm, self.headline(view), Some(view));
    }

    /// EC2 has agreed to the stop.
    pub fn accepted(&self, view: &View) {
        self.tell(Level::INFO, Kind::StopAccepted, self.headline(view), Some(view));
    }

    /// The last look has called a stop off.
    pub fn called_off(&self, call_off: &CallOff, view: &View) {
        let why = match call_off {
            CallOff::Connection => "a connection is there",
            CallOff::Blind => "the sockets could not be seen",
            CallOff::WitnessConnection => "netlink shows a connection that /proc did not",
            // Given up before, or told by the state that it leads to.
            CallOff::Superseded | CallOff::WitnessBlind(_) => return,
        };
        let text = format!("The {} was called off: {why}.", self.circumstances.action.verb());
        self.tell(Level::INFO, Kind::StopCalledOff, text, Some(view));
    }

    /// The configuration was read again, and has `changes`.
    pub fn reloaded(&mut self, settings: &Settings, changes: &[String], needs_restart: bool, view: &View) {
        self.circumstances.set(settings);
        let mut text = match changes {
            [] => "The configuration was read again, and nothing has changed.".to_owned(),
            changes => format!("The configuration was read again: {}.", changes.join("; ")),
        };
        if needs_restart {
            text.push_str(" What it says under aws is taken up at the next start.");
        }
        self.tell(Level::INFO, Kind::Configuration, text, Some(view));
    }

    /// The configuration was to be read again, and is wrong.
    pub fn reload_refused(&self, error: &ConfigError) {
        let text = format!("The configuration is refused and the old one stays: {}", chain(error));
        self.tell(Level::ERROR, Kind::Configuration, text, None);
    }

    /// It is known which instance this is, or why not. The same trouble is told once, whatever its text.
    pub fn identity(&mut self, identity: Result<Identity, String>) {
        match identity {
            Ok(identity) => {
                self.circumstances.identity_trouble = None;
                let text = format!("This is {} in {}.", identity.instance_id, identity.region);
                self.tell(Level::INFO, Kind::IdentityFound, text, None);
                self.circumstances.identity = Some(identity);
            }
            Err(trouble) => {
                if self.circumstances.identity_trouble.is_none() {
                    let text = format!("It is not known yet which instance this is, and it is asked again: {trouble}.");
                    self.tell(Level::WARN, Kind::IdentityMissing, text, None);
                }
                self.circumstances.identity_trouble = Some(trouble);
            }
        }
    }

    /// EC2 has said whether it would allow the action.
    pub fn permission(&mut self, answer: Result<(), Refusal>) {
        let action = self.circumstances.action;
        match answer {
            Ok(()) => {
                self.circumstances.permission_trouble = None;
                let text = format!("EC2 would {} this instance if it were asked.", action.verb());
                self.tell(Level::INFO, Kind::PermissionGranted, text, None);
            }
            Err(refusal) => {
                if self.circumstances.permission_trouble.as_ref() != Some(&refusal) {
                    let level = if refusal.lasting { Level::ERROR } else { Level::WARN };
                    self.tell(level, Kind::PermissionRefused, permission(&refusal, action), None);
                }
                self.circumstances.permission_trouble = Some(refusal);
            }
        }
    }

    /// On this instance a stop is not what it is elsewhere.
    pub fn caution(&mut self, caution: Caution) {
        if self.circumstances.cautions.insert(caution)
            && let Some(text) = caution.text(self.circumstances.action)
        {
            self.tell(Level::WARN, Kind::Caution, text, None);
        }
    }

    /// Who holds the instance now. A hold that comes and one that goes are a line each.
    pub fn holds(&mut self, holds: Vec<Hold>) {
        let known = |holds: &[Hold], hold: &Hold| {
            holds.iter().any(|other| (other.source, &other.reason) == (hold.source, &hold.reason))
        };
        let before = std::mem::replace(&mut self.circumstances.holds, holds);
        for hold in self.circumstances.holds.iter().filter(|hold| !known(&before, hold)) {
            self.tell(Level::INFO, Kind::Hold, held(hold, clock::wall()), None);
        }
        for hold in before.iter().filter(|hold| !known(&self.circumstances.holds, hold)) {
            self.tell(Level::INFO, Kind::Hold, format!("No longer held: {}.", hold.reason), None);
        }
    }

    /// A hold cannot be taken up. The same trouble is told once.
    pub fn hold_trouble(&mut self, trouble: Option<String>) {
        if let Some(text) = trouble.as_ref().filter(|_| trouble != self.told_hold_trouble) {
            self.tell(Level::WARN, Kind::Hold, format!("A hold may be overlooked: {text}."), None);
        }
        self.told_hold_trouble = trouble;
    }

    /// What the sentence knows.
    #[must_use]
    pub fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// EC2 takes the instance back, or no longer says so.
    pub fn reclaim(&mut self, notice: Option<Notice>) {
        match &notice {
            Some(notice) => {
                let text = format!("{notice}: mc-idle does not ask for a {} as well.", noun(self.circumstances.action));
                self.tell(Level::WARN, Kind::Reclaim, text, None);
            }
            None => self.tell(Level::INFO, Kind::Reclaim, "EC2 no longer says that it takes this instance back.", None),
        }
        self.circumstances.notice = notice;
    }

    /// A heartbeat was written, or not. Returns whether that changes the status.
    pub fn heartbeats(&mut self, health: Result<(), PutError>) -> bool {
        let before = self.circumstances.heartbeat_trouble.take();
        match (health, before) {
            (Ok(()), None) => return false,
            (Ok(()), Some(_)) => {
                self.tell(Level::INFO, Kind::HeartbeatRecovered, "Heartbeats are written again.", None);
            }
            (Err(error), before) => {
                if before.is_none() {
                    let text = format!("Heartbeats are not written: {}.", error.text);
                    self.tell(Level::WARN, Kind::HeartbeatFailed, text, None);
                }
                self.circumstances.heartbeat_trouble = Some(error.text);
            }
        }
        true
    }

    /// One line if the state, or what a due stop waits for, is another than the one told last, and one if EFS is.
    pub fn changes(&mut self, view: &View, mount: &Mount, verdict: Option<&Verdict>) {
        self.efs_changes(view, mount, verdict);
        let state = (view.state.word(), waits_for(&view.state, &self.circumstances));
        // That a due stop waits for nothing any more is told by what it does next.
        if state == self.told_state || (state.0 == self.told_state.0 && state.1.is_none()) {
            return;
        }
        self.told_state = state;
        let (level, kind) = match &view.state {
            State::StopFailed { refusal: Refusal { lasting: true, .. }, .. } => (Level::ERROR, Kind::StopRefused),
            State::StopFailed { .. } => (Level::WARN, Kind::StopRefused),
            State::Blind { .. } | State::Due(Wait::Efs { .. }) => (Level::WARN, Kind::StateChanged),
            State::Stopping { .. } => (Level::INFO, Kind::StopAsked),
            _ => (Level::INFO, Kind::StateChanged),
        };
        self.tell(level, kind, self.headline(view), Some(view));
    }

    fn efs_changes(&mut self, view: &View, mount: &Mount, verdict: Option<&Verdict>) {
        let before = std::mem::replace(&mut self.told_efs, view.efs);
        // That it is there from the beginning is no news.
        let from_the_beginning = before == Efs::Off && view.efs.word() == Efs::Mounted.word();
        if before.word() == view.efs.word() || from_the_beginning {
            return;
        }
        let mount_point = self.circumstances.mount_point.display();
        let answer = verdict.and_then(|verdict| verdict.answer.as_ref().err());
        let (level, text) = match (view.efs, mount, answer) {
            (Efs::Missing, Mount::Missing(why), _) => (Level::WARN, format!("EFS is missing: {why}.")),
            (Efs::Hung, _, Some(answer)) => (Level::WARN, format!("EFS at {mount_point} is hung: {answer}.")),
            (Efs::Mounted | Efs::Unproven, ..) => (Level::INFO, format!("EFS is mounted at {mount_point}.")),
            _ => (Level::INFO, format!("EFS is {}.", view.efs.word())),
        };
        self.tell(level, Kind::EfsChanged, text, Some(view));
    }

    fn headline(&self, view: &View) -> String {
        headline(view, &self.circumstances, clock::wall())
    }

    fn tell(&self, level: Level, kind: Kind, text: impl Into<String>, view: Option<&View>) {
        self.journal.tell(level, kind, text, view.map(Facts::from));
    }
}

/// The word for what a due stop waits for; `None`: for nothing.
fn waits_for(state: &State, circumstances: &Circumstances) -> Option<&'static str> {
    match state {
        State::Due(Wait::Hold) if circumstances.holds.is_empty() => Some("the answer about holds"),
        State::Due(Wait::Hold) => Some("a hold"),
        State::Due(Wait::Efs { .. }) => Some("EFS"),
        State::Due(Wait::Joining) => Some("a connection"),
        State::Due(Wait::Reclaim) => Some("EC2"),
        _ => None,
    }
}
