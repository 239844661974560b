//! What the checks have found, as lines for a person and as one JSON document for scripts
//! (its schema: `agent/check/schema.json`). Pure.

use std::fmt;

use serde::Serialize;

/// The version of the JSON document's form.
pub const VERSION: u8 = 1;

/// What is checked, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The configuration files.
    Configuration,
    /// Which instance this is.
    Metadata,
    /// Credentials of the instance's role.
    Credentials,
    /// This machine's clock beside AWS's.
    Clock,
    /// The permission for the action on the own instance.
    Permission,
    /// That others are out of the role's reach.
    OtherInstances,
    /// The permission to write the heartbeat.
    Heartbeat,
    /// The mount.
    Efs,
    /// A server.
    Listener,
    /// Where the server runs.
    Container,
    /// The port in the server's own configuration.
    Properties,
    /// The agent as a service.
    Unit,
    /// What EC2's stop is to the machine.
    PowerButton,
}

impl Check {
    /// All of them, in the order of the findings.
    pub const ALL: [Check; 13] = [
        Check::Configuration,
        Check::Metadata,
        Check::Credentials,
        Check::Clock,
        Check::Permission,
        Check::OtherInstances,
        Check::Heartbeat,
        Check::Efs,
        Check::Listener,
        Check::Container,
        Check::Properties,
        Check::Unit,
        Check::PowerButton,
    ];

    /// Its name, in lines and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Check::Configuration => "configuration",
            Check::Metadata => "instance metadata",
            Check::Credentials => "credentials",
            Check::Clock => "clock",
            Check::Permission => "permission to stop",
            Check::OtherInstances => "other instances",
            Check::Heartbeat => "permission to write the heartbeat",
            Check::Efs => "EFS",
            Check::Listener => "listener",
            Check::Container => "container",
            Check::Properties => "server.properties",
            Check::Unit => "unit",
            Check::PowerButton => "power button",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// Nothing is wrong, but somebody should know.
    Note,
    /// Something has to be changed.
    Failed,
    /// It could not be asked, or makes no sense on this host.
    NotRun,
}

/// What came of one check, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What came of it.
    pub outcome: Outcome,
    /// What is so and, if it failed, what to do; may be empty.
    pub text: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: Outcome::Ok, text: text.into() }
    }

    /// Nothing is wrong, but somebody should know.
    pub fn note(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: Outcome::Note, text: text.into() }
    }

    /// Something has to be changed.
    pub fn failed(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: Outcome::Failed, text: text.into() }
    }

    /// It could not be asked, or makes no sense here.
    pub fn not_run(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: Outcome::NotRun, text: text.into() }
    }

    /// `Ok` is well, `Err` has failed.
    #[must_use]
    pub fn of(check: Check, result: Result<String, String>) -> Self {
        result.map_or_else(|text| Self::failed(check, text), |text| Self::ok(check, text))
    }
}

impl fmt::Display for Finding {
    /// The line for a person.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Note => "note",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
        };
        write!(formatter, "{mark:7} {}", self.check.name())?;
        if self.text.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.text) }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Takes one more.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Whether nothing has failed.
    #[must_use]
    pub fn well(&self) -> bool {
        !self.0.iter().any(|finding| finding.outcome == Outcome::Failed)
    }

    /// The JSON document.
    #[must_use]
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            v: u8,
            well: bool,
            findings: Vec<Entry<'a>>,
        }
        #[derive(Serialize)]
        struct Entry<'a> {
            name: &'a str,
            result: Outcome,
            text: &'a str,
        }
        let findings = self.0.iter().map(|finding| Entry {
            name: finding.check.name(),
            result: finding.outcome,
            text: &finding.text,
        });
        let document = Document { v: VERSION, well: self.well(), findings: findings.collect() };
        // Only maps with keys that are not text and failing Serialize impls make this fail.
        serde_json::to_string_pretty(&document).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_mark_its_name_and_its_text() {
        let line = |finding: Finding| finding.to_string();
        assert_eq!(line(Finding::ok(Check::Configuration, "")), "ok      configuration");
        assert_eq!(line(Finding::note(Check::Clock, "is 9 s slow")), "note    clock: is 9 s slow");
        assert_eq!(line(Finding::of(Check::Efs, Err("gone".to_owned()))), "FAILED  EFS: gone");
        assert_eq!(line(Finding::not_run(Check::Unit, "no systemd")), "not run unit: no systemd");
    }

    #[test]
    fn only_a_failure_is_not_well() {
        let mut findings = Findings::default();
        for finding in [Finding::ok, Finding::note, Finding::not_run] {
            findings.push(finding(Check::Clock, String::new()));
            assert!(findings.well());
        }
        findings.push(Finding::failed(Check::Clock, ""));
        assert!(!findings.well());
    }
}
