//! How findings are told: a line for each as soon as it is there, or one document at the end.

use std::io::{self, Write};

use super::finding::{Finding, Findings};

/// The form in which findings are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Lines,
    /// For scripts.
    Json,
}

/// Tells findings to `out`.
#[derive(Debug)]
pub struct Teller<W> {
    out: W,
    form: Form,
    findings: Findings,
}

impl<W: Write> Teller<W> {
    /// Nothing is found yet.
    pub fn new(out: W, form: Form) -> Self {
        Teller { out, form, findings: Findings::default() }
    }

    /// Tells one finding.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(&mut self, finding: Finding) -> io::Result<()> {
        if self.form == Form::Lines {
            writeln!(self.out, "{finding}")?;
        }
        self.findings.push(finding);
        Ok(())
    }

    /// Nothing more is to come. Returns whether all is well.
    ///
    /// # Errors
    /// The document cannot be written.
    pub fn end(mut self) -> io::Result<bool> {
        if self.form == Form::Json {
            writeln!(self.out, "{}", self.findings.json())?;
        }
        Ok(self.findings.well())
    }
}
