//! Prints findings: one line each as soon as it is known, or one JSON document at the end.

use std::io::{self, Write};

use mc_service::printable::{self, printable};

use crate::check::finding::{Finding, Findings};

/// The output format of `mc-idle check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    Lines,
    Json,
}

/// Prints findings to `out`.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    form: OutputFormat,
    findings: Findings,
}

impl<W: Write> Printer<W> {
    /// A printer without findings.
    pub fn new(out: W, form: OutputFormat) -> Self {
        Printer { out, form, findings: Findings::default() }
    }

    /// Adds a finding, and prints it unless the output is JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(&mut self, finding: Finding) -> io::Result<()> {
        if self.form == OutputFormat::Lines {
            writeln!(self.out, "{}", printable(&finding.to_string()))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    /// Prints the JSON document, if that is the output. Returns whether no check has failed.
    ///
    /// # Errors
    /// The document cannot be written.
    pub fn end(mut self) -> io::Result<bool> {
        if self.form == OutputFormat::Json {
            writeln!(self.out, "{}", printable::json(&self.findings.json()))?;
        }
        Ok(self.findings.well())
    }
}
