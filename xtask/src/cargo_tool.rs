//! Tools that are cargo packages: taken from PATH when new enough, else built once from a pinned
//! version into the cache.
//!
//! cargo puts a program in place only when it is complete, so a build that was cut off is simply
//! begun again. Never touches the user's own `cargo install` folder.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::process::{self, say, spoken};
use crate::version::Version;
use crate::workspace::Workspace;

/// A cargo package that brings one program of the same name.
pub(crate) struct CargoTool {
    /// The package and its program.
    pub(crate) name: &'static str,
    /// The oldest that will do, when PATH has one.
    pub(crate) at_least: Version,
    /// The one that is built when PATH has none.
    pub(crate) pinned: Version,
    /// What `cargo install` is told besides.
    pub(crate) options: &'static [&'static str],
}

impl CargoTool {
    /// The program, built if neither PATH nor the cache has it.
    ///
    /// # Errors
    ///
    /// The build failed.
    pub(crate) fn fetch(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let version = |program: &Path| {
            process::version_line(program, "--version").and_then(|said| Version::find_in(&said))
        };
        if let Some(found) = process::on_path(self.name)
            && version(&found) >= Some(self.at_least)
        {
            return Ok(found);
        }
        let root = workspace.cache().join("tools");
        let built = root.join("bin").join(self.name);
        if version(&built) != Some(self.pinned) {
            self.build(workspace, &root)?;
        }
        Ok(built)
    }

    fn build(&self, workspace: &Workspace, root: &Path) -> anyhow::Result<()> {
        let start = Instant::now();
        let Self { name, pinned, options, .. } = self;
        say(&format!("fetch: building {name} {pinned}, once (a newer one on PATH spares this) …"));
        let scratch = workspace.scratch().join(name);
        let mut install = workspace.cargo("install");
        install
            .args([name, "--locked", "--force", "--version", &pinned.to_string()])
            .args(*options)
            .arg("--root")
            .arg(root)
            .arg("--target-dir")
            .arg(&scratch)
            // Else cargo advises to put the cache on PATH.
            .env("PATH", path_with(&root.join("bin"))?);
        process::run(&mut install).with_context(|| {
            format!("cannot build {name}; `cargo install {name} --locked` by hand would also do")
        })?;
        fs::remove_dir_all(&scratch)
            .with_context(|| format!("cannot remove {}", scratch.display()))?;
        say(&format!("fetch: {name} is there, after {}", spoken(start.elapsed())));
        Ok(())
    }
}

fn path_with(folder: &Path) -> anyhow::Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([folder.to_path_buf()]);
    std::env::join_paths(folders).context("the cache has a path that PATH cannot hold")
}
