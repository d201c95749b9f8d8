//! `cargo xtask ci`: everything that a change must pass, cheapest first.
//!
//! Each step has a headline and its time; the first that fails ends it all and is named. Every
//! cargo call is for the whole workspace, so that no dependency is built with two sets of
//! features. The tests come last and have the last word but one line.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::fetch::{self, Fetched, Purpose};
use crate::process::{self, say, spoken};
use crate::servers::Servers;
use crate::workspace::Workspace;
use crate::{config_docs, faults, schema_files, test, up};

/// How long the advisory database may take to come: it is some megabytes.
const ADVISORIES_WITHIN: Duration = Duration::from_secs(120);

/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What cargo-deny says when it cannot get the advisory database.
const NO_DATABASE: &str = "failed to fetch advisory database";

/// What is said then, so that nobody takes the silence for a clean result.
const UNCHECKED: &str = "advisories: NOT checked, their database cannot be reached from here; \
                         run `cargo deny check advisories` where it can";

/// The seed that every change must pass: one of which it is known that all faults are in it.
const CHAOS_SEED: u64 = 1;
const CHAOS_MINUTES: u64 = 3;

/// A step: its name and what it does.
type Step = (&'static str, fn(&Workspace, &Fetched) -> anyhow::Result<()>);

const STEPS: [Step; 11] = [
    ("fmt", |workspace, _| process::run(workspace.cargo("fmt").args(["--all", "--check"]))),
    ("clippy", |workspace, _| {
        process::run(workspace.cargo("clippy").args([
            "--workspace",
            "--all-targets",
            // What the build of the tests leaves out, among them.
            "--all-features",
            "--locked",
            "--",
            "-Dwarnings",
        ]))
    }),
    ("deny", deny),
    ("schemas", |workspace, _| schema_files::check(workspace)),
    ("faults", |workspace, _| faults::check(workspace)),
    ("docs", |workspace, _| {
        let mut doc = workspace.cargo("doc");
        doc.args(["--workspace", "--no-deps", "--locked"]);
        process::run(doc.env("RUSTDOCFLAGS", "-Dwarnings"))
    }),
    ("tidy", |workspace, _| {
        process::run(workspace.cargo("test").args(["--package=xtask", "--test=tidy", "--locked"]))
    }),
    ("build", |workspace, _| test::build(workspace, &Servers::Processes)),
    ("config-docs", |workspace, _| config_docs::check(workspace)),
    ("chaos", |workspace, _| {
        process::run(&mut up::chaos_of(workspace, CHAOS_SEED, CHAOS_MINUTES)?)
    }),
    ("tests", |workspace, fetched| {
        test::all(workspace, fetched, &Servers::Processes, "ci", faults::Purpose::Check)
    }),
];

/// Runs every step, and stops at the first that fails.
pub(crate) fn ci(workspace: &Workspace) -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut times = Vec::with_capacity(STEPS.len() + 1);
    let fetched = timed("fetch", &mut times, || fetch::fetch(workspace, Purpose::Everything))?;
    for (name, run) in STEPS {
        timed(name, &mut times, || run(workspace, &fetched))?;
    }
    say(&format!("ci: passed in {} ({})", spoken(begin.elapsed()), times.join(", ")));
    Ok(())
}

/// Does one step under its headline, and notes its time.
fn timed<T>(
    name: &str,
    times: &mut Vec<String>,
    step: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    say(&format!("==== {name}"));
    let start = Instant::now();
    let result = step();
    let time = spoken(start.elapsed());
    match &result {
        Ok(_) => say(&format!("==== {name}: passed in {time}")),
        Err(_) => say(&format!("==== {name}: FAILED after {time}")),
    }
    times.push(format!("{name} {time}"));
    result.with_context(|| format!("the step {name} failed"))
}

/// Licences, versions and sources always; advisories where their database can be reached.
fn deny(workspace: &Workspace, fetched: &Fetched) -> anyhow::Result<()> {
    let check = |what: &[&str]| {
        let mut command = Command::new(fetched.deny()?);
        command.current_dir(workspace.root()).args(["--locked", "check", "--hide-inclusion-graph"]);
        command.args(what);
        anyhow::Ok(command)
    };
    process::run(&mut check(&["bans", "licenses", "sources"])?)?;
    match advisories(workspace, check(&["advisories"])?)? {
        Advisories::Clean => say("advisories: none that is not answered in deny.toml"),
        Advisories::Unreachable => say(UNCHECKED),
        Advisories::Found(report) => {
            say(&report);
            bail!("there are advisories; cure them, or answer them in deny.toml");
        }
    }
    Ok(())
}

/// What came of asking for advisories.
enum Advisories {
    Clean,
    Unreachable,
    Found(String),
}

/// Asks with a deadline. The output goes to a file, since a git that outlives its parent would
/// hold a pipe open.
fn advisories(workspace: &Workspace, mut command: Command) -> anyhow::Result<Advisories> {
    let log = workspace.state().join("advisories.log");
    let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .env("GIT_TERMINAL_PROMPT", "0")
        .spawn()
        .context("cannot start cargo-deny")?;
    let deadline = Instant::now() + ADVISORIES_WITHIN;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if deadline <= Instant::now() {
            child.kill()?;
            child.wait()?;
            return Ok(Advisories::Unreachable);
        }
        thread::sleep(LOOK_EVERY);
    };
    let report =
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(judge(status.success(), report))
}

fn judge(success: bool, report: String) -> Advisories {
    if success {
        Advisories::Clean
    } else if report.contains(NO_DATABASE) {
        Advisories::Unreachable
    } else {
        Advisories::Found(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_a_finding_unless_the_database_was_out_of_reach() {
        let offline = "[ERROR] failed to fetch advisory database with cli: failed to clone";
        assert!(matches!(judge(false, offline.to_owned()), Advisories::Unreachable));
        assert!(matches!(judge(false, "error[vulnerability]".to_owned()), Advisories::Found(_)));
        assert!(matches!(judge(true, String::new()), Advisories::Clean));
    }
}
