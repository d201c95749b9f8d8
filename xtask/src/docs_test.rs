//! `cargo xtask docs-test`: what the documents tell to type is typed, as it stands there.
//!
//! The stories do it (`documents`, `scale_out`), so that a document is tried by whoever runs all tests;
//! this runs them alone, behind the look whether the page of the configuration is what the types say.

use crate::fetch::{self, Purpose};
use crate::process;
use crate::servers::Servers;
use crate::workspace::Workspace;
use crate::{config_docs, test};

/// The stories that try documents.
const STORIES: &str = "package(stories) & test(/^(documents|scale_out)::/)";

/// Tries every document.
pub(crate) fn docs_test(workspace: &Workspace) -> anyhow::Result<()> {
    let fetched = fetch::fetch(workspace, Purpose::Tests)?;
    config_docs::check(workspace)?;
    let mut stories = test::nextest(workspace, &fetched, &Servers::Processes)?;
    process::run(stories.args(["-E", STORIES]))
}
