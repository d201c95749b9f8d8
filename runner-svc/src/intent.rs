//! What a claim is to begin, remembered in the state directory until it has a spool.
//!
//! A claim is written into its record first and gets its spool when there is a place to work in,
//! which can take long. A runner that ends between the two would wait for the work to be delivered
//! again; with this it goes on at once, as the same attempt: its own record without a spool means
//! that nothing was spawned.
//!
//! A hint and never the truth: the record says whether a claim stands. What could not be remembered
//! comes again with the next delivery. One file a run, so that a later claim takes the place of an
//! older one.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use schemas::ids::RunId;

use crate::held::Held;
use crate::keeper::record::{DIR_MODE, write_whole};

/// The intents of this host. All calls block on small local files.
#[derive(Debug)]
pub(crate) struct Intents {
    dir: PathBuf,
}

impl Intents {
    /// The intents in this state directory.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("intents") }
    }

    /// Remembers what is about to be claimed.
    pub(crate) fn remember(&self, held: &Held) {
        let written = serde_json::to_vec(held).map_err(io::Error::from).and_then(|bytes| {
            DirBuilder::new().recursive(true).mode(DIR_MODE).create(&self.dir)?;
            write_whole(&self.dir, held.record.run.as_str(), &bytes)
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a claim is not remembered: if the runner ends now, it waits for \
                                    the work to be delivered again");
        }
    }

    /// Forgets what has its spool or its outcome. What stays is compared with its record at the
    /// next start.
    pub(crate) fn forget(&self, run: &RunId) {
        match fs::remove_file(self.dir.join(run.as_str())) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::debug!(%error, %run, "an intent stays");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// All that are remembered, in the order of their claims. What cannot be read is passed over.
    pub(crate) fn all(&self) -> Vec<Held> {
        // Before the first claim there is no directory.
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut all: Vec<Held> = entries.filter_map(|entry| read(&entry.path())).collect();
        all.sort_unstable_by_key(|held| held.since_ms);
        all
    }
}

fn read(path: &Path) -> Option<Held> {
    // Half written.
    let name = path.file_name().and_then(OsStr::to_str)?;
    if name.starts_with('.') {
        return None;
    }
    let read = fs::read(path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    read.inspect_err(|error| tracing::warn!(%error, path = %path.display(), "an unreadable intent"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Prompt;
    use schemas::ids::Generation;

    fn held(run: &str, since_ms: i64) -> Held {
        let request = include_bytes!("../../schemas/golden/request-1.json");
        let record = include_bytes!("../../schemas/golden/record-1-claimed.json");
        let mut held = Held {
            request: schemas::from_json(request).unwrap(),
            record: schemas::from_json(record).unwrap(),
            prompt: Prompt::first(&run.parse().unwrap(), Generation(1)),
            since_ms,
            trace: None,
            begun: crate::held::Begun::default(),
        };
        held.record.run = run.parse().unwrap();
        held
    }

    #[test]
    fn what_was_remembered_last_of_a_run_is_there_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let intents = Intents::new(folder.path());
        assert_eq!(intents.all(), []);
        for held in [held("m7", 3), held("m8", 2), held("m7", 1)] {
            intents.remember(&held);
        }
        fs::write(folder.path().join("intents/.m9.new"), "half").unwrap();
        fs::write(folder.path().join("intents/m9"), "{").unwrap();
        assert_eq!(Intents::new(folder.path()).all(), [held("m7", 1), held("m8", 2)]);
        intents.forget(&"m7".parse().unwrap());
        intents.forget(&"m7".parse().unwrap());
        assert_eq!(intents.all(), [held("m8", 2)]);
    }

    #[test]
    fn what_cannot_be_remembered_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("intents"), "in the way").unwrap();
        let intents = Intents::new(folder.path());
        intents.remember(&held("m7", 1));
        assert_eq!(intents.all(), []);
    }
}
