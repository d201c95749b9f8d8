//! What `doctor` of either service says: a line a check, `ok` or what to do; the same checks, made
//! again and again, stand behind `/readyz`.
//!
//! What is checked is the service's own. Nothing is mended here.

use std::fmt;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::health::Readiness;
use crate::reload::Current;
use crate::terminal;

/// How often all is looked at while all is well. It starts claude and asks Discord and NATS, so it is
/// no matter of seconds.
const EVERY: Duration = Duration::from_secs(300);
/// How often while something is wrong: a person waits for it.
const EVERY_WHILE_BAD: Duration = Duration::from_secs(10);
/// The part of `/readyz` that waits for the first look.
pub const EXAMINED: &str = "doctor";

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

    /// What will not do, and what to do, if so.
    pub fn problem(&self) -> Option<String> {
        let todo = self.found.as_ref().err()?;
        Some(format!("{}: {todo}", self.what))
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

/// Looks at everything again and again until `stop`, and at once when something else holds; says in
/// `/readyz` what is wrong. The service announces the part [`EXAMINED`].
pub async fn keep_looking<T, F>(
    readiness: Readiness,
    stop: CancellationToken,
    mut current: Current<T>,
    look: impl Fn(Arc<T>) -> F,
) where
    F: Future<Output = Vec<Finding>>,
{
    loop {
        let Some(findings) = stop.run_until_cancelled(look(current.now())).await else { return };
        for problem in readiness.examined(&findings) {
            tracing::warn!(problem, "not ready");
        }
        readiness.ready(EXAMINED);
        let all_well = findings.iter().all(|finding| finding.found.is_ok());
        let pause = if all_well { EVERY } else { EVERY_WHILE_BAD };
        tokio::select! {
            () = stop.cancelled() => return,
            () = current.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Says all findings. Success only if all is well.
///
/// # Errors
///
/// When they cannot be written.
pub fn report(findings: &[Finding]) -> io::Result<ExitCode> {
    for finding in findings {
        terminal::say(format_args!("{finding}\n"))?;
    }
    let all_well = findings.iter().all(|finding| finding.found.is_ok());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
