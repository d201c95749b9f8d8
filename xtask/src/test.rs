//! `cargo xtask test`: every test, with every server it needs.
//!
//! The binaries are built first, since the stories start them as they are and cargo does not know
//! that. nextest ends with an error when there was no test to run. When all tests were run, the table of
//! faults is made from what they measured. `TEST_SERVERS=containers` (`servers.rs`) has the stories take
//! nats-server and PostgreSQL from containers.

use std::ffi::OsString;
use std::num::NonZero;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::faults::{self, Run};
use crate::fetch::{self, Fetched, Purpose};
use crate::process::{self, say};
use crate::servers::Servers;
use crate::workspace::Workspace;

/// Tests for each core at once. A story waits for its processes most of its time: measured on two
/// cores, one a core left 68 % of them idle.
const TESTS_A_CORE: usize = 2;
/// What nextest reads it from; whoever sets it is asked first, and `--test-threads` before that.
const TEST_THREADS: &str = "NEXTEST_TEST_THREADS";

/// Fetches, builds and runs; `args` go to nextest. `record`: what was measured is written down.
pub(crate) fn test(workspace: &Workspace, record: bool, args: &[OsString]) -> anyhow::Result<()> {
    ensure!(!record || args.is_empty(), "--record is about all tests, and takes nothing behind it");
    let servers = Servers::wanted(workspace)?;
    let is_plain = matches!(servers, Servers::Processes);
    ensure!(
        !record || is_plain,
        "--record is about servers that are processes: unset TEST_SERVERS"
    );
    let fetched = fetch::fetch(workspace, Purpose::Tests)?;
    build(workspace, &servers)?;
    if !args.is_empty() {
        run(nextest(workspace, &fetched, &servers)?.args(args), &servers)?;
        say("faults: no table was made; it takes `cargo xtask test` alone");
        return Ok(());
    }
    let purpose = if record { faults::Purpose::Record } else { faults::Purpose::Check };
    all(workspace, &fetched, &servers, "default", purpose)
}

/// Runs the tests, and takes away what they left in an engine.
fn run(tests: &mut Command, servers: &Servers) -> anyhow::Result<()> {
    let ran = process::run(tests);
    let taken_away = servers.take_away();
    ran.and(taken_away)
}

/// Runs all tests under a profile of nextest, and makes the table of faults.
pub(crate) fn all(
    workspace: &Workspace,
    fetched: &Fetched,
    servers: &Servers,
    profile: &str,
    purpose: faults::Purpose,
) -> anyhow::Result<()> {
    let table = Run::prepare(workspace, profile)?;
    run(nextest(workspace, fetched, servers)?.args(["--profile", profile]), servers)?;
    table.finish(purpose)
}

/// Runs the tests of the simulator's page, which leave pictures of what they see.
pub(crate) fn screenshots(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.root().join("docs/img");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let fetched = fetch::fetch(workspace, Purpose::Tests)?;
    build(workspace, &Servers::Processes)?;
    let mut tests = nextest(workspace, &fetched, &Servers::Processes)?;
    tests.args(["-E", "package(stories) & test(/^page::/)"]).env("HOLDFAST_SCREENSHOTS", &folder);
    process::run(&mut tests)?;
    match process::on_path("optipng") {
        Some(optipng) => {
            let files = std::fs::read_dir(&folder).context("the pictures are not to be listed")?;
            let files = files.flatten().map(|it| it.path());
            let pictures = files.filter(|it| it.extension().is_some_and(|it| it == "png"));
            process::run(Command::new(optipng).args(["-quiet", "-o5"]).args(pictures))?;
        }
        None => say("screenshots: with optipng on PATH they would be a quarter smaller"),
    }
    say(&format!("screenshots: {}", folder.display()));
    Ok(())
}

/// Builds every binary as the tests will, so that nothing is built twice.
pub(crate) fn build(workspace: &Workspace, servers: &Servers) -> anyhow::Result<()> {
    let mut cargo = workspace.cargo("build");
    process::run(servers.build(cargo.args(["--workspace", "--bins", "--locked"])))
}

/// nextest on the whole workspace, told where the servers are.
pub(crate) fn nextest(
    workspace: &Workspace,
    fetched: &Fetched,
    servers: &Servers,
) -> anyhow::Result<Command> {
    let mut command = Command::new(fetched.nextest()?);
    if std::env::var_os(TEST_THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env(TEST_THREADS, (cores * TESTS_A_CORE).to_string());
    }
    process::without_our_package(&mut command)
        .current_dir(workspace.root())
        .args(["nextest", "run", "--workspace", "--locked"])
        .envs(fetched.servers.environment())
        .env("HOLDFAST_ROTEL", fetched.rotel()?)
        .env("HOLDFAST_POSTGRES", fetched.postgres()?);
    servers.tell(servers.build(&mut command));
    Ok(command)
}
