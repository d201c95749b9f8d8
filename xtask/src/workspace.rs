//! Where things lie: the repository, the build output and the cache of fetched programs.
//!
//! The harness finds the programs by the two paths under [`Workspace::bin`], so these are a
//! contract: `.holdfast/cache/bin/nats-server` and `.holdfast/cache/bin/claude`. They are made
//! last, when what they lead to is complete.
//!
//! Never creates anything.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::process;

/// The checked-out repository.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The repository that this program is run in.
    ///
    /// Cargo says so at run time, too; what it said when this was built may be another clone,
    /// if clones share a target directory.
    pub(crate) fn here() -> Self {
        let built = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = std::env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .filter(|running| running.ends_with("xtask"));
        let root = ours.as_deref().unwrap_or(built).parent();
        Self { root: root.expect("xtask is a folder of the repository").to_path_buf() }
    }

    /// The folder of the root manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What is kept on this machine alone, beside the build output.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(".holdfast")
    }

    /// What was fetched; may be deleted at any time, and be shared by several clones.
    pub(crate) fn cache(&self) -> PathBuf {
        self.state().join("cache")
    }

    /// The programs that the harness starts, under fixed names.
    pub(crate) fn bin(&self) -> PathBuf {
        self.cache().join("bin")
    }

    /// Half-done work; swept at the next fetch.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.cache().join("tmp")
    }

    /// A `cargo` command that runs in the repository.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(process::cargo());
        process::without_our_package(command.current_dir(&self.root).arg(subcommand));
        command
    }

    /// Where cargo puts what it builds in the debug profile.
    pub(crate) fn debug_output(&self) -> anyhow::Result<PathBuf> {
        Ok(self.target()?.join("debug"))
    }

    /// Cargo's target folder, wherever the user told it to be.
    pub(crate) fn target(&self) -> anyhow::Result<PathBuf> {
        let text = process::output(self.cargo("metadata").args([
            "--locked",
            "--no-deps",
            "--format-version=1",
        ]))?;
        let metadata: serde_json::Value =
            serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?;
        Ok(PathBuf::from(target))
    }
}
