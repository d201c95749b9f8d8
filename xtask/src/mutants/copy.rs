//! A copy of the work tree, brought up to date at each run and changed in one place at a time.
//!
//! A file that is as it was keeps its time, so that cargo builds only what changed. What git does not
//! know and would not take is not copied.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::list::Edit;
use crate::process;

/// The copy.
pub(super) struct Copy {
    root: PathBuf,
}

/// Files that were changed, with what they held before.
#[must_use = "the next mutation would be made on top of this one"]
pub(super) struct Changed(BTreeMap<PathBuf, String>);

impl Copy {
    /// Makes `to` what `from` is, as far as git knows or would take it.
    ///
    /// # Errors
    ///
    /// When git does not answer, or a file cannot be copied.
    pub(super) fn make(from: &Path, to: &Path) -> anyhow::Result<Self> {
        let mut list = Command::new("git");
        list.current_dir(from);
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = process::output(&mut list)?;
        let mut wanted = BTreeSet::new();
        for file in listed.split_terminator('\0') {
            let source = from.join(file);
            // A file that was deleted is listed until the next commit.
            if source.is_file() {
                refresh(&source, &to.join(file)).with_context(|| format!("cannot copy {file}"))?;
                wanted.insert(to.join(file));
            }
        }
        remove_others(to, &wanted).context("cannot clean the copy")?;
        Ok(Self { root: to.to_owned() })
    }

    /// Where it lies.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes these changes, one after the other.
    ///
    /// # Errors
    ///
    /// When one does not find what it changes; then nothing is changed.
    pub(super) fn change(&self, edits: &[Edit]) -> anyhow::Result<Changed> {
        let mut before: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut after: BTreeMap<PathBuf, String> = BTreeMap::new();
        for edit in edits {
            let path = self.root.join(&edit.file);
            if !after.contains_key(&path) {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", edit.file))?;
                before.insert(path.clone(), text.clone());
                after.insert(path.clone(), text);
            }
            let changed = edit.apply(&after[&path])?;
            after.insert(path, changed);
        }
        for (path, text) in &after {
            fs::write(path, text)?;
        }
        Ok(Changed(before))
    }
}

impl Changed {
    /// Puts everything back.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(super) fn undo(self) -> anyhow::Result<()> {
        for (path, text) in &self.0 {
            fs::write(path, text).with_context(|| format!("cannot put {} back", path.display()))?;
        }
        Ok(())
    }
}

/// Copies a file unless it is there as it is.
fn refresh(from: &Path, to: &Path) -> std::io::Result<()> {
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    // Its permissions come along.
    fs::copy(from, to).map(drop)
}

/// Removes the files that are not wanted (any more).
fn remove_others(folder: &Path, wanted: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // What nextest reports of its runs in the copy.
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
