//! What happened and when, one JSON line each, written as it happens: a run that is killed leaves
//! what it had.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct History {
    folder: PathBuf,
    lines: File,
    since: Instant,
}

impl History {
    /// Begins anew in this folder.
    pub(crate) fn begin(folder: PathBuf) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lines = File::create(folder.join("history.jsonl")).context("cannot begin a history")?;
        Ok(Self { folder, lines, since: Instant::now() })
    }

    /// Notes what happened.
    pub(crate) fn note(&mut self, what: &str, detail: impl Serialize) -> Result<()> {
        let at = self.since.elapsed().as_secs_f64();
        let line = json!({ "at": (at * 1000.0).round() / 1000.0, "what": what, "detail": detail });
        writeln!(self.lines, "{line}").context("cannot write the history")
    }

    /// Keeps a document beside it.
    pub(crate) fn keep(&self, name: &str, content: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(content).context("it is no JSON")?;
        self.keep_text(name, &text)
    }

    /// Keeps a text beside it.
    pub(crate) fn keep_text(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Keeps a copy of a file or a folder beside it, if there is one.
    pub(crate) fn keep_copy(&self, from: &Path, name: &str) -> Result<()> {
        if !from.exists() {
            return Ok(());
        }
        harness::copy_folder(from, &self.folder.join(name))
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
