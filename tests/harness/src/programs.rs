//! Where the programs are: ours beside the running one, the others where `cargo xtask` put them.
//!
//! `HOLDFAST_NATS_SERVER`, `HOLDFAST_CLAUDE` and `HOLDFAST_ROTEL` win; without them the cache of the
//! checkout is looked at. A browser is the machine's own, or what `HOLDFAST_CHROMIUM` names. Nothing is
//! fetched here: `cargo xtask fetch` does that.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What a Chromium is called, Debian's name first; xtask looks for the same.
const CHROMIUMS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

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

/// The OpenTelemetry collector that is not of ours.
///
/// # Errors
///
/// When there is none, with how to get it.
pub fn rotel() -> Result<PathBuf> {
    fetched("HOLDFAST_ROTEL", "rotel-agent")
}

/// The Chromium to look at pages with.
///
/// # Errors
///
/// When there is none, with how to get it.
pub fn chromium() -> Result<PathBuf> {
    if let Some(set) = named("HOLDFAST_CHROMIUM")? {
        return Ok(set);
    }
    let found = CHROMIUMS.into_iter().find_map(on_path);
    found.context(
        "there is no Chromium on PATH: `apt-get install chromium`, or set HOLDFAST_CHROMIUM",
    )
}

/// The file that a variable names, if it names one.
fn named(variable: &str) -> Result<Option<PathBuf>> {
    let Some(set) = env::var_os(variable) else { return Ok(None) };
    let path = PathBuf::from(set);
    ensure!(path.is_file(), "{variable} is {}, and there is no such file", path.display());
    Ok(Some(path))
}

fn fetched(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(set) = named(variable)? {
        return Ok(set);
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
