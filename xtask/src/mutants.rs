//! `cargo xtask mutants`: shows that the tests bite. Each rule of the protocol that is named in
//! `xtask/mutants.toml` is broken in a copy of the repository, and the test beside it must turn red.
//!
//! The copy and what is built of it lie in `target/mutants/`, so that the work tree is never touched
//! and each mutation costs one crate and its link. First every test runs on the copy as it is: what
//! is red there proves nothing. A mutation that does not build is an error and not a catch.
//!
//! The model of the protocol breaks rules in its own terms; its test runs beside these, and prints
//! which property told of each.
//!
//! Never edits a file of the work tree.

mod copy;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail, ensure};

use self::copy::Copy;
use self::list::{List, Mutant};
use crate::faults::Test;
use crate::fetch::{self, Fetched, Purpose};
use crate::process::{self, say, spoken};
use crate::workspace::Workspace;

/// What nextest ends with when a test failed (its `NextestExitCode::TEST_RUN_FAILED`).
const TEST_FAILED: i32 = 100;

/// The programs that stories start, which cargo does not know of.
const PROGRAMS: [&str; 4] = ["gateway-svc", "runner-svc", "claude-sim", "harness"];

/// The model's own broken rules, and the properties that tell of them.
const MODEL: &str = "run::model::tests::";

/// Breaks all rules, or those of these names.
pub(crate) fn mutants(workspace: &Workspace, names: &[String]) -> anyhow::Result<()> {
    let list = List::read(workspace.root())?;
    let chosen = list.choose(names)?;
    let fetched = fetch::fetch(workspace, Purpose::Tests)?;
    let folder = workspace.target()?.join("mutants");
    let trial = Trial {
        copy: Copy::make(workspace.root(), &folder.join("tree"))?,
        built: folder.join("build"),
        fetched,
    };
    say("mutants: every test on the code as it is …");
    trial.all_green(&chosen)?;
    let mut rows = Vec::new();
    for mutant in &chosen {
        say(&format!("mutants: {} …", mutant.name));
        let since = Instant::now();
        let caught = trial.is_caught(mutant)?;
        rows.push((*mutant, caught, spoken(since.elapsed())));
    }
    if names.is_empty() {
        say("mutants: the rules that the model of the protocol breaks in its own terms …");
        trial.model()?;
    }
    report(&rows)
}

/// Says what became of each; an error when one survived.
fn report(rows: &[(&Mutant, bool, String)]) -> anyhow::Result<()> {
    say("\n| broken rule | | test | turned red | after |\n|---|---|---|---|---|");
    for (mutant, caught, after) in rows {
        let red = if *caught { "yes" } else { "**NO**" };
        let Mutant { name, breaks, rule, test, .. } = mutant;
        say(&format!("| {name} (rule {rule}) | {breaks} | `{test}` | {red} | {after} |"));
    }
    let survived: Vec<&str> =
        rows.iter().filter(|(_, caught, _)| !caught).map(|(it, ..)| it.name.as_str()).collect();
    say(&format!("\nmutants: {} of {} caught", rows.len() - survived.len(), rows.len()));
    ensure!(survived.is_empty(), "no test tells of: {}", survived.join(", "));
    Ok(())
}

/// Where mutations are tried.
struct Trial {
    copy: Copy,
    /// cargo's output for the copy.
    built: PathBuf,
    fetched: Fetched,
}

impl Trial {
    /// Runs each test once on the code as it is.
    fn all_green(&self, mutants: &[&Mutant]) -> anyhow::Result<()> {
        let mut packages: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for Mutant { test: Test { krate, name }, .. } in mutants {
            packages.entry(krate).or_default().insert(name);
        }
        for (package, tests) in packages {
            self.build(package)?;
            let tests: Vec<String> = tests.iter().map(|test| format!("test(={test})")).collect();
            process::run(self.nextest(package, &tests.join(" | "))?.arg("--no-fail-fast"))
                .context("a test is red without any mutation: that is to be mended first")?;
        }
        Ok(())
    }

    /// Whether the mutant's test turns red. The copy is as before when this returns.
    fn is_caught(&self, mutant: &Mutant) -> anyhow::Result<bool> {
        let changed = self.copy.change(&mutant.edit)?;
        let Test { krate, name } = &mutant.test;
        let tried = self.build(krate).and_then(|()| {
            let mut run = self.nextest(krate, &format!("test(={name})"))?;
            // It is to fail; how it does is of no interest.
            run.args(["--failure-output", "never"]).status().context("nextest does not start")
        });
        changed.undo()?;
        let status = tried.with_context(|| format!("the mutant `{}`", mutant.name))?;
        match status.code() {
            Some(0) => Ok(false),
            Some(TEST_FAILED) => Ok(true),
            Some(_) | None => bail!("nextest ended with {status} at `{}`", mutant.name),
        }
    }

    /// Shows the model's mutations with what told of them.
    fn model(&self) -> anyhow::Result<()> {
        let mut run = self.nextest("schemas", &format!("test(/^{MODEL}/)"))?;
        process::run(run.args(["--success-output", "final", "--status-level", "none"]))
    }

    /// Builds a package's tests, and what they start.
    fn build(&self, package: &str) -> anyhow::Result<()> {
        if package == "stories" {
            let mut programs = self.cargo(process::cargo());
            programs.args(["build", "--bins", "--quiet"]);
            programs.args(PROGRAMS.iter().flat_map(|name| ["--package", name]));
            process::run(&mut programs)?;
        }
        let mut tests = self.cargo(process::cargo());
        process::run(tests.args(["test", "--no-run", "--quiet", "--package", package]))
    }

    fn nextest(&self, package: &str, filter: &str) -> anyhow::Result<Command> {
        let mut run = self.cargo(self.fetched.nextest()?);
        run.args(["nextest", "run", "--cargo-quiet", "--package", package, "-E", filter]);
        run.envs(self.fetched.servers.environment());
        run.env("HOLDFAST_POSTGRES", self.fetched.postgres()?);
        Ok(run)
    }

    /// cargo, or one of its commands, in the copy.
    fn cargo(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        process::without_our_package(&mut command);
        command.current_dir(self.copy.root()).env("CARGO_TARGET_DIR", &self.built);
        command
    }
}
