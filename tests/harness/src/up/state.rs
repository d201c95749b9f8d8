//! What `up` remembers: its ports, so that a claude that still runs finds its API again, and the
//! projects it ever served. One `up` at a time uses it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use harness::{free_port, is_free};
use serde::{Deserialize, Serialize};

use crate::say;

/// What is kept in `state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The port of each listener, by its name.
    #[serde(default)]
    ports: BTreeMap<String, u16>,
    /// Where each project lies, by its name.
    #[serde(default)]
    pub(crate) projects: BTreeMap<String, PathBuf>,
    #[serde(skip)]
    file: PathBuf,
}

impl State {
    /// Reads what the last `up` left in this folder.
    ///
    /// # Errors
    ///
    /// When the file is not ours.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let file = folder.join("state.json");
        let mut state = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is not what `up` writes", file.display()))?,
            Err(_) => Self::default(),
        };
        state.file = file;
        Ok(state)
    }

    /// Keeps it for the next `up`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot write the state as JSON")?;
        fs::write(&self.file, text).with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// The port that this listener had, if it is still free, else another one.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub(crate) fn port(&mut self, name: &str) -> Result<u16> {
        if let Some(port) = self.ports.get(name) {
            if is_free(*port) {
                return Ok(*port);
            }
            say(&format!("port {port} of {name} is taken; it gets another one"));
        }
        let port = free_port()?;
        self.ports.insert(name.to_owned(), port);
        Ok(port)
    }
}

/// The right to use a folder, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "the lock is held for as long as the file is open")] File,
);

/// Takes the right.
///
/// # Errors
///
/// When another `up` has it.
pub(crate) fn lock(folder: &Path) -> Result<Lock> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Without the number the message still says what is wrong.
            let _ = file.read_to_string(&mut pid);
            bail!("another `up` runs here already (process {}): end it first", pid.trim());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Lock(file))
}
