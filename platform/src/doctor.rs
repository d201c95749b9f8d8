//! What `doctor` of either service says: a line a check, `ok` or what to do.

use std::fmt;
use std::process::ExitCode;

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    what: String,
    found: Result<String, String>,
}

impl Finding {
    /// `found` is what was found; `Err`: why it will not do, and what to do.
    pub fn new(what: impl Into<String>, found: Result<String, String>) -> Self {
        Self { what: what.into(), found }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Ok(found) => write!(f, "ok    {}: {found}", self.what),
            Err(todo) => write!(f, "BAD   {}: {todo}", self.what),
        }
    }
}

/// Prints all findings. Success only if all is well.
#[expect(clippy::print_stdout, reason = "what the person asked for")]
pub fn report(findings: &[Finding]) -> ExitCode {
    for finding in findings {
        println!("{finding}");
    }
    let all_well = findings.iter().all(|finding| finding.found.is_ok());
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
