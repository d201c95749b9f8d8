//! The guild on disk, so that a simulator that is started again is the same one.
//!
//! One task saves after changes, at most every [`SAVE_PAUSE`]: files first, then `state.json`
//! beside its place and renamed over it, so that a reader finds the old state or the new one.
//! Gateway sessions, counts and faults are not kept: they end with the process, as Discord's
//! sessions do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::guild::Guild;
use crate::hub::Hub;
use crate::ids::AttachmentId;

/// The least time between two saves: a burst of messages is written once.
const SAVE_PAUSE: Duration = Duration::from_millis(100);

/// Where a guild is kept.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Makes the directories that are missing.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let files = dir.join("files");
        fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    fn file(&self, id: AttachmentId) -> PathBuf {
        self.dir.join("files").join(id.to_string())
    }

    /// The guild that was kept, if one was.
    pub(crate) fn load(&self) -> Result<Option<Guild>> {
        let path = self.state();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut guild: Guild = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a state of this simulator", path.display()))?;
        for id in guild.attachments() {
            let path = self.file(id);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            guild.files.insert(id, Bytes::from(bytes));
        }
        Ok(Some(guild))
    }

    /// Keeps the guild as it is now; the version that was kept.
    pub(crate) fn save(&self, hub: &Hub) -> Result<u64> {
        let (version, text, files) = hub.look(|inner| {
            let text = serde_json::to_vec(&inner.guild);
            (inner.guild_version, text, inner.guild.files.clone())
        });
        let text = text.context("cannot write the state as JSON")?;
        for (id, bytes) in files {
            let path = self.file(id);
            if !path.exists() {
                replace(&path, &bytes)?;
            }
        }
        replace(&self.state(), &text)?;
        Ok(version)
    }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, content).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Saves after each change until told to stop. What changes while all is stopping is saved by
/// whoever stops it.
pub(crate) async fn keep(hub: Arc<Hub>, store: Store, stop: CancellationToken) -> Result<()> {
    let mut changed = hub.subscribe();
    let mut kept = None;
    loop {
        let version = hub.look(|inner| inner.guild_version);
        if kept != Some(version) {
            let (hub, store) = (Arc::clone(&hub), store.clone());
            let saving = tokio::task::spawn_blocking(move || store.save(&hub));
            kept = Some(saving.await.context("saving was interrupted")??);
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = async {
                tokio::time::sleep(SAVE_PAUSE).await;
                // The hub outlives this task, so its sender does.
                let _ = changed.changed().await;
            } => {}
        }
    }
}
