//! `cargo xtask up`: fetches, builds, and becomes `holdfast-up` of the harness.
//!
//! This process is replaced, so Ctrl+C and the exit code are those of `holdfast-up` itself.

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
    let fetched = fetch::fetch(workspace, Purpose::Up)?;
    test::build(workspace)?;
    let program = workspace.debug_output()?.join("holdfast-up");
    let mut command = Command::new(&program);
    process::without_our_package(&mut command).envs(fetched.servers.environment());
    for (flag, value) in [("--project", project.map(OsString::from)), ("--ask", ask)] {
        if let Some(value) = value {
            let mut argument = OsString::from(format!("{flag}="));
            argument.push(value);
            command.arg(argument);
        }
    }
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}
