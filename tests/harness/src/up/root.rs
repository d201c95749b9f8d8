//! Which checkout this is for: where `.holdfast/` lies.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folder of the root manifest: `HOLDFAST_ROOT`, else above this program, else above the
/// directory we are in.
///
/// # Errors
///
/// When none of them is a checkout.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(root) = env::var_os("HOLDFAST_ROOT") {
        return Ok(root.into());
    }
    let is_checkout =
        |dir: &&Path| dir.join("Cargo.lock").is_file() && dir.join("tests/harness").is_dir();
    let above = |dir: PathBuf| dir.ancestors().find(is_checkout).map(Path::to_owned);
    let exe = env::current_exe().ok().and_then(above);
    let found = exe.or_else(|| env::current_dir().ok().and_then(above));
    found.context("this is no checkout of Holdfast: run it there, or set HOLDFAST_ROOT")
}
