//! Where the store is: all that a command needs which only reads it, or decides about a run.
//!
//! No token, key or channel is asked for, and what else is wrong with the file is no matter of such a
//! command.

use std::path::PathBuf;

use platform::config::{self, ConfigError, Environment, Problems};

use super::{FILE, File, over};
use crate::store::{StoreUrl, StoreUrlError};

/// Where the store is.
#[derive(Debug)]
pub(crate) struct Books {
    /// Its address.
    pub(crate) database_url: StoreUrl,
}

impl Books {
    /// Reads and checks the part of the configuration that is about the store.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; [`ConfigError::Invalid`] when it is no address.
    pub(crate) fn load(named: Option<PathBuf>, env: &Environment) -> Result<Self, ConfigError> {
        let path = config::locate(named, FILE, env)?;
        let file: File = config::read(&path)?;
        let mut problems = Problems::default();
        let database_url = database_url(file.database_url, env, &mut problems);
        problems.none(&path)?;
        Ok(Self { database_url: database_url.expect("an address without problems is one") })
    }
}

/// The address: of the environment, of the file, or of a file in the state directory.
pub(super) fn database_url(
    own: Option<String>,
    env: &Environment,
    problems: &mut Problems,
) -> Option<StoreUrl> {
    let url = over(env, "DATABASE_URL", own).or_else(|| {
        let state = config::xdg(env, "XDG_STATE_HOME", ".local/state")?;
        Some(format!("sqlite://{}", state.join("gateway.db").display()))
    });
    let url = url
        .ok_or_else(|| "is needed where there is no HOME to keep a file in".to_owned())
        .and_then(|url| url.parse().map_err(|error: StoreUrlError| error.to_string()));
    problems.take("database_url", url)
}
