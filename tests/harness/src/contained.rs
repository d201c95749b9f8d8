//! Servers of a story in containers instead of processes: `TEST_SERVERS=containers`.
//!
//! A container has the network of its host and the story's folder at its own path, so that addresses,
//! configurations and stores are what they are for a process; a signal goes through the engine to the
//! server itself, and a second start is that of the same container. That takes an engine on this machine.
//!
//! What speaks to the engine is built with the feature `containers` alone (`engine.rs`): nobody else pays
//! for it. It never chooses an image: `cargo xtask test` names those of `docker-compose.yml`, and takes away
//! the containers of stories that were killed.

#[cfg(feature = "containers")]
mod engine;
#[cfg(not(feature = "containers"))]
#[path = "contained/none.rs"]
mod engine;

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

pub(crate) use self::engine::Contained;

/// What says where the servers are.
const VARIABLE: &str = "TEST_SERVERS";

/// An image, by the variable that names it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "nobody asks for its name"))]
pub(crate) struct Image(&'static str);

/// nats-server.
pub(crate) const NATS: Image = Image("NATS_IMAGE");
/// PostgreSQL.
pub(crate) const POSTGRES: Image = Image("POSTGRES_IMAGE");

/// A container that is not there yet.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "nobody starts one"))]
pub(crate) struct Wanted {
    /// What it is made of.
    pub(crate) image: Image,
    /// What `/bin/sh -c` is told to do. It ends by `exec`, so that signals reach the server.
    pub(crate) script: String,
    /// Its environment beside that of the image.
    pub(crate) env: Vec<(String, String)>,
    /// What of the host it sees, at the same path.
    pub(crate) folder: PathBuf,
    /// Who runs in it: `user`, or `uid:gid`.
    pub(crate) user: String,
}

/// Whether servers are to be containers.
///
/// # Errors
///
/// When `TEST_SERVERS` says something else than it can.
pub(crate) fn is_wanted() -> Result<bool> {
    match env::var_os(VARIABLE) {
        None => Ok(false),
        Some(said) if said.is_empty() || said == "processes" => Ok(false),
        Some(said) if said == "containers" => Ok(true),
        Some(said) => {
            bail!("{VARIABLE} is {}; it can be `processes` or `containers`", said.display())
        }
    }
}
