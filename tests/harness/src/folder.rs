//! Where things lie in the folder of a world. Pure names; [`Folder::make`] makes the directories.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The folder of a world, and what is where in it.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes a folder, and makes what must be there before anything is started.
    ///
    /// # Errors
    ///
    /// When a directory cannot be made.
    pub fn make(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        // Symbolic links in it would keep a process from being known by this name.
        let root =
            root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
        let folder = Self(root);
        let tmux = folder.tmux();
        for dir in [folder.home(), folder.temporary(), folder.logs(), folder.gates(), tmux] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The home of all processes, claude's settings and sessions in it.
    pub fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    /// Their temporary directory.
    pub fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// What each program printed, one file a program.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The files that open a gate of claude-sim.
    pub fn gates(&self) -> PathBuf {
        self.0.join("gates")
    }

    /// Where tmux keeps its socket.
    pub fn tmux(&self) -> PathBuf {
        self.0.join("tmux")
    }

    /// What each claude-sim did.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger.jsonl")
    }

    /// The runner's state.
    pub fn runner_state(&self) -> PathBuf {
        self.0.join("runner")
    }

    /// The gateway's store.
    pub fn database(&self) -> PathBuf {
        self.0.join("gateway.db")
    }

    /// The gateway's configuration.
    pub fn gateway_toml(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }

    /// The runner's configuration.
    pub fn runner_toml(&self) -> PathBuf {
        self.0.join("runner.toml")
    }

    /// The certificate that stands for discord.com's.
    pub fn ca_file(&self) -> PathBuf {
        self.0.join("discord-ca.pem")
    }

    /// The bus: its configuration, its port, its streams.
    pub fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }

    /// The project that claude works in.
    pub fn project(&self) -> PathBuf {
        self.0.join("project")
    }
}
