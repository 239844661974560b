//! Findings of the checks, as lines for a person and as one JSON document for scripts (schema:
//! `agent/check/schema.json`). Pure.

use std::fmt;

use serde::Serialize;

/// Version of the JSON document.
pub const VERSION: u8 = 1;

/// The checks, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    Configuration,
    /// The settings for AWS in the environment.
    Environment,
    Metadata,
    Credentials,
    /// This machine's clock compared with AWS's.
    Clock,
    /// Whether the role may stop this instance.
    Permission,
    /// Whether the role is limited to this instance.
    OtherInstances,
    Heartbeat,
    Efs,
    Listener,
    Networks,
    /// The second witness of a last look.
    Witness,
    /// Whether the Java server says who is online.
    Answer,
    /// Whether the Bedrock server says who is online.
    Bedrock,
    /// The port in the server's own `server.properties`.
    Properties,
    /// The agent's systemd unit.
    Unit,
    /// EC2 stops an instance by pressing its ACPI power button.
    PowerButton,
}

impl Check {
    /// All checks, in the order of the findings.
    pub const ALL: [Check; 17] = [
        Check::Configuration,
        Check::Environment,
        Check::Metadata,
        Check::Credentials,
        Check::Clock,
        Check::Permission,
        Check::OtherInstances,
        Check::Heartbeat,
        Check::Efs,
        Check::Listener,
        Check::Networks,
        Check::Witness,
        Check::Answer,
        Check::Bedrock,
        Check::Properties,
        Check::Unit,
        Check::PowerButton,
    ];

    /// The name used in lines and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Check::Configuration => "configuration",
            Check::Environment => "environment",
            Check::Metadata => "instance metadata",
            Check::Credentials => "credentials",
            Check::Clock => "clock",
            Check::Permission => "permission to stop",
            Check::OtherInstances => "other instances",
            Check::Heartbeat => "permission to write the heartbeat",
            Check::Efs => "EFS",
            Check::Listener => "listener",
            Check::Networks => "networks",
            Check::Witness => "second witness",
            Check::Answer => "server's answer",
            Check::Bedrock => "Bedrock",
            Check::Properties => "server.properties",
            Check::Unit => "unit",
            Check::PowerButton => "power button",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    Ok,
    /// Nothing is wrong, but the operator should know.
    Note,
    /// Something must be changed.
    Failed,
    /// Not applicable here, or could not be checked.
    NotRun,
}

/// The result of one check, with its explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    pub outcome: CheckResult,
    /// The state and, after a failure, what to do; may be empty.
    pub text: String,
}

impl Finding {
    /// A check that passed.
    pub fn ok(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: CheckResult::Ok, text: text.into() }
    }

    /// Nothing is wrong, but the operator should know.
    pub fn note(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: CheckResult::Note, text: text.into() }
    }

    /// Something must be changed.
    pub fn failed(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: CheckResult::Failed, text: text.into() }
    }

    /// Not applicable here, or could not be checked.
    pub fn not_run(check: Check, text: impl Into<String>) -> Self {
        Finding { check, outcome: CheckResult::NotRun, text: text.into() }
    }

    /// `Ok` passes, `Err` fails.
    #[must_use]
    pub fn of(check: Check, result: Result<String, String>) -> Self {
        result.map_or_else(|text| Self::failed(check, text), |text| Self::ok(check, text))
    }
}

impl fmt::Display for Finding {
    /// The line for a person.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.outcome {
            CheckResult::Ok => "ok",
            CheckResult::Note => "note",
            CheckResult::Failed => "FAILED",
            CheckResult::NotRun => "not run",
        };
        write!(formatter, "{mark:7} {}", self.check.name())?;
        if self.text.is_empty() { Ok(()) } else { write!(formatter, ": {}", self.text) }
    }
}

/// All findings of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Whether nothing has failed.
    #[must_use]
    pub fn well(&self) -> bool {
        !self.0.iter().any(|finding| finding.outcome == CheckResult::Failed)
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
            result: CheckResult,
            text: &'a str,
        }
        let findings = self.0.iter().map(|finding| Entry {
            name: finding.check.name(),
            result: finding.outcome,
            text: &finding.text,
        });
        let document = Document { v: VERSION, well: self.well(), findings: findings.collect() };
        // Fails only for maps with non-string keys and failing Serialize impls; there are none here.
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
