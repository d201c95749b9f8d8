//! `cargo xtask test`: every test, with every server it needs.
//!
//! The binaries are built first, since the stories start them as they are and cargo does not know
//! that. nextest ends with an error when there was no test to run.

use std::ffi::OsString;
use std::process::Command;

use crate::fetch::{self, Fetched, Purpose};
use crate::process;
use crate::workspace::Workspace;

/// Fetches, builds and runs; `args` go to nextest.
pub(crate) fn test(workspace: &Workspace, args: &[OsString]) -> anyhow::Result<()> {
    let fetched = fetch::fetch(workspace, Purpose::Tests)?;
    build(workspace)?;
    process::run(nextest(workspace, &fetched)?.args(args))
}

/// Builds every binary as the tests will, so that nothing is built twice.
pub(crate) fn build(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(workspace.cargo("build").args(["--workspace", "--bins", "--locked"]))
}

/// nextest on the whole workspace, told where the servers are.
pub(crate) fn nextest(workspace: &Workspace, fetched: &Fetched) -> anyhow::Result<Command> {
    let mut command = Command::new(fetched.nextest()?);
    process::without_our_package(&mut command)
        .current_dir(workspace.root())
        .args(["nextest", "run", "--workspace", "--locked"])
        .envs(fetched.servers.environment())
        .env("HOLDFAST_POSTGRES", fetched.postgres()?);
    Ok(command)
}
