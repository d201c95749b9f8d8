//! Where the programs are: ours beside the running one, the others where `cargo xtask` put them.
//!
//! `HOLDFAST_NATS_SERVER` and `HOLDFAST_CLAUDE` win; without them the cache of the checkout is
//! looked at. Nothing is fetched here: `cargo xtask fetch` does that.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// A program of this workspace, built with the one that runs.
///
/// # Errors
///
/// When it was not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let exe = env::current_exe().context("this program has no path")?;
    // A test lies in `deps/` below the programs.
    let found = exe.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|it| it.is_file());
    found.with_context(|| {
        format!("{name} is not beside {}; build it: cargo build --workspace --bins", exe.display())
    })
}

/// The nats-server to start.
///
/// # Errors
///
/// When there is none, with how to get it.
pub fn nats_server() -> Result<PathBuf> {
    fetched("HOLDFAST_NATS_SERVER", "nats-server")
}

/// The pinned claude.
///
/// # Errors
///
/// When there is none, with how to get it.
pub fn claude() -> Result<PathBuf> {
    fetched("HOLDFAST_CLAUDE", "claude")
}

fn fetched(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(set) = env::var_os(variable) {
        let path = PathBuf::from(set);
        ensure!(path.is_file(), "{variable} is {}, and there is no such file", path.display());
        return Ok(path);
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cached = |dir: &Path| dir.join(".holdfast/cache/bin").join(name);
    let found = here.ancestors().map(cached).find(|it| it.is_file());
    found.with_context(|| format!("{name} was not fetched: run `cargo xtask fetch`"))
}

/// The first program of this name on a PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file())
}
