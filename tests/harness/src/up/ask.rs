//! `--ask TEXT`: a world of its own, one question, its answer, and nothing left behind.
//!
//! The answer goes to standard output as it stands in Discord; all else to standard error.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use harness::{Claude, World};
use tokio::signal::unix::{SignalKind, signal};

use crate::say;

/// The exit code after Ctrl+C, as a shell says it.
const EXIT_INTERRUPTED: u8 = 130;

/// Asks, and prints the answer.
///
/// # Errors
///
/// What kept it from being answered.
pub(crate) async fn ask(text: &str, project: Option<PathBuf>) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        answered = answer(text, project) => answered?,
        _ = terminate.recv() => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn answer(text: &str, project: Option<PathBuf>) -> Result<()> {
    let since = Instant::now();
    let progress = |what: &str| say(&format!("{:>6.1} s  {what}", since.elapsed().as_secs_f64()));
    progress("starting nats-server, the gateway, the runner, and simulators around them");
    let mut builder = World::builder().claude(Claude::Real).rate_limits().lenient();
    if let Some(project) = project {
        let directory = project.canonicalize();
        builder = builder
            .directory(directory.with_context(|| format!("cannot find {}", project.display()))?);
    }
    let world = builder.start().await?;
    progress("all are ready; the question is written");
    let asked = asked(&world, text, &progress).await;
    progress("the end; everything is taken away");
    drop(world);
    let pages = asked?;
    let mut out = std::io::stdout().lock();
    pages.iter().try_for_each(|page| writeln!(out, "{page}")).context("nobody reads the answer")
}

async fn asked(world: &World, text: &str, progress: &impl Fn(&str)) -> Result<Vec<String>> {
    let question = world.say(text)?;
    let verdict = tokio::select! {
        seen = question.is_seen() => seen.map(|()| None),
        line = question.refusal() => line.map(Some),
    };
    if let Some(line) = verdict? {
        bail!("refused: {line}");
    }
    progress("👀 it is stored, and will be answered");
    let name = question.thread_name().await?;
    progress(&format!("a thread is open: {name}"));
    let mark = question.mark().await?;
    progress(&format!("{mark} the run has ended"));
    let pages = question.texts();
    if mark != "✅" {
        bail!("{}", pages.join("\n"));
    }
    Ok(pages)
}
