//! `cargo xtask bench`: a release build, then `holdfast-bench` of the harness, which measures and
//! writes `docs/bench.md`.
//!
//! A quick run only prints its page: it says that the bench works, and its figures are too few to
//! stand anywhere. The build is another one than that of the tests, and takes minutes when it is the
//! first.

use std::process::Command;

use anyhow::Context;

use crate::fetch::{self, Purpose};
use crate::process::{self, say};
use crate::workspace::Workspace;

/// The packages whose programs are needed.
const PACKAGES: [&str; 4] = ["gateway-svc", "runner-svc", "claude-sim", "harness"];

/// What is measured, what measures, and what takes everything away if that is killed. Of the harness
/// no other: each is linked for minutes.
const PROGRAMS: [&str; 5] =
    ["gateway-svc", "runner-svc", "claude-sim", "holdfast-bench", "holdfast-up"];

/// Where the figures of a full run go.
const PAGE: &str = "docs/bench.md";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Enough for figures to stand.
    Full,
    /// Enough to see that it works.
    Quick,
}

/// Builds and measures.
pub(crate) fn bench(workspace: &Workspace, extent: Extent) -> anyhow::Result<()> {
    let fetched = fetch::fetch(workspace, Purpose::Load)?;
    say("bench: building for release …");
    let mut build = workspace.cargo("build");
    build.args(["--release", "--locked"]);
    build.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    build.args(PROGRAMS.iter().flat_map(|name| ["--bin", name]));
    process::run(&mut build)?;
    let program = workspace.target()?.join("release/holdfast-bench");
    let mut measure = Command::new(&program);
    process::without_our_package(&mut measure).envs(fetched.servers.environment());
    match extent {
        Extent::Full => measure.arg("--write").arg(workspace.root().join(PAGE)),
        Extent::Quick => measure.arg("--quick"),
    };
    process::run(&mut measure).with_context(|| format!("{} came to nothing", program.display()))
}
