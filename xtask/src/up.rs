//! `cargo xtask up`, `demo` and `chaos`: fetch, build, and become a program of the tests.
//!
//! This process is replaced, so Ctrl+C and the exit code are those of that program itself.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::fetch::{self, Purpose};
use crate::process;
use crate::servers::Servers;
use crate::test;
use crate::workspace::Workspace;

/// Starts the system; returns only if that failed.
pub(crate) fn up(
    workspace: &Workspace,
    project: Option<PathBuf>,
    ask: Option<OsString>,
) -> anyhow::Result<()> {
    if let Some(project) = &project {
        // Told before the build, not after it.
        ensure!(project.is_dir(), "--project {} is not a directory", project.display());
    }
    let mut arguments = Vec::new();
    for (flag, value) in [("--project", project.map(OsString::from)), ("--ask", ask)] {
        if let Some(value) = value {
            let mut argument = OsString::from(format!("{flag}="));
            argument.push(value);
            arguments.push(argument);
        }
    }
    turn_into(workspace, "holdfast-up", &arguments)
}

/// Kills everything between a question and its answer in turn; returns only if it did not start.
pub(crate) fn demo(workspace: &Workspace) -> anyhow::Result<()> {
    turn_into(workspace, "holdfast-demo", &[])
}

/// Breaks the whole system by a seed, and checks what people saw; returns only if it did not start.
pub(crate) fn chaos(workspace: &Workspace, seed: u64, minutes: u64) -> anyhow::Result<()> {
    let mut command = chaos_of(workspace, seed, minutes)?;
    Err(command.exec()).context("cannot start the chaos")
}

/// The command that breaks the whole system by a seed, with everything that it needs built.
pub(crate) fn chaos_of(workspace: &Workspace, seed: u64, minutes: u64) -> anyhow::Result<Command> {
    let fetched = fetch::fetch(workspace, Purpose::Load)?;
    test::build(workspace, &Servers::Processes)?;
    let mut command = Command::new(workspace.debug_output()?.join("holdfast-chaos"));
    process::without_our_package(&mut command)
        .args(["--seed", &seed.to_string(), "--minutes", &minutes.to_string(), "--out"])
        .arg(workspace.root().join("target/chaos"))
        .envs(fetched.servers.environment())
        .env("HOLDFAST_POSTGRES", fetched.postgres()?);
    Servers::Processes.tell(&mut command);
    Ok(command)
}

fn turn_into(workspace: &Workspace, name: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    let fetched = fetch::fetch(workspace, Purpose::Up)?;
    test::build(workspace, &Servers::Processes)?;
    let program = workspace.debug_output()?.join(name);
    let mut command = Command::new(&program);
    process::without_our_package(&mut command).args(arguments).envs(fetched.servers.environment());
    Servers::Processes.tell(&mut command);
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}
