//! `cargo xtask up` and `demo`: fetch, build, and become a program of the harness.
//!
//! This process is replaced, so Ctrl+C and the exit code are those of that program itself.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::fetch::{self, Purpose};
use crate::process;
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

fn turn_into(workspace: &Workspace, name: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    let fetched = fetch::fetch(workspace, Purpose::Up)?;
    test::build(workspace)?;
    let program = workspace.debug_output()?.join(name);
    let mut command = Command::new(&program);
    process::without_our_package(&mut command).args(arguments).envs(fetched.servers.environment());
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}
