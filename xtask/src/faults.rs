//! The table of faults: `docs/faults.md`, made from the list in `tests/stories/faults.toml` and a run of
//! all tests.
//!
//! A row passes when each of its tests ran in this run and passed; its figures are what the
//! harness measured meanwhile. The words of the table are checked in and must be those of the list;
//! the figures are those of the run that was recorded last.
//!
//! It never changes a file that git knows unless a run is recorded.

mod junit;
mod list;
mod page;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use self::junit::Passed;
use self::list::List;
pub(crate) use self::list::Test;
use crate::process::say;
use crate::workspace::Workspace;

/// The list, written by hand.
const LIST: &str = "tests/stories/faults.toml";
/// The table, checked in.
const TABLE: &str = "docs/faults.md";
/// Where nextest puts its reports, a folder for each profile (`store.dir` of `.config/nextest.toml`).
const REPORTS: &str = "target/nextest";
/// How the table is brought up to date.
const RECORD: &str = "cargo xtask test --record";

/// What becomes of the table after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It is compared with the one that is checked in.
    Check,
    /// It takes the place of the one that is checked in.
    Record,
}

/// A run of all tests that is about to begin.
pub(crate) struct Run {
    list: List,
    table: PathBuf,
    target: PathBuf,
    junit: PathBuf,
}

impl Run {
    /// Reads the list, and removes what an earlier run left. `profile`: that of nextest.
    ///
    /// # Errors
    ///
    /// The list is not as it should be, or what is old cannot be removed.
    pub(crate) fn prepare(workspace: &Workspace, profile: &str) -> anyhow::Result<Self> {
        let target = workspace.target()?;
        let junit = workspace.root().join(REPORTS).join(profile).join("junit.xml");
        let run = Self { list: list(workspace)?, table: table(workspace), target, junit };
        for removed in [fs::remove_dir_all(run.stories()), fs::remove_file(&run.junit)] {
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).context("cannot remove the figures of an earlier run");
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(run)
    }

    /// Makes the table of the run that has ended.
    ///
    /// # Errors
    ///
    /// Each row whose tests did not all pass; a table in the repository that says something else.
    pub(crate) fn finish(&self, purpose: Purpose) -> anyhow::Result<()> {
        let passed = Passed::read(&self.junit)?;
        let missing = self.list.missing(&passed);
        ensure!(
            missing.is_empty(),
            "the table of faults names tests that did not pass in this run:\n  {}",
            missing.join("\n  ")
        );
        let text = page::write(&self.list, &page::machine(), |test| figure(&self.stories(), test));
        let made = self.target.join("faults.md");
        fs::write(&made, &text).with_context(|| format!("cannot write {}", made.display()))?;
        say(&format!("faults: {}; the table is {}", self.list.summary(), made.display()));
        match purpose {
            Purpose::Check => compare(&self.list, &self.table),
            Purpose::Record => {
                fs::write(&self.table, text).with_context(|| format!("cannot write {TABLE}"))?;
                say(&format!("faults: {TABLE} is written"));
                Ok(())
            }
        }
    }

    /// Where the harness puts what it measured.
    fn stories(&self) -> PathBuf {
        self.target.join("stories")
    }
}

/// Compares the words of the table that is checked in with the list; nothing is run.
///
/// # Errors
///
/// They differ, or the list is not as it should be.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<()> {
    compare(&list(workspace)?, &table(workspace))
}

fn compare(list: &List, table: &Path) -> anyhow::Result<()> {
    let present = fs::read_to_string(table).unwrap_or_default();
    let wanted = page::write(list, "", |_| String::new());
    match page::difference(&wanted, &present) {
        None => Ok(()),
        Some(line) => {
            bail!("{TABLE} does not say what {LIST} says; run `{RECORD}`. It lacks:\n  {line}")
        }
    }
}

fn list(workspace: &Workspace) -> anyhow::Result<List> {
    let text = fs::read_to_string(workspace.root().join(LIST));
    List::parse(&text.with_context(|| format!("cannot read {LIST}"))?)
        .with_context(|| format!("{LIST} is not as it should be"))
}

fn table(workspace: &Workspace) -> PathBuf {
    workspace.root().join(TABLE)
}

/// What was measured in a story; what measured nothing passed, and that is all.
fn figure(stories: &Path, story: &str) -> String {
    let mut file = stories.to_path_buf();
    file.extend(story.split("::"));
    file.set_extension("json");
    let read = || {
        let text = fs::read_to_string(file).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        value["figure"].as_str().map(str::to_owned)
    };
    read().unwrap_or_else(|| "passed".to_owned())
}
